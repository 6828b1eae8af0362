"""The pointer: its weights and distribution by hand, its likelihood against a loop, and what it learns."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from genrec.common.errors import ConfigError, RecommenderError
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.fitting.objectives.pointer_loss import PointerLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.language_model.likeness import Likeness, unit_vectors
from genrec.language_model.pointer import Pointer
from genrec.testing.fakes import TinyCatalog

VECTORS = np.random.default_rng(3).normal(size=(20, 6)).astype(np.float32)
WORDS = csr_matrix(np.eye(20, dtype=np.float32)[np.arange(20) // 2])
"""Two items have the same word."""
LIKENESS = Likeness(VECTORS, WORDS)


def warm(width=5, max_items=4):
    """A pointer whose states say something."""
    pointer = Pointer(width, max_items, seed=1)
    with torch.no_grad():
        pointer.query.copy_(
            torch.randn(pointer.query.shape, generator=torch.Generator().manual_seed(2))
        )
        pointer.recency.copy_(torch.tensor([0.3, -0.2, -1.0, -1.1]))
        pointer.share_logits.copy_(torch.tensor([0.1, 0.5, 0.2, 0.2]).log())
    return pointer


def test_a_fresh_pointer_is_recency_alone():
    weights = Pointer(5, 8)(torch.randn(2, 3, 5))
    assert weights[0, 0].tolist() == [0.0, -math.inf, -math.inf]
    wanted = torch.tensor([-1.0, -0.5, 0.0]).log_softmax(0)
    torch.testing.assert_close(weights[:, 2], wanted.expand(2, -1))
    assert (weights[:, 1, 2] == -torch.inf).all(), "no item counts for what stands before it"


def test_weights_are_attention_and_recency():
    pointer, states = warm(), torch.randn(1, 3, 5)
    met = (pointer.query @ states[0, 2]) @ (pointer.key @ states[0].T) / 32**0.5
    wanted = (met + torch.tensor([-1.0, -0.2, 0.3])).log_softmax(0)
    torch.testing.assert_close(pointer(states)[0, 2], wanted)


def test_more_items_than_it_knows_are_as_old_as_the_oldest():
    weights = warm()(torch.zeros(1, 6, 5)).detach()[0, 5]
    assert weights[0] == weights[1] == weights[2]
    assert weights.exp().sum() == pytest.approx(1.0)


def after(pointer, items):
    """What each of some items makes likely, `(u, N)`."""
    parts = []
    for block, alike, rest in LIKENESS.rows(items):
        same = block[:, None] == torch.arange(20)
        parts.append(pointer.after(same, alike, rest, 20))
    return torch.cat(parts)


def test_what_an_item_makes_likely_is_a_distribution():
    likely = after(warm(), torch.tensor([6, 3])).detach()
    torch.testing.assert_close(likely.sum(1), torch.ones(2))
    by_vector = next(iter(LIKENESS.rows(torch.tensor([6]))))[1][0, 0]
    kept = 0.5 * LIKENESS.rest[0, 6] + 0.2 * 0.5
    spread = (0.2 + kept) / 20
    torch.testing.assert_close(likely[0, 6], 0.1 + spread)
    torch.testing.assert_close(likely[0, 7], 0.5 * by_vector[7] + 0.2 * 0.5 + spread)
    torch.testing.assert_close(likely[0, 8], 0.5 * by_vector[8] + spread)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_it_can_be_told_how_often_the_same_comes_again(share):
    told, before = warm().expecting_repeats(share), warm()
    assert told.mixture_weights[0].item() == pytest.approx(share, abs=1e-6)
    torch.testing.assert_close(
        told.mixture_weights[1:] / (1 - share), before.mixture_weights[1:] / 0.9
    )
    torch.testing.assert_close(warm().mixture_weights, before.mixture_weights)


def by_hand(pointer, states, items):
    """The loss over the whole catalog, item by item."""
    likely, total = after(pointer, torch.arange(20)), 0.0
    for row, sequence in zip(states, items.tolist(), strict=True):
        known = [item for item in sequence if item >= 0]
        for place in range(1, len(known)):
            weights = pointer(row[None, 1 : place + 1])[0, -1].exp()
            total -= (weights @ likely[known[:place]])[known[place]].log()
    return total


def test_the_loss_is_the_likelihood_of_what_comes_next():
    pointer, states = warm(), torch.randn(2, 4, 5)
    items = torch.tensor([[3, 7, 3, 11], [5, 2, -1, -1]])
    found = PointerLoss(pointer, LIKENESS)(states, items)
    torch.testing.assert_close(found, by_hand(pointer, states, items), rtol=1e-4, atol=1e-4)


def test_a_sequence_of_one_item_costs_nothing_and_keeps_the_graph():
    loss = PointerLoss(warm(), LIKENESS)(torch.randn(2, 1, 5), torch.tensor([[4], [-1]]))
    assert loss.item() == 0.0
    loss.backward()


def test_padding_changes_nothing():
    pointer, states = warm(), torch.randn(1, 4, 5)
    loss = PointerLoss(pointer, LIKENESS)
    short = loss(states[:, :2], torch.tensor([[5, 2]]))
    padded = loss(states, torch.tensor([[5, 2, -1, -1]]))
    torch.testing.assert_close(short, padded)


def test_it_learns_whom_to_point_at():
    """What comes next is like the oldest of three items, which a state gives away."""
    generator = np.random.default_rng(0)
    vectors = unit_vectors(generator.normal(size=(40, 8)).astype(np.float32))
    torch.manual_seed(0)
    pointer, likeness = Pointer(4, 4), Likeness(vectors, csr_matrix((40, 0)))
    optimizer, loss = torch.optim.Adam(pointer.parameters(), 0.05), PointerLoss(pointer, likeness)
    nearest = (vectors @ vectors.T - 2 * np.eye(40)).argmax(1)
    for _ in range(150):
        history = torch.from_numpy(generator.integers(0, 40, (32, 3)))
        items = torch.cat([history, torch.from_numpy(nearest)[history[:, :1]]], 1)
        states = torch.zeros(32, 4, 4)
        states[:, 1, 0], states[:, 3, 1] = 1.0, 1.0  # behind the oldest item, and behind the newest
        optimizer.zero_grad()
        loss(states, items).backward()
        optimizer.step()
    weights = pointer(states[:, 1:])[0, -1].exp()
    assert weights[0] > 0.9
    itself, by_vector, _, _ = pointer.mixture_weights
    assert by_vector > 0.7
    assert itself < 0.02, "and no word says anything, so its share goes to anything too"


def language_model(**more):
    catalog = TinyCatalog.random(20, (5, 4, 3), seed=2)
    shape = {"width": 16, "layers": 1, "heads": 2, "dropout": 0.0}
    settings = LanguageModelSettings.model_validate({"compact": shape, "pointer": True} | more)
    return catalog, LanguageModel.create(
        settings, catalog.codes, VECTORS, catalog.codebook_sizes, max_items=8, seed=0
    )


@pytest.mark.parametrize("more", [{}, {"item_vectors": True, "item_attention": "bidirectional"}])
def test_its_loss_is_added_to_that_of_the_codes_and_reaches_the_model(more):
    catalog, lm = language_model(**more)
    inputs = lm.inputs(catalog.codes, VECTORS)
    loss = NextItemLoss(lm, catalog.codes, catalog.trie, "catalog", inputs)
    items = torch.tensor([[3, 7, 11, 2], [5, 2, -1, -1]])
    codes = loss(items)
    loss.pointing = PointerLoss(lm.pointer, LIKENESS)
    with torch.no_grad():
        lm.pointer.query.normal_()
    both = loss(items)
    states = loss._hidden(items)[:, :, 0]
    torch.testing.assert_close(both, codes + loss.pointing(states, items))
    (both - codes).backward()
    assert lm.pointer.key.grad.abs().sum() > 0
    assert lm.core.get_input_embeddings().weight.grad.abs().sum() > 0
    assert {id(p) for p in lm.pointer.parameters()} <= {id(p) for p in loss.parameters()}


def test_saved_and_read_it_is_the_same(tmp_path):
    _, lm = language_model()
    with torch.no_grad():
        lm.pointer.query.normal_()
    lm.save(tmp_path)
    read = Pointer.load(tmp_path)
    for name, value in lm.pointer.state_dict().items():
        assert torch.equal(value, read.state_dict()[name])
    (tmp_path / "pointer.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(RecommenderError, match=r"pointer\.safetensors: cannot be read"):
        Pointer.load(tmp_path)
    assert Pointer.load(tmp_path / "nowhere") is None


@pytest.mark.parametrize("pointer", [None, False])
def test_a_weight_without_a_pointer_is_refused(pointer):
    with pytest.raises(ConfigError, match=r"there is none: set language_model\.pointer=true"):
        language_model(pointer=pointer, pointer_weight=0.5)
