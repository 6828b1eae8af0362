"""The graph of alike texts: extended by new items without comparing the old ones again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from genrec.evaluation.baselines import text_graph
from genrec.evaluation.baselines.text_graph import (
    extended_graph,
    nearest_graph,
    nearest_only,
    without_items,
)


def vectors_of(seed, items):
    """Unit vectors of small whole numbers: ties, zeros and cosines of either sign."""
    rows = np.random.default_rng(seed).integers(-1, 3, size=(items, 3)).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1)


def exact_vectors_of(seed, items):
    """Unit vectors in quarters and zeros: every cosine is a sixteenth times a whole number, to the bit.

    Where nothing is rounded, one product of matrices is another, however it is added up, and ties are ties.
    """
    random = np.random.default_rng(seed)
    quarters = [[0] * 7, [4], [2] * 4, [3, 2, 1, 1, 1], [2, 2, 2, 1, 1, 1, 1]]
    rows = np.zeros((items, 7), np.float32)
    for row in rows:
        some = quarters[random.integers(len(quarters))]
        row[random.permutation(7)[: len(some)]] = some * random.choice([1, 1, -1], size=len(some))
    return rows / 4


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("data", "indices", "indptr")
    )


SIZES = st.integers(2, 9), st.integers(1, 6), st.integers(1, 4)


@given(st.integers(0, 9999), *SIZES)
def test_the_nearest_are_those_of_a_graph_made_afresh(seed, old, new, neighbors):
    vectors = exact_vectors_of(seed, old + new)
    grown = extended_graph(nearest_graph(vectors[:old], neighbors), vectors, neighbors)
    afresh = nearest_graph(vectors, neighbors)
    np.testing.assert_array_equal(nearest_only(grown, neighbors).toarray(), afresh.toarray())


@given(st.integers(0, 9999), *SIZES)
def test_the_nearest_are_nearest_by_float64(seed, old, new, neighbors):
    """To a unit of the six digits that are kept: cosines in float32 fall to either side of a half."""
    vectors = vectors_of(seed, old + new)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(cosines, 0)
    largest = -np.sort(-np.maximum(cosines, 0), axis=1)[:, :neighbors]
    grown = extended_graph(nearest_graph(vectors[:old], neighbors), vectors, neighbors)
    for graph in (nearest_graph(vectors, neighbors), nearest_only(grown, neighbors)):
        kept = graph.toarray()
        np.testing.assert_allclose(kept, np.where(kept, cosines, 0), rtol=0, atol=1e-6)
        in_order = -np.sort(-kept, axis=1)
        np.testing.assert_allclose(in_order[:, :neighbors], largest, rtol=0, atol=1e-6)
        assert not in_order[:, neighbors:].any()


@given(st.integers(0, 99), st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_items_that_come_and_go_leave_no_trace(seed, neighbors, steps):
    vectors = vectors_of(seed, 5 + sum(steps))
    first = graph = nearest_graph(vectors[:5], neighbors)
    for stop in 5 + np.cumsum(steps):
        graph = extended_graph(graph, vectors[:stop], neighbors)
    assert same(without_items(graph, np.arange(len(vectors)) < 5), first)


def test_blocks_change_nothing(monkeypatch):
    vectors = exact_vectors_of(1, 20)
    first = nearest_graph(vectors[:8], 3)
    whole = extended_graph(first, vectors, 3)
    monkeypatch.setattr(text_graph, "CELLS", 50)  # two rows at once
    assert same(extended_graph(first, vectors, 3), whole)


def test_rows_and_columns_go():
    graph = csr_matrix(np.array([[0, 0.5, 0.2], [0.5, 0, 0], [0.2, 0, 0]], np.float32))
    left = without_items(graph, np.array([True, False, True]))
    np.testing.assert_array_equal(left.toarray(), np.array([[0, 0.2], [0.2, 0]], np.float32))


def test_an_item_is_reached_both_ways():
    close = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    grown = extended_graph(nearest_graph(close[:2], 1), close, 1).toarray()
    assert grown[0].tolist() == pytest.approx([0, 0, 0.6])
    assert grown[2].tolist() == pytest.approx([0, 0.8, 0])
