"""EASE against its own optimality conditions and a solver; item neighbours by hand; what all of them keep."""

from __future__ import annotations

import numpy as np
import pytest

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.evaluation import audit
from genrec.evaluation.baselines import (
    PCTM,
    Ease,
    EaseConfig,
    ItemKNN,
    ItemKNNConfig,
    Recency,
    SeqRules,
)
from genrec.evaluation.baselines.item_knn import cosines, user_items

N = 9
FLAT = Recency(decay=1.0)


@pytest.fixture
def train():
    rng = np.random.default_rng(0)
    return Histories.of([rng.choice(N, rng.integers(1, 6), replace=False) for _ in range(40)])


@pytest.fixture
def histories():
    rng = np.random.default_rng(1)
    return Histories.of([rng.integers(0, N, length) for length in (0, 1, 2, 5, 8)])


def constrained_ridge(train, l2):
    """Regress every item on all others, one at a time: the constraint by leaving the item out."""
    X = np.zeros((len(train), N))
    for user, items in enumerate(train):
        X[user, items] = 1
    weights = np.zeros((N, N))
    for item in range(N):
        others = [i for i in range(N) if i != item]
        A = X[:, others]
        weights[others, item] = np.linalg.solve(A.T @ A + l2 * np.eye(N - 1), A.T @ X[:, item])
    return weights


@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_ease_solves_the_regression_of_every_item_on_the_others(train, l2):
    ranker = Ease.fit(train, N, EaseConfig(l2=l2))
    np.testing.assert_allclose(ranker.weights, constrained_ridge(train, l2), atol=1e-5)
    assert (np.diag(ranker.weights) == 0).all()


def test_ease_scores_are_the_weights_summed_over_the_history(train):
    ranker = Ease.fit(train, N, EaseConfig(l2=2.0, recency=FLAT))
    ranking = ranker.rank(Histories.of([[3, 7]]), N, exclude_seen=False)
    expected = constrained_ridge(train, 2.0)[[3, 7]].mean(axis=0)
    assert ranking.items[0].tolist() == np.argsort(-expected).tolist()
    np.testing.assert_allclose(ranking.scores[0], np.sort(expected)[::-1], atol=1e-5)


def test_ease_counts_a_repeated_training_event_once():
    once, twice = [[0, 1, 2], [0, 1]], [[0, 1, 1, 2, 0], [0, 1]]
    weights = [Ease.fit(Histories.of(log), 3).weights for log in (once, twice)]
    np.testing.assert_array_equal(*weights)


def test_ease_refuses_a_catalog_that_does_not_fit():
    with pytest.raises(InputError, match=r"200,000 items need about 372\.5 GiB.*item-knn"):
        Ease.fit(Histories.of([[0]]), 200_000)


def test_ease_takes_more_where_it_may(train):
    """As its refusal says: raise memory_gib."""
    with pytest.raises(InputError, match="memory_gib = 1e-07 is allowed; raise it"):
        Ease.fit(train, 40, EaseConfig(memory_gib=1e-7))
    assert Ease.fit(train, 40, EaseConfig(memory_gib=1e-4)).weights.shape == (40, 40)


def test_cosines_by_hand():
    seen = user_items(Histories.of([[0, 1, 1], [0, 1], [0, 2]]), 4)
    assert seen.toarray().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]]
    plain = cosines(seen, 0.0).toarray()
    assert plain[0].tolist() == pytest.approx([0, 2 / 6**0.5, 1 / 3**0.5, 0])
    np.testing.assert_array_equal(plain, plain.T)
    assert cosines(seen, 2.0).toarray()[0, 2] == pytest.approx(1 / (3**0.5 + 2))


def test_item_neighbors_by_hand():
    log = Histories.of([[0, 1], [0, 1], [0, 2], [3], [3], [3], [3]])
    config = ItemKNNConfig(shrink=0, recency=Recency(decay=0.5))
    ranking = ItemKNN.fit(log, 5, config).rank(Histories.of([[2, 1]]), 4, exclude_seen=False)
    toward_0 = 2 / 3 * (2 / 6**0.5) + 1 / 3 * (1 / 3**0.5)
    assert ranking.items.tolist() == [[0, 3, 1, 2]], "completed by popularity"
    assert ranking.scores[0].tolist() == pytest.approx([toward_0, 0, 0, 0])


def test_shrinkage_prefers_neighbors_that_many_vouch_for():
    """2 shares its only user with 0: a perfect cosine. 1 shares nine of its ten."""
    log = Histories.of([*[[0, 1]] * 9, [1], [2, 3]])
    history = Histories.of([[0, 2]])

    def first(shrink):
        config = ItemKNNConfig(shrink=shrink, recency=FLAT)
        return ItemKNN.fit(log, 4, config).rank(history, 1, exclude_seen=True).items[0, 0]

    assert (first(0), first(5)) == (3, 1)


def test_only_the_nearest_neighbors_are_kept(train):
    similarity = ItemKNN.fit(train, N, ItemKNNConfig(neighbors=2)).similarity
    assert (np.diff(similarity.indptr) == 2).all()


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("kind", [Ease, ItemKNN, PCTM, SeqRules])
class TestEveryFittedBaseline:
    def test_returns_allowed_distinct_items_best_first(self, kind, train, histories, exclude_seen):
        ranking = kind.fit(train, N).rank(histories, 5, exclude_seen=exclude_seen)
        assert ranking.items.shape == (len(histories), 5)
        assert audit(ranking, histories, N, exclude_seen).total == 0
        assert (ranking.scores[:, 1:] <= ranking.scores[:, :-1]).all()

    def test_a_batch_equals_single_cases(self, kind, train, histories, exclude_seen):
        ranker = kind.fit(train, N)
        batch = ranker.rank(histories, 5, exclude_seen=exclude_seen)
        singles = [ranker.rank(Histories.of([h]), 5, exclude_seen=exclude_seen) for h in histories]
        assert batch.items.tolist() == [single.items[0].tolist() for single in singles]

    def test_an_empty_history_gets_the_most_popular(self, kind, train, histories, exclude_seen):
        ranker = kind.fit(train, N)
        ranking = ranker.rank(histories, 5, exclude_seen=exclude_seen)
        assert ranking.items[0].tolist() == ranker.popularity.order[:5].tolist()
        assert ranker.tie_break.tolist() == np.bincount(train.items, minlength=N).tolist()

    def test_state_gives_back_the_same_ranker(self, kind, train, histories, exclude_seen):
        ranker = kind.fit(train, N)
        again = kind.restore(ranker.state(), ranker.config)
        ranking = again.rank(histories, 5, exclude_seen=exclude_seen)
        expected = ranker.rank(histories, 5, exclude_seen=exclude_seen)
        np.testing.assert_array_equal(ranking.items, expected.items)
        np.testing.assert_array_equal(ranking.scores, expected.scores)
