"""The paired test: planted differences found, none invented, and scipy's numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genrec.common.errors import InputError
from genrec.evaluation import (
    Bootstrap,
    CaseResults,
    Evaluation,
    PairedSettings,
    Protocol,
    paired_differences,
)
from genrec.evaluation.paired import randomization_p

C, N = 400, 50


def evaluation(ranks, name="a", users=None):
    ranks = np.asarray(ranks, np.int64)
    users = np.arange(len(ranks)) if users is None else users
    top = np.zeros((len(ranks), 10), np.int32)
    results = CaseResults(
        users,
        (np.arange(len(ranks)) % N).astype(np.int32),
        ranks,
        np.ones(len(ranks), np.int64),
        top,
        np.zeros((len(ranks), 4), np.int64),
    )
    facts = {"users": len(np.unique(users)), "cases": len(ranks), "items": N, "data_hash": "x"}
    protocol = Protocol(bootstrap=Bootstrap(samples=500)).replace(**facts)
    return Evaluation.of(name, protocol, results, 0.0)


@pytest.fixture
def ranks():
    return np.random.default_rng(0).integers(0, 11, C)


def test_a_recommender_is_not_better_than_itself(ranks):
    for found in paired_differences(evaluation(ranks), evaluation(ranks)).values():
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_runs_with_several_seeds_count_by_their_mean():
    # recall@10 of the four users: (1 + 1) / 2, (1 + 0) / 2, 0, 1; the other's: 1, 0, 1, 0.
    runs = [evaluation([0, 3, 10, 9]), evaluation([9, 10, 10, 0], "b")]
    other = evaluation([0, 10, 0, 10], "c")
    found = paired_differences(runs, other, ["recall@10"])["recall@10"]
    assert found.value == pytest.approx((0 + 0.5 - 1 + 1) / 4)
    assert paired_differences(other, runs, ["recall@10"])["recall@10"].value == -found.value
    alone = paired_differences([runs[0]], other)
    assert alone == paired_differences(runs[0], other)
    with pytest.raises(InputError, match="cannot be compared"):
        paired_differences([*runs, evaluation([0, 1, 2])], other)


def test_a_planted_difference_is_found_both_ways(ranks):
    better = np.where(np.arange(C) % 5 == 0, 0, ranks)  # a fifth of the users gets the target first
    found = paired_differences(evaluation(better), evaluation(ranks, "b"))
    back = paired_differences(evaluation(ranks, "b"), evaluation(better))
    assert set(found) == {f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in (5, 10)}
    for name, difference in found.items():
        assert 0 < difference.low < difference.value < difference.high
        assert difference.p < 0.01
        assert back[name].value == pytest.approx(-difference.value)
        assert back[name].p == pytest.approx(difference.p, abs=0.002)


def test_a_small_difference_is_seen_that_separate_intervals_hide(ranks):
    better = ranks.copy()
    better[np.flatnonzero(ranks == 10)[:8]] = 9  # eight of 400 users gain, nobody loses
    ours, theirs = evaluation(better), evaluation(ranks, "b")
    assert ours.confidence["recall@10"][0] < theirs.metrics["recall@10"]
    [found] = paired_differences(ours, theirs, ["recall@10"]).values()
    assert found.value == pytest.approx(8 / C)
    assert found.low > 0
    assert found.p == pytest.approx(2 / 2**8, abs=0.004), "all eight signs one way"


def test_where_nothing_differs_p_is_uniform():
    rng = np.random.default_rng(1)
    p = [
        randomization_p(
            (rng.integers(0, 2, 60) - rng.integers(0, 2, 60))[:, None].astype(float),
            np.arange(60),
            PairedSettings(swaps=400),
        ).item()
        for _ in range(300)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.09
    assert 0.4 < np.mean(p) < 0.65


def test_agrees_with_scipy():
    from scipy.stats import permutation_test

    rng = np.random.default_rng(2)
    gains = rng.normal(0.15, 1, 120).round(1)
    reference = permutation_test(
        (gains, np.zeros(120)),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9000,
        batch=2000,
        rng=np.random.default_rng(0),
    )
    found = randomization_p(gains[:, None], np.arange(120), PairedSettings(swaps=20_000))
    assert found.item() == pytest.approx(reference.pvalue, abs=0.02)


def test_a_users_cases_are_swapped_together():
    gains = np.ones((40, 1))
    alone = randomization_p(gains, np.arange(40), PairedSettings(swaps=2000))
    together = randomization_p(gains, np.repeat([0, 1], 20), PairedSettings(swaps=2000))
    assert alone.item() < 0.001
    assert together.item() == pytest.approx(0.5, abs=0.05), (
        "two users agree by chance half the time"
    )


def test_chunks_of_swaps_are_all_used(ranks, monkeypatch):
    from genrec.evaluation import paired

    ours, theirs = evaluation(ranks), evaluation(np.roll(ranks, 1), "b")
    whole = paired_differences(ours, theirs)
    monkeypatch.setattr(paired, "CHUNK_CELLS", 5000)
    parts = paired_differences(ours, theirs)
    for name, found in whole.items():
        assert parts[name].p == pytest.approx(found.p, abs=0.03)


def test_other_cases_and_metrics_are_refused(ranks):
    ours, theirs = evaluation(ranks), evaluation(ranks, "b")
    with pytest.raises(InputError, match="'coverage@10' cannot be paired; known: recall@5"):
        paired_differences(ours, theirs, ["coverage@10"])
    other = replace(theirs, protocol=theirs.protocol.replace(exclude_seen=False))
    with pytest.raises(InputError, match="protocol field 'exclude_seen'"):
        paired_differences(ours, other)
    targets = replace(theirs.results, targets=theirs.results.targets[::-1] // 2)
    with pytest.raises(InputError, match="their cases have other targets"):
        paired_differences(ours, replace(theirs, results=targets))
