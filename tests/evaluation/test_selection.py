"""The choice of the best k against an obvious sort, ties and exclusions included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import fill, top_k, top_k_sparse

SCORES = [-np.inf, -2.5, -1e-30, -0.0, 0.0, 1e-30, 0.5, 0.5, 3.0, np.inf]


def best_by_sorting(row, k, excluded, order):
    allowed = [i for i in order if i not in excluded and row[i] > -np.inf]
    best = sorted(allowed, key=lambda i: -row[i])[:k]  # stable: equal scores keep the order
    return best + [-1] * (k - len(best))


@st.composite
def problems(draw):
    C, N = draw(st.integers(0, 4)), draw(st.integers(1, 9))
    scores = [draw(st.lists(st.sampled_from(SCORES), min_size=N, max_size=N)) for _ in range(C)]
    excluded = [draw(st.lists(st.integers(0, N - 1), max_size=N)) for _ in range(C)]
    order = draw(st.permutations(range(N)))
    k = draw(st.integers(1, 11))
    return np.array(scores, np.float32).reshape(C, N), excluded, order, k


@given(problems())
def test_top_k_equals_a_stable_sort(problem):
    scores, excluded, order, k = problem
    ranking = top_k(scores, k, excluded=Histories.of(excluded), order=np.array(order))
    expected = [
        best_by_sorting(*row, order)
        for row in zip(scores, [k] * len(scores), excluded, strict=True)
    ]
    assert ranking.items.tolist() == expected
    assert ranking.items.dtype == np.int32
    for case, (items, values) in enumerate(zip(ranking.items, ranking.scores, strict=True)):
        wanted = [scores[case, i] if i >= 0 else -np.inf for i in items]
        assert values.tolist() == wanted


@given(problems())
def test_sparse_and_dense_choice_agree(problem):
    scores, excluded, order, k = problem
    C, N = scores.shape
    rows, columns = np.divmod(np.arange(C * N), N)  # every entry stored, zeros too
    sparse = csr_matrix((scores.ravel(), (rows, columns)), shape=(C, N))
    options = {"excluded": Histories.of(excluded), "order": np.array(order)}
    assert (
        top_k_sparse(sparse, k, **options).items.tolist()
        == top_k(scores, k, **options).items.tolist()
    )


def test_equal_scores_go_to_the_lower_index_even_at_the_cut():
    scores = np.zeros((1, 5000), np.float32)
    scores[0, 4321] = 1
    assert top_k(scores, 4).items.tolist() == [[4321, 0, 1, 2]]


def test_a_mask_excludes_like_a_history():
    scores = np.arange(6.0).reshape(2, 3)
    mask = np.array([[False, False, True], [False, True, False]])
    assert top_k(scores, 2, excluded=mask).items.tolist() == [[1, 0], [2, 0]]
    assert scores[0, 2] == 2, "the caller's scores stay as they were"


def test_only_stored_entries_are_candidates():
    sparse = csr_matrix(([0.0, -1.0], ([0, 0], [3, 1])), shape=(2, 5))
    assert top_k_sparse(sparse, 3).items.tolist() == [[3, 1, -1], [-1, -1, -1]]


def test_nan_is_refused_with_its_case():
    with pytest.raises(InputError, match="case 1: its scores hold NaN"):
        top_k(np.array([[0.0, 1.0], [np.nan, 0.0]]), 1)


@given(problems())
def test_fill_completes_with_the_first_free_items(problem):
    scores, excluded, order, k = problem
    start = top_k(np.where(scores > 0.4, scores, -np.inf), k, excluded=Histories.of(excluded))
    values = np.arange(scores.shape[1], dtype=np.float32) - 100
    filled = fill(start, np.array(order), values, Histories.of(excluded))
    for case, barred in enumerate(excluded):
        row = [i for i in start.items[case].tolist() if i >= 0]
        added = [i for i in order if i not in row and i not in barred][: k - len(row)]
        expected = row + added
        assert filled.items[case].tolist() == expected + [-1] * (k - len(expected))
        assert filled.scores[case, len(row) : len(expected)].tolist() == values[added].tolist()


def test_fill_leaves_its_input_alone():
    start = Ranking.empty(1, 2)
    fill(start, np.array([1, 0]), np.zeros(2, np.float32))
    assert start.items.tolist() == [[-1, -1]]
