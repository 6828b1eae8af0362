"""Ties count by expectation: by hand, against every order of the group, and where a list cuts them."""

from __future__ import annotations

import doctest
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.data.histories import Cases, Histories
from genrec.evaluation import Protocol, Ranking, evaluate, ties
from genrec.evaluation.baselines import Popularity
from genrec.evaluation.metrics import METRICS, ndcg, recall
from genrec.evaluation.ties import expected, tied_groups

N = 8


@dataclass
class Scored:
    """Ranks all items by fixed scores, equal ones by an order that means nothing, or by `tie_break`."""

    scores: np.ndarray
    order: np.ndarray
    tie_break: np.ndarray | None = None
    name: str = "scored"
    widest: int = 0

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        self.widest = max(self.widest, k)
        second = self.order if self.tie_break is None else -self.tie_break
        best = np.lexsort((self.order, second, -self.scores))[:k]
        ranking = Ranking.empty(len(histories), k)
        ranking.items[:, : len(best)] = best
        ranking.scores[:, : len(best)] = self.scores[best]
        return ranking


def measured(ranker, targets, ks=(1, 2, 3)):
    cases = Cases(np.arange(len(targets)), Histories.of([[]] * len(targets)), np.array(targets))
    return evaluate(ranker, cases, Protocol(ks=ks), len(ranker.scores))


def test_worked_examples_in_the_documentation():
    assert doctest.testmod(ties).failed == 0
    assert doctest.testmod(ties).attempted


def test_a_group_across_k_by_hand():
    # 5 first; 0 to 3 share places 1 to 4; 4 last.
    ranker = Scored(np.array([2, 2, 2, 2, 1, 3.0]), np.arange(6))
    result = measured(ranker, [3, 5, 4], ks=(1, 3, 5))
    assert result.ranks.tolist() == [1, 0, 5]
    assert result.results.tied.tolist() == [4, 1, 1]
    assert result.metrics["recall@3"] == pytest.approx((2 / 4 + 1 + 0) / 3)
    assert result.metrics["recall@5"] == pytest.approx(2 / 3)
    assert result.metrics["mrr@3"] == pytest.approx(((1 / 2 + 1 / 3) / 4 + 1) / 3)
    gain = (1 / np.log2(3) + 1 / np.log2(4)) / 4
    assert result.metrics["ndcg@3"] == pytest.approx((gain + 1) / 3)


def test_a_group_that_the_list_cuts_is_followed_to_its_end():
    ranker = Scored(np.zeros(500), np.arange(500))
    result = measured(ranker, [0, 499], ks=(10,))
    assert result.results.tied.tolist() == [500, 500]
    assert result.metrics["recall@10"] == pytest.approx(10 / 500)
    assert ranker.widest > 500
    assert result.results.top.shape == (2, 10)


def test_an_open_group_is_left_at_the_widest(monkeypatch):
    monkeypatch.setattr(ties, "WIDEST", 40)
    result = measured(Scored(np.zeros(500), np.arange(500)), [0, 499], ks=(10,))
    assert result.results.tied.tolist() == [40, 1]
    assert result.ranks.tolist() == [0, 10]


def test_without_ties_nothing_more_is_asked():
    ranker = Scored(np.arange(500.0), np.arange(500))
    measured(ranker, [3, 499], ks=(10,))
    assert ranker.widest == 11


def test_what_decides_between_equal_scores_unties_them():
    scores, sold = np.array([1.0, 1, 1, 0]), np.array([5, 9, 5, 0])
    result = measured(Scored(scores, np.arange(4), tie_break=sold), [1, 0, 2])
    assert result.ranks.tolist() == [0, 1, 1]
    assert result.results.tied.tolist() == [1, 2, 2]


def test_padding_ties_with_nothing():
    items = np.array([[2, 0, -1, -1]], np.int32)
    scores = np.array([[1, -np.inf, -np.inf, -np.inf]], np.float32)
    for target, place in ((2, 0), (0, 1), (1, 4)):
        first, size, cut = tied_groups(Ranking(items, scores), np.array([target]), 3, None)
        assert (first.item(), size.item(), cut.item()) == (place, 1, False)


def test_popularity_does_not_gain_by_the_order_of_the_catalog():
    popularity = Popularity.fit(Histories.of([[0], [1], [2], [3]]), 4)
    cases = Cases(np.arange(4), Histories.of([[]] * 4), np.arange(4, dtype=np.int32))
    for part in (cases.take(np.array([0])), cases.take(np.array([3])), cases):
        assert evaluate(popularity, part, Protocol(ks=(1,)), 4).metrics["recall@1"] == 0.25


scores = st.lists(st.integers(0, 3), min_size=N, max_size=N)


@given(scores, st.integers(0, N - 1), st.integers(1, N), st.sampled_from(sorted(METRICS)))
def test_equal_to_the_mean_over_all_orders_of_the_group(found, target, k, name):
    values = np.array(found, float)
    before = int((values > values[target]).sum())
    group = np.flatnonzero(values == values[target])
    if len(group) > 5:
        return
    places = [before + order.index(target) for order in permutations(group.tolist())]
    oracle = METRICS[name](np.array(places), k).mean()
    result = measured(Scored(values, np.arange(N)), [target], ks=(k,))
    assert result.metrics[f"{name}@{k}"] == pytest.approx(oracle)


@given(scores, st.permutations(range(N)))
def test_the_order_within_ties_changes_nothing(found, order):
    values = np.array(found, float)
    first = measured(Scored(values, np.arange(N)), range(N), ks=(1, 3))
    again = measured(Scored(values, np.array(order)), range(N), ks=(1, 3))
    for name in METRICS:
        for k in (1, 3):
            assert again.metrics[f"{name}@{k}"] == pytest.approx(first.metrics[f"{name}@{k}"])


groups = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=9)


@given(groups, st.integers(1, 8), st.sampled_from(sorted(METRICS)))
def test_bounds_and_monotony_in_k(found, k, name):
    ranks, tied = (np.array(column, np.int64) for column in zip(*found, strict=True))
    now, next_k = (expected(METRICS[name], ranks, tied, at) for at in (k, k + 1))
    assert (now >= 0).all()
    assert (now <= next_k + 1e-12).all()
    assert (next_k <= 1).all()
    assert (now <= expected(recall, ranks, tied, k) + 1e-12).all()


def test_a_target_alone_keeps_its_exact_gain():
    ranks = np.arange(12)
    assert expected(ndcg, ranks, np.ones(12, int), 10).tolist() == ndcg(ranks, 10).tolist()
