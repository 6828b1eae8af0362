"""Several catalogs in one training: how batches are mixed, and whose tree scores them."""

import numpy as np
import pytest
import torch

from genrec.data.histories import Histories
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.objectives.joint import JointLoss, JointSource, batch_counts
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.testing.fakes import TinyCatalog
from genrec.training import TrainingSettings
from genrec.training.sources import Part

SETTINGS = TrainingSettings(batch_items=12, max_items=5)
WHOLE = Part(0, 1)


def source(users, first_item):
    """Users of two items each, all their own, so that items tell batches apart."""
    pairs = first_item + np.arange(2 * users).reshape(users, 2)
    return HistorySource(Histories.of(pairs.tolist()), SETTINGS, seed=0)


def drawn(epoch):
    """(catalog, its items) of every batch."""
    parts = [epoch.part(batch, WHOLE)[0] for batch in range(len(epoch))]
    return [(part.catalog, frozenset(part.inputs.flatten().tolist())) for part in parts]


@pytest.mark.parametrize(
    ("temperature", "expected"), [(1, [90, 10]), (2, [75, 25]), (float("inf"), [50, 50])]
)
def test_the_share_of_a_catalog_by_hand(temperature, expected):
    assert batch_counts(np.array([90, 10]), temperature).tolist() == expected


def test_the_smallest_catalog_has_a_batch():
    assert batch_counts(np.array([1000, 1]), 1).tolist() == [1000, 1]


def test_as_they_are_every_batch_comes_once_in_mixed_order():
    large, small = source(60, 0), source(18, 1000)
    epoch = JointSource([large, small], 1.0, seed=1).epoch(3)
    batches = drawn(epoch)
    items = [item for _, batch in batches for item in batch]
    assert sorted(items) == [*range(120), *range(1000, 1036)]
    catalogs = [catalog for catalog, _ in batches]
    assert catalogs != sorted(catalogs)
    assert sum(epoch.units(batch) for batch in range(len(epoch))) == 156
    assert drawn(JointSource([large, small], 1.0, seed=1).epoch(3)) == batches
    assert drawn(JointSource([large, small], 1.0, seed=1).epoch(4)) != batches


def test_a_small_catalog_goes_on_with_its_next_epochs():
    large, small = source(60, 0), source(18, 1000)
    n_large, n_small = len(large.epoch(0)), len(small.epoch(0))
    batches = drawn(JointSource([large, small], float("inf"), seed=1).epoch(0))
    own = [items for catalog, items in batches if catalog == 1]
    assert len(own) == round((n_large + n_small) / 2) > n_small
    counts = np.unique([item for items in own for item in items], return_counts=True)[1]
    assert set(counts.tolist()) <= {len(own) // n_small, len(own) // n_small + 1}
    assert len(set(own)) > n_small  # grouped anew each time


@pytest.fixture
def two():
    """Two catalogs over the same codebooks, one language model, and their losses."""
    catalogs = [TinyCatalog.random(n, (4, 3), seed=n) for n in (12, 7)]
    codes = np.concatenate([catalog.codes for catalog in catalogs])
    vectors = np.random.default_rng(0).normal(size=(len(codes), 6)).astype(np.float32)
    lm = LanguageModel.create(
        LanguageModelSettings(compact={"width": 16, "layers": 1, "heads": 2, "dropout": 0.0}),
        codes,
        vectors,
        (4, 3),
        max_items=5,
        seed=0,
    )
    return lm, [NextItemLoss(lm, catalog.codes, catalog.trie, "catalog") for catalog in catalogs]


def test_a_batch_is_scored_in_the_tree_of_its_own_catalog(two):
    lm, losses = two
    joint = JointLoss(losses)
    assert len(list(joint.parameters())) == len(list(lm.model.parameters()))
    items = torch.tensor([[1, 5, 3], [6, 0, -1]])
    sources = [HistorySource(Histories.of([[1, 5, 3], [6, 0]]), SETTINGS, 0)] * 2
    epoch = JointSource(sources, 1.0, 0).epoch(0)
    found = {}
    for batch in range(len(epoch)):
        part, counts = epoch.part(batch, WHOLE)
        assert counts
        found[part.catalog] = found.get(part.catalog, 0.0) + joint(part.to("cpu")).item()
    for catalog, loss in enumerate(losses):
        assert found[catalog] == pytest.approx(loss(items).item(), rel=1e-5)
    assert found[0] != pytest.approx(found[1], rel=1e-2)


def test_the_mode_reaches_every_catalog(two):
    _, losses = two
    joint = JointLoss(losses)
    joint.eval()
    assert not any(loss.training for loss in losses)
    joint.train()
    assert all(loss.training for loss in losses)


def test_what_stands_beside_the_model_trains_too():
    """Map of vectors and pointer are shared, and the optimizer finds them once."""
    catalogs = [TinyCatalog.random(n, (4, 3), seed=n) for n in (12, 7)]
    vectors = np.random.default_rng(0).normal(size=(19, 6)).astype(np.float32)
    shape = {"width": 16, "layers": 1, "heads": 2}
    lm = LanguageModel.create(
        LanguageModelSettings(compact=shape, item_vectors=True, pointer=True),
        np.concatenate([catalog.codes for catalog in catalogs]),
        vectors,
        (4, 3),
        max_items=5,
        seed=0,
    )
    joint = JointLoss([NextItemLoss(lm, own.codes, own.trie, "catalog") for own in catalogs])
    assert sum(p.numel() for p in joint.parameters()) == lm.parameters()[1]
