"""Items' vectors as inputs: which tokens are an item, what is added where, and that nothing leaks."""

import numpy as np
import pytest
import torch

from genrec.common.errors import RecommenderError
from genrec.decoding import BeamSearch, BeamSettings
from genrec.decoding.readers import Replay, SharedCache
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.language_model.item_inputs import ItemInputs, ItemProjection, plain_inputs
from genrec.language_model.vocabulary import CodeVocabulary
from genrec.testing.fakes import TinyCatalog, save_tiny_pretrained

CATALOG = TinyCatalog.random(20, (5, 4, 3), seed=2)
VECTORS = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
SIZES = CATALOG.codebook_sizes


def model(backbone="compact", **more):
    shape = {"width": 16, "layers": 2, "heads": 2, "dropout": 0.0}
    values = {"compact": shape, "item_vectors": True} | more
    settings = LanguageModelSettings(backbone=backbone, **values)
    lm = LanguageModel.create(settings, CATALOG.codes, VECTORS, SIZES, max_items=8, seed=0)
    lm.model.eval()
    return lm


def inputs_of(lm, vectors=VECTORS):
    return lm.inputs(CATALOG.codes, vectors)


def prompt(lm, items):
    return [*lm.prefix, *lm.vocabulary.encode(CATALOG.codes[items]).ravel().tolist()]


def test_an_item_is_a_run_of_all_levels_that_is_somebodys_semantic_id():
    lm = model()
    inputs = inputs_of(lm)
    tokens = lm.vocabulary.encode(CATALOG.codes)
    free = next(
        code for code in np.ndindex(*SIZES) if not (CATALOG.codes == np.array(code)).all(1).any()
    )
    row = [
        0,
        *tokens[3],
        *tokens[7],
        tokens[7][1],
        *tokens[5][:2],
        *lm.vocabulary.encode(np.array(free)),
        1,
    ]
    ends, items = inputs.items(torch.tensor([row, row[::-1]]))
    assert ends[0].nonzero().ravel().tolist() == [3, 6]
    assert items.tolist() == [3, 7]
    assert not ends[1].any()


@pytest.mark.parametrize("sizes", [(7,), (5, 4, 3), (2**16,) * 8])
def test_items_are_found_whatever_the_codebooks(sizes):
    """Eight levels of 65,536 codes make more tuples than fit a number of 64 bits."""
    generator = np.random.default_rng(0)
    codes = np.unique(np.stack([generator.integers(0, size, 6) for size in sizes], 1), axis=0)
    tokens = tuple(np.arange(size) + 70_000 * level for level, size in enumerate(sizes))
    vocabulary = CodeVocabulary(tokens)

    class Table(torch.nn.Module):
        weight = torch.zeros(70_000 * len(sizes), 1)

    class Model:
        def get_input_embeddings(self):
            return Table()

    inputs = ItemInputs(Model(), vocabulary, codes, np.zeros((len(codes), 2)), None)
    ends, items = inputs.items(torch.from_numpy(vocabulary.encode(codes).reshape(1, -1)))
    assert ends.sum() == len(codes)
    assert items.tolist() == list(range(len(codes)))


def test_the_vector_is_added_to_the_last_code_and_nowhere_else():
    lm = model()
    tokens = torch.tensor([prompt(lm, [4, 9])])
    plain = lm.core.get_input_embeddings()(tokens)
    added = inputs_of(lm)(tokens)["inputs_embeds"] - plain
    first, L = len(lm.prefix), len(SIZES)
    places = [first + L - 1, first + 2 * L - 1]
    assert added[0].abs().sum(1).nonzero().ravel().tolist() == places
    expected = lm.item_projection(torch.from_numpy(VECTORS[[4, 9]]))
    assert torch.allclose(added[0, places], expected, atol=1e-6)


def test_no_item_is_predicted_from_its_own_vector():
    lm = model()
    items = torch.tensor([[4, 9, 2]])

    def hidden(vectors):
        loss = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog", inputs_of(lm, vectors))
        return loss._hidden(items)[0]

    changed = VECTORS.copy()
    changed[9] += 1
    before, after = hidden(VECTORS), hidden(changed)
    assert torch.equal(before[:2], after[:2])  # items 4 and 9
    assert not torch.allclose(before[2], after[2])  # what comes behind 9


