"""Likeness of items: kernels and totals against loops, in sequences and in rows."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from genrec.language_model import likeness as module
from genrec.language_model.likeness import Likeness, unit_vectors

RNG = np.random.default_rng(3)
VECTORS = RNG.normal(size=(20, 6)).astype(np.float32)
COUNTS = RNG.poisson(0.4, (20, 9)).astype(np.float32)
COUNTS[4] = 0  # no words
COUNTS[7] = COUNTS[8] = [0, 0, 3, 0, 0, 0, 1, 0, 0]
WORDS = COUNTS / np.maximum(np.linalg.norm(COUNTS, axis=1, keepdims=True), 1e-12)


@pytest.fixture
def likeness():
    return Likeness(VECTORS, csr_matrix(WORDS))


def by_hand():
    """Shares `(2, N, N)` and what is kept `(2, N)`, item by item."""
    units = unit_vectors(VECTORS)
    shares, kept = np.zeros((2, 20, 20)), np.zeros((2, 20))
    for view, (rows, power) in enumerate([(units, 3), (WORDS, 2)]):
        for i in range(20):
            kernel = [max(rows[i] @ rows[j], 0) ** power if j != i else 1 for j in range(20)]
            shares[view, i] = np.array(kernel) / sum(kernel)
            kept[view, i] = shares[view, i, i]
            shares[view, i, i] = 0
    return shares, kept


def test_each_item_shares_one_among_all(likeness):
    shares, kept = by_hand()
    np.testing.assert_allclose(likeness.rest, kept, rtol=1e-5)
    items = torch.tensor([2, 19, 7, 4])
    ((_, found, rest),) = likeness.rows(items)
    torch.testing.assert_close(rest, likeness.rest[:, items])
    np.testing.assert_allclose(found, shares[:, items], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1) + likeness.rest[:, items], 1.0, rtol=1e-5)
    assert likeness.rest[1, 4] == 1, "an item without words is like nothing by them, but itself"


def test_rows_come_a_few_at_a_time(likeness, monkeypatch):
    whole = torch.cat([part for _, part, _ in likeness.rows(torch.arange(20))], dim=1)
    monkeypatch.setattr(module, "_CELLS", 60)
    parts = list(likeness.rows(torch.arange(20)))
    assert [len(items) for items, _, _ in parts] == [3] * 6 + [2]
    torch.testing.assert_close(torch.cat([part for _, part, _ in parts], dim=1), whole)


def test_within_sequences_the_shares_are_the_same(likeness, monkeypatch):
    shares, _ = by_hand()
    items = torch.from_numpy(RNG.integers(0, 20, (150, 5)))
    found = likeness.between(items)
    assert found.shape == (2, 150, 5, 5)
    for row in (0, 101, 149):
        own = items[row]
        wanted = shares[:, own[:, None], own]
        np.testing.assert_allclose(found[:, row], wanted, rtol=1e-4, atol=1e-6)
    twice = likeness.between(torch.tensor([[7, 8, 7]]))[:, 0]
    assert (twice[:, 0, 2] == 0).all(), "the same item again is told apart from those like it"
    assert twice[1, 0, 1] == pytest.approx(likeness.rest[1, 7].item()), "the same words"


def test_of_a_large_catalog_totals_are_estimated(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, words = rng.normal(size=(900, 8)).astype(np.float32), csr_matrix((900, 0))
    exact = 1 / Likeness(vectors, words).rest
    monkeypatch.setattr(module, "_PAIRS", 1)
    monkeypatch.setattr(module, "_FEWEST", 300)
    monkeypatch.setattr(module, "_CELLS", 30_000)
    drawn = 1 / Likeness(vectors, words).rest
    assert not torch.equal(drawn, exact)
    torch.testing.assert_close(drawn, exact, rtol=0.5, atol=0)
    assert (drawn[0] / exact[0]).mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(drawn, 1 / Likeness(vectors, words).rest), "the same each time"
    for items, shares, rest in Likeness(vectors, words).rows(torch.arange(0, 900, 90)):
        torch.testing.assert_close(shares.sum(-1) + rest, torch.ones(2, len(items)))
        torch.testing.assert_close(1 / rest, exact[:, items], msg="rows are exact all the same")


def test_one_item_alone_is_like_nothing_else():
    one = Likeness(VECTORS[:1], csr_matrix(WORDS[:1]))
    assert one.rest.tolist() == [[1], [1]]


def test_unit_vectors_know_nothing_of_what_all_have_in_common():
    units = unit_vectors(VECTORS)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(units, unit_vectors(VECTORS + 7.0), atol=1e-4)
    same = unit_vectors(np.ones((3, 4), np.float16))
    assert same.tolist() == np.zeros((3, 4)).tolist(), (
        "where all are alike, nothing tells them apart"
    )
