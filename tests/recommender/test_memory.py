"""Counts and likeness of texts as distributions, by hand."""

import numpy as np
import pytest

from genrec.common.errors import DataError
from genrec.data.histories import Histories
from genrec.evaluation.baselines import text_graph
from genrec.evaluation.baselines.text_neighbors import TextNeighbors
from genrec.recommender.memory import Counts, MemorySettings, TextLikeness, compare_texts


def test_counts_by_hand():
    train = Histories.of([[0, 1, 2], [0, 1], [0, 3]])
    histories = Histories.of([[0], [4], [2, 0]])
    settings = MemorySettings(power=2, counts={"recency": {"decay": 1.0}, "popularity_power": 0.5})
    whole = Counts.of(train, 5, settings).scores(histories).toarray()
    # After 0 came 1 twice, 3 once, and 2 once at two steps; of 1 there are two events, of 2 and 3 one.
    evidence = np.log1p([0, 2, 1 / np.sqrt(2), 1, 0]) / np.sqrt([3, 2, 1, 1, 1])
    np.testing.assert_allclose(whole[0], evidence**2 / (evidence**2).sum(), rtol=1e-6)
    assert whole[1].sum() == 0, "4 was never followed"
    np.testing.assert_allclose(whole[2], whole[0], rtol=1e-6, err_msg="2 was never followed")


def test_an_older_item_counts_less():
    train = Histories.of([[0, 1], [2, 3]])
    settings = MemorySettings(power=1, counts={"recency": {"decay": 0.7}, "popularity_power": 0})
    row = Counts.of(train, 4, settings).scores(Histories.of([[0, 2]])).toarray()[0]
    np.testing.assert_allclose(row, [0, 0.7 / 1.7, 0, 1 / 1.7], rtol=1e-6)


def test_likeness_of_texts_is_that_of_the_neighbours(monkeypatch):
    texts = ["red wool hat", "red wool scarf", "blue sea", "blue sea deep", "red wool hat"]
    neighbors = TextNeighbors.from_texts(texts)
    monkeypatch.setattr(text_graph, "CELLS", 11)  # two rows at once
    likeness, everything = neighbors.graph(2).toarray(), neighbors.vectors
    cosines = np.round((everything @ everything.T).toarray(), 6)
    np.fill_diagonal(cosines, 0)
    for row, expected in zip(likeness, cosines, strict=True):
        best = np.argsort(-expected, kind="stable")[:2]
        kept = np.zeros(5)
        kept[best] = expected[best]
        np.testing.assert_allclose(row, kept, atol=1e-6)
    settings = MemorySettings(weight=0.0, text_weight=0.4, text_power=1)
    component = TextLikeness.of(compare_texts(texts, settings), settings)
    row, empty = component.scores(Histories.of([[0], []])).toarray()
    assert np.flatnonzero(row).tolist() == [1, 4]
    np.testing.assert_allclose(row[4] / row[1], cosines[0, 4] / cosines[0, 1], rtol=1e-5)
    assert not empty.any()


def test_texts_are_compared_where_that_is_wanted_and_can_be():
    texts = ["red hat", "red scarf", "sea"]
    assert compare_texts(texts, MemorySettings()).nnz == 2
    assert compare_texts(texts, MemorySettings(text_weight=0.0)) is None
    assert compare_texts(texts, MemorySettings(text_items=2)) is None
    assert compare_texts(texts, MemorySettings(text_items=2, text_weight=0.1)).nnz == 2
    assert compare_texts(["!", "-"], MemorySettings()) is None
    with pytest.raises(DataError, match="no item text holds a word"):
        compare_texts(["!", "-"], MemorySettings(text_weight=0.1))
