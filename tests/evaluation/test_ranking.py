"""Invariants of rankings, and chunking that loses nobody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.evaluation import ranking as module
from genrec.evaluation.ranking import Ranking, chunks, rank_chunks


def test_a_gap_before_an_item_is_refused():
    items = np.array([[1, 2], [-1, 2]], np.int32)
    with pytest.raises(InputError, match="case 1"):
        Ranking(items, np.zeros((2, 2), np.float32))


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"\(1, 2\) and \(1, 3\)"):
        Ranking(np.zeros((1, 2), np.int32), np.zeros((1, 3), np.float32))


def test_empty_recommends_nothing():
    ranking = Ranking.empty(2, 3)
    assert (len(ranking), ranking.k) == (2, 3)
    assert (ranking.items == -1).all()
    assert (ranking.scores == -np.inf).all()


def test_entries_beyond_k_are_cut_and_missing_cases_stay_empty():
    case, item = np.array([0, 0, 0, 2]), np.array([5, 6, 7, 8])
    ranking = Ranking.of_entries((case, item, np.array([3.0, 2.0, 1.0, 9.0])), cases=3, k=2)
    assert ranking.items.tolist() == [[5, 6], [-1, -1], [8, -1]]
    assert ranking.scores[0].tolist() == [3, 2]


@given(st.lists(st.integers(0, 12), max_size=20))
def test_chunks_are_bounded_and_keep_every_history(costs):
    histories = Histories.of([[i] * i for i in range(len(costs))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_CELLS", 10)
        parts = list(chunks(histories, np.array(costs, np.int64)))
    lengths = [length for part in parts for length in part.lengths.tolist()]
    assert lengths == list(range(len(costs)))
    assert all(len(part) for part in parts)
    remaining = iter(costs)
    for part in parts:
        spent = [next(remaining) for _ in range(len(part))]
        assert sum(spent) <= 10 + max(spent)


def test_no_histories_give_an_empty_ranking():
    ranking = rank_chunks(lambda chunk: pytest.fail("nothing to rank"), Histories.of([]), 4, 1)
    assert ranking.items.shape == (0, 4)
