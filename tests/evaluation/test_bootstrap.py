"""The grouped bootstrap against scipy's, the normal approximation and resampling by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from genrec.common.config import validate
from genrec.common.errors import ConfigError
from genrec.evaluation import bootstrap as module
from genrec.evaluation.bootstrap import Bootstrap, confidence_intervals
from genrec.evaluation.metrics import ndcg, recall


@pytest.fixture
def ranks():
    return np.random.default_rng(3).choice(11, p=[0.04, *[0.02] * 9, 0.78], size=4000)


def test_agrees_with_scipy(ranks):
    from scipy.stats import bootstrap

    values = ndcg(ranks, 10)
    settings = Bootstrap(samples=4000)
    low, high = confidence_intervals(values[:, None], np.arange(4000), settings)[:, 0]
    reference = bootstrap(
        (values,),
        np.mean,
        n_resamples=2000,
        method="percentile",
        batch=200,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = reference.high - reference.low
    assert low == pytest.approx(reference.low, abs=0.06 * width)
    assert high == pytest.approx(reference.high, abs=0.06 * width)


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.960), (0.8, 1.2816)])
def test_agrees_with_the_normal_approximation(ranks, confidence, z):
    values = recall(ranks, 10)
    settings = Bootstrap(samples=20_000, confidence=confidence)
    interval = confidence_intervals(values[:, None], np.arange(4000), settings)[:, 0]
    error = values.std() / np.sqrt(4000)
    assert interval == pytest.approx(
        values.mean() + z * error * np.array([-1, 1]), abs=0.05 * error
    )


def test_users_with_many_cases_are_drawn_as_one():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(200), rng.integers(1, 8, 200))
    values = rng.random(200)[users] + 0.1 * rng.random(len(users))  # alike within a user
    low, high = confidence_intervals(values[:, None], users, Bootstrap(samples=4000))[:, 0]
    means = []
    for _ in range(4000):
        drawn = np.bincount(rng.integers(0, 200, 200), minlength=200)[users]
        means.append((drawn * values).sum() / drawn.sum())
    expected = np.quantile(means, [0.025, 0.975])
    assert [low, high] == pytest.approx(expected, abs=0.08 * (expected[1] - expected[0]))
    alone = confidence_intervals(values[:, None], np.arange(len(values)), Bootstrap())[:, 0]
    assert high - low > 1.5 * (alone[1] - alone[0]), (
        "treating cases as users looks surer than it is"
    )


def test_metrics_of_one_call_share_their_samples_and_the_seed_decides(ranks):
    values = np.column_stack([recall(ranks, 10), recall(ranks, 10), ndcg(ranks, 5)])
    first = confidence_intervals(values, np.arange(4000), Bootstrap(seed=5))
    # Not to the bit: a product of matrices may add up each column in an order of its own.
    np.testing.assert_allclose(first[:, 0], first[:, 1], rtol=1e-12)
    assert (
        confidence_intervals(values, np.arange(4000), Bootstrap(seed=5)).tolist() == first.tolist()
    )
    assert (
        confidence_intervals(values, np.arange(4000), Bootstrap(seed=6)).tolist() != first.tolist()
    )


def test_chunks_of_samples_are_all_used(ranks, monkeypatch):
    values = ndcg(ranks, 10)[:, None]
    whole = confidence_intervals(values, np.arange(4000), Bootstrap())
    monkeypatch.setattr(module, "CHUNK_CELLS", 25)
    parts = confidence_intervals(values, np.arange(4000), Bootstrap())
    np.testing.assert_allclose(parts, whole, rtol=1e-12)  # products of other shapes round otherwise


def test_equal_users_leave_no_doubt():
    interval = confidence_intervals(np.ones((5, 1)), np.arange(5), Bootstrap())
    assert interval.ravel().tolist() == [1, 1]


def test_a_benchmark_sized_evaluation_is_fast():
    ranks = np.random.default_rng(0).integers(0, 100, 22_363)
    values = np.column_stack(
        [metric(ranks, k) for metric in (recall, ndcg) for k in (5, 10, 20, 50)]
    )
    began = time.perf_counter()
    confidence_intervals(values, np.arange(22_363), Bootstrap())
    assert time.perf_counter() - began < 2


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="confidence = 95"):
        validate(Bootstrap, {"confidence": 95}, "options")
