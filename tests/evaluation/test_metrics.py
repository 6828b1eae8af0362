"""Metrics by hand, against slow definitions and against scikit-learn."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.data.histories import Histories
from genrec.evaluation import metrics
from genrec.evaluation.metrics import (
    METRICS,
    audit,
    average_precision,
    coverage,
    hit,
    mrr,
    ndcg,
    rank_of_target,
    recall,
)
from genrec.evaluation.ranking import Ranking

N = 8


@st.composite
def rankings(draw):
    k = draw(st.integers(1, 5))
    rows = draw(
        st.lists(st.lists(st.integers(0, N - 1), max_size=k, unique=True), min_size=1, max_size=6)
    )
    padded = [row + [-1] * (k - len(row)) for row in rows]
    targets = draw(st.lists(st.integers(0, N - 1), min_size=len(rows), max_size=len(rows)))
    return Ranking(np.array(padded, np.int32), np.zeros((len(rows), k), np.float32)), np.array(
        targets
    )


def ranking_of(*rows):
    return Ranking(np.array(rows, np.int32), np.zeros((len(rows), len(rows[0])), np.float32))


def test_worked_examples_in_the_documentation():
    result = doctest.testmod(metrics)
    assert result.attempted > 5
    assert result.failed == 0


def test_by_hand():
    ranks = rank_of_target(ranking_of([3, 1, 2], [0, 1, 5], [4, -1, -1]), np.array([3, 5, 0]))
    assert ranks.tolist() == [0, 2, 3]
    assert recall(ranks, 1).mean() == pytest.approx(1 / 3)
    assert recall(ranks, 3).mean() == pytest.approx(2 / 3)
    assert ndcg(ranks, 3).tolist() == pytest.approx([1, 1 / math.log2(4), 0])
    assert ndcg(ranks, 2).tolist() == [1, 0, 0]
    assert mrr(ranks, 3).tolist() == pytest.approx([1, 1 / 3, 0])
    assert average_precision(ranks, 3).tolist() == pytest.approx([1, 1 / 3, 0])
    assert hit(ranks, 3).tolist() == [1, 1, 0]


@given(rankings(), st.data())
def test_equal_to_the_definitions(case, data):
    ranking, targets = case
    k = data.draw(st.integers(1, ranking.k))
    ranks = rank_of_target(ranking, targets)
    for row, target, *got in zip(
        ranking.items.tolist(),
        targets.tolist(),
        recall(ranks, k),
        hit(ranks, k),
        ndcg(ranks, k),
        mrr(ranks, k),
        strict=True,
    ):
        relevant = [item == target for item in row[:k]]
        gain = sum(hit / math.log2(place + 2) for place, hit in enumerate(relevant))
        reciprocal = max((hit / (place + 1) for place, hit in enumerate(relevant)), default=0)
        assert got == pytest.approx([sum(relevant), sum(relevant), gain, reciprocal])


@given(rankings())
def test_ndcg_equals_scikit_learn(case):
    from sklearn.metrics import ndcg_score

    ranking, targets = case
    truth = np.eye(N)[targets]
    scores = np.zeros((len(ranking), N))
    for row, items in zip(scores, ranking.items, strict=True):
        for place, item in enumerate(items[items >= 0]):
            row[item] = N - place
    full = (ranking.items >= 0).all(axis=1)  # short rows leave ties, which scikit-learn averages
    if full.any():
        expected = ndcg_score(truth[full], scores[full], k=ranking.k)
        ranks = rank_of_target(ranking, targets)[full]
        assert ndcg(ranks, ranking.k).mean() == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_equal_to_torchmetrics(name):
    from torch import tensor
    from torchmetrics.functional import retrieval

    theirs = {
        "recall": retrieval.retrieval_recall,
        "ndcg": retrieval.retrieval_normalized_dcg,
        "mrr": retrieval.retrieval_reciprocal_rank,
        "hit": retrieval.retrieval_hit_rate,
        "map": retrieval.retrieval_average_precision,
    }[name]
    rng = np.random.default_rng(0)
    for k in (1, 3, 8):
        for target in range(N):
            items = rng.permutation(N)
            scores, truth = np.zeros(N, np.float32), np.zeros(N, bool)
            scores[items], truth[target] = np.arange(N, 0, -1), True
            rank = rank_of_target(ranking_of(items), np.array([target]))
            expected = theirs(tensor(scores), tensor(truth), top_k=k).item()
            assert METRICS[name](rank, k).item() == pytest.approx(expected, abs=1e-6)


def test_calibration_error_equals_torchmetrics():
    from torch import tensor
    from torchmetrics.functional.classification import binary_calibration_error

    from genrec.evaluation.calibration import expected_calibration_error

    rng = np.random.default_rng(1)
    said = rng.random(500)
    hits = (rng.random(500) < said**2).astype(float)
    theirs = binary_calibration_error(tensor(said), tensor(hits).long(), n_bins=10, norm="l1")
    assert expected_calibration_error(said, hits) == pytest.approx(theirs.item(), abs=1e-5)


def test_padding_is_neither_covered_nor_found():
    assert coverage(ranking_of([-1, -1]), n_items=3, k=2) == 0
    assert rank_of_target(ranking_of([0, -1]), np.array([2])).tolist() == [2]


@given(rankings())
def test_coverage_counts_distinct_items(case):
    ranking, _ = case
    for k in range(1, ranking.k + 1):
        distinct = {item for row in ranking.items.tolist() for item in row[:k] if item >= 0}
        assert coverage(ranking, N, k) == pytest.approx(len(distinct) / N)


@given(
    st.lists(
        st.tuples(st.lists(st.integers(-2, 6), min_size=4, max_size=4), st.lists(st.integers(0, 4)))
    )
)
def test_audit_equals_plain_counting(rows):
    rows = [(items, seen) for items, seen in rows if -1 not in items]
    items = np.array([items for items, _ in rows], np.int32).reshape(-1, 4)
    ranking = Ranking(items, np.zeros(items.shape, np.float32))
    histories = Histories.of([seen for _, seen in rows])
    valid = [[i for i in items if 0 <= i < 5] for items, _ in rows]
    found = audit(ranking, histories, 5, exclude_seen=True)
    assert found.invalid == sum(4 - len(items) for items in valid)
    assert found.duplicates == sum(len(items) - len(set(items)) for items in valid)
    assert found.seen == sum(
        i in seen for items, (_, seen) in zip(valid, rows, strict=True) for i in items
    )
    assert audit(ranking, histories, 5, exclude_seen=False).seen == 0
    assert found.total == found.invalid + found.duplicates + found.seen
    assert (found + found).total == 2 * found.total
    assert found.entries == items.size
    shares = [found.invalid, found.duplicates, found.seen]
    assert list(found.rates.values()) == [count / max(items.size, 1) for count in shares]
