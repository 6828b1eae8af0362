"""Lessons of a model of whole items: by hand, and against sums over the whole catalog."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from genrec.data.histories import Histories
from genrec.decoding.scores import child_log_probabilities
from genrec.fitting import text_model as module
from genrec.fitting.objectives.batches import pad_items
from genrec.fitting.objectives.item_teacher import Lessons, Named, taught
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.fitting.text_model import TextTeacher
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.recommender.text_model.model import TextModel, TextShape
from genrec.recommender.text_model.network import TextNetwork
from genrec.recommender.text_model.words import KnownWords
from genrec.testing.fakes import TinyCatalog

CATALOG = TinyCatalog.random(12, (3, 3, 2), seed=2)
ITEMS = torch.from_numpy(pad_items(Histories.of([[3, 1, 4, 7], [5], [9, 2]]), np.arange(3)))
SEQUENCE = [3, 1, 4, 7, 5, 9, 2]
"""The real items, row by row."""


@dataclass(frozen=True)
class Told:
    """A teacher that says what it is told, of the same places of every batch."""

    named: Named

    def expects(self, items):
        assert items.shape == ITEMS.shape
        return self.named


def a_loss():
    settings = {"compact": {"width": 16, "layers": 2, "heads": 2, "dropout": 0.0}}
    vectors = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
    lm = LanguageModel.create(
        LanguageModelSettings.model_validate(settings),
        CATALOG.codes,
        vectors,
        CATALOG.codebook_sizes,
        max_items=8,
        seed=0,
    )
    return NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog").eval()


def level_log_probabilities(loss):
    """For each target and level: the code sequences of the children, and their log-probabilities."""
    hidden, trie, found = loss._hidden(ITEMS)[ITEMS >= 0], loss.trie, []
    for place, item in enumerate(SEQUENCE):
        target, own = torch.tensor([item]), []
        for level in range(trie.levels):
            states = hidden[place : place + 1, level]
            nodes = trie.nodes_of(target, level)
            first, real, gained = child_log_probabilities(
                loss.head, trie, states, level, nodes, "catalog"
            )
            own.append({int(first) + n: float(gained[0, n]) for n in range(int(real.sum()))})
        found.append(own)
    return found


def likelihood_of(loss, place):
    """Negative log-likelihood of each code of a target."""
    item = torch.tensor([SEQUENCE[place]])
    return [
        -codes[int(loss.trie.nodes_of(item, level + 1))]
        for level, codes in enumerate(level_log_probabilities(loss)[place])
    ]


def teaching(loss, named, weight=0.5):
    loss.lessons = Lessons(Told(named), weight)
    return loss


def test_cross_entropy_of_one_level_by_hand():
    half = math.log(0.5)
    gained = torch.tensor([[math.log(0.25), half, math.log(0.25)], [half, half, -math.inf]])
    first, probabilities = torch.tensor([10, 20]), torch.tensor([[0.3, 0.1, 0.6], [0.2, 0.2, 0.6]])
    under = torch.tensor([[True, True, False], [False, False, False]])
    crossed, known = taught(
        gained, first, under, torch.tensor([[11, 10, 7], [7, 7, 7]]), probabilities
    )
    # 3/4 of what lies below the first node is in its second child, 1/4 in its first.
    assert crossed[0].item() == pytest.approx(0.75 * math.log(2) + 0.25 * math.log(4))
    assert crossed[1].item() == 0
    assert known.tolist() == [True, False]


@pytest.mark.parametrize("weight", [0.3, 1.0])
@torch.no_grad()
def test_a_lesson_is_what_summing_over_the_catalog_says(weight):
    """Over all items at places 1, 2 and 6; the others learn from their items alone."""
    loss, generator = a_loss(), torch.Generator().manual_seed(1)
    places = [1, 2, 6]
    likely = torch.rand(3, 12, generator=generator).softmax(1)
    named = Named(torch.tensor(places), torch.arange(12).expand(3, -1), likely)
    found = teaching(loss, named, weight)(ITEMS).item()
    codes, total = level_log_probabilities(loss), 0.0
    for place, item in enumerate(SEQUENCE):
        own = likelihood_of(loss, place)
        if place not in places:
            total += sum(own)
            continue
        row = likely[places.index(place)]
        for level in range(3):
            below = [
                i for i in range(12) if (CATALOG.codes[i] == CATALOG.codes[item])[:level].all()
            ]
            mass = sum(float(row[i]) for i in below)
            crossed = -sum(
                float(row[i])
                / mass
                * codes[place][level][int(loss.trie.nodes_of(torch.tensor([i]), level + 1))]
                for i in below
            )
            total += (1 - weight) * own[level] + weight * crossed
    assert found == pytest.approx(total, rel=1e-5)


@torch.no_grad()
def test_who_names_the_item_that_came_teaches_nothing_new():
    loss = a_loss()
    alone = loss(ITEMS).item()
    sure = Named(torch.arange(7), torch.tensor(SEQUENCE)[:, None], torch.ones(7, 1))
    assert teaching(loss, sure)(ITEMS).item() == pytest.approx(alone, rel=1e-6)


@torch.no_grad()
def test_where_nothing_named_lies_below_the_items_codes_the_item_teaches_alone():
    loss = a_loss()
    first = CATALOG.codes[:, 0]
    other = int(np.flatnonzero(first != first[3])[0])
    named = Named(torch.tensor([0]), torch.tensor([[other]]), torch.ones(1, 1))
    found = teaching(loss, named, 1.0)(ITEMS).item()
    own, codes = likelihood_of(loss, 0), level_log_probabilities(loss)[0][0]
    instead = -codes[int(loss.trie.nodes_of(torch.tensor([other]), 1))]
    loss.lessons = None
    assert found == pytest.approx(loss(ITEMS).item() - own[0] + instead, rel=1e-6)


def text_model(reads=4):
    texts = [f"{'red' if item % 2 else 'blue'} thing{item % 5}" for item in range(12)]
    known = KnownWords.fit(texts)
    shape = TextShape(width=8, layers=1, heads=2, dropout=0.2)
    words = torch.randn(len(known), 8, generator=torch.Generator().manual_seed(2))
    network = TextNetwork(words, reads, shape, seed=1).eval()
    vectors = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float16)
    return TextModel(known, network, vectors)


def test_a_text_model_says_what_it_expects_after_each_history():
    """All 12 items are among those that it names."""
    model = text_model()
    named = TextTeacher(model).expects(ITEMS)
    assert named.places.tolist() == [1, 2, 3, 6]
    histories = Histories.of([[3], [3, 1], [3, 1, 4], [9]])
    found = torch.zeros(4, 12).scatter(1, named.items, named.probabilities)
    np.testing.assert_allclose(found, model.scores(histories).toarray(), rtol=1e-4)


def test_places_that_a_text_model_does_not_reach_are_not_taught():
    assert TextTeacher(text_model(reads=2)).expects(ITEMS).places.tolist() == [1, 2, 6]
    assert TextTeacher(text_model()).expects(ITEMS[1:2, :1]).places.tolist() == []


def test_of_a_large_catalog_every_so_many_places_are_taught(monkeypatch):
    monkeypatch.setattr(module, "_CELLS", 24)  # two places of four
    assert TextTeacher(text_model()).expects(ITEMS).places.tolist() == [1, 3]