@pytest.mark.parametrize("kind", ["compact", "qwen3", "gemma3-window"])
def test_both_readers_take_vectors_in_and_agree(kind, tmp_path):
    if kind == "compact":
        lm = model()
    else:
        base = save_tiny_pretrained(tmp_path / "base", kind)
        lm = model(str(base), tuning="full", instruction="a b")
    inputs = inputs_of(lm)
    rows = [prompt(lm, [4, 9]), prompt(lm, [2])]
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.full((2, int(lengths.max())), int(lm.vocabulary.tokens[0][0]))
    for row, own in enumerate(rows):
        tokens[row, : len(own)] = torch.tensor(own)
    branches = torch.from_numpy(lm.vocabulary.tokens[0][:4].reshape(2, 2))
    lines = torch.full((2, 2, 1), -1)
    states = []
    with torch.inference_mode():
        for kind_of_reader in (SharedCache, Replay):
            reader = kind_of_reader(lm.core, tokens, lengths, inputs)
            states.append(torch.cat([reader.start(), reader.extend(branches, lines)], 1))
        plain = SharedCache(lm.core, tokens, lengths).start()
    assert torch.allclose(*states, atol=2e-4)
    assert not torch.allclose(states[0][:, :1], plain, atol=1e-3)


def test_the_search_finds_what_exhaustive_scoring_finds():
    lm = model()
    inputs = inputs_of(lm)
    search = BeamSearch(lm.core, lm.vocabulary, CATALOG.trie, BeamSettings(beams=20), inputs)
    found, scores = search.search([prompt(lm, [4, 9])], 20)
    loss = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog", inputs).eval()
    with torch.inference_mode():
        before = loss(torch.tensor([[4, 9]]))
        expected = [float(before - loss(torch.tensor([[4, 9, item]]))) for item in found[0]]
    assert np.allclose(scores[0], expected, atol=1e-4)
    assert sorted(found[0].tolist()) == list(range(20))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    lm = model()
    lm.save(tmp_path / "lm")
    back = LanguageModel.load(tmp_path / "lm", LanguageModelSettings(), SIZES)
    tokens = torch.tensor([prompt(lm, [4, 9])])
    both = [inputs_of(one)(tokens)["inputs_embeds"] for one in (lm, back)]
    assert torch.equal(*both)
    (tmp_path / "lm" / "item_projection.safetensors").write_bytes(b"x")
    with pytest.raises(RecommenderError, match=r"cannot be read"):
        LanguageModel.load(tmp_path / "lm", LanguageModelSettings(), SIZES)


def test_a_model_that_reads_codes_alone():
    without = model(item_vectors=False)
    assert without.item_projection is None
    assert without.inputs(CATALOG.codes, None) is plain_inputs
    assert without.read_of(VECTORS) is None
    # The projection is drawn apart: all other weights start as they would without it.
    for one, other in zip(without.model.parameters(), model().model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_projection_counts_trains_and_is_copied():
    lm = model()
    own = sum(p.numel() for p in lm.item_projection.parameters())
    assert lm.parameters()[1] == sum(p.numel() for p in lm.model.parameters()) + own
    loss = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog", inputs_of(lm))
    loss(torch.tensor([[4, 9, 2]])).backward()
    assert lm.item_projection.weight.grad.abs().sum() > 0
    copy = lm.merged()
    assert copy.item_projection is not lm.item_projection
    assert torch.equal(copy.item_projection.weight, lm.item_projection.weight)


def test_vectors_are_divided_by_their_typical_size():
    projection = ItemProjection.of(VECTORS * 50, 16, seed=0)
    plain = ItemProjection.of(VECTORS, 16, seed=0)
    both = [p(torch.from_numpy(v)) for p, v in ((projection, VECTORS * 50), (plain, VECTORS))]
    assert torch.allclose(*both, atol=1e-5)
