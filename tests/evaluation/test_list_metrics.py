"""Novelty, diversity, concentration and calibration: by hand, and against slow definitions."""

from __future__ import annotations

import doctest
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.evaluation import calibration, list_metrics
from genrec.evaluation.calibration import expected_calibration_error, reliability
from genrec.evaluation.list_metrics import (
    category_diversity,
    cold_share,
    exposure,
    gini,
    novelty,
    vector_diversity,
)

N = 6
lists = st.lists(
    st.lists(st.integers(0, N - 1), min_size=0, max_size=4, unique=True), min_size=1, max_size=5
)


def padded(rows):
    return np.array([row + [-1] * (4 - len(row)) for row in rows])


@pytest.mark.parametrize("module", [list_metrics, calibration], ids=["lists", "calibration"])
def test_worked_examples_in_the_documentation(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert found.failed == 0


def test_novelty_by_hand():
    counts = np.array([7, 0, 3])  # shares of 13 with one event more each: 8, 1 and 4
    found = novelty(np.array([[0, 1], [2, -1], [5, -1]]), counts)
    assert found.tolist() == pytest.approx([np.log2(13) - 1.5, np.log2(13) - 2, 0])


@given(lists, st.lists(st.integers(0, 2), min_size=N, max_size=N))
def test_the_share_of_cold_items_counts_entries(rows, counts):
    found = cold_share(padded(rows), np.array(counts))
    for row, value in zip(rows, found, strict=True):
        cold = [item for item in row if counts[item] == 0]
        assert value == pytest.approx(len(cold) / len(row) if row else 0)


@given(lists, st.lists(st.integers(-1, 2), min_size=N, max_size=N))
def test_category_diversity_counts_pairs(rows, labels):
    found = category_diversity(padded(rows), np.array(labels))
    for row, value in zip(rows, found, strict=True):
        pairs = list(combinations([labels[item] for item in row if labels[item] >= 0], 2))
        oracle = sum(a != b for a, b in pairs) / len(pairs) if pairs else 0
        assert value == pytest.approx(oracle)


@pytest.mark.parametrize("cells", [1, 10**6])
def test_vector_diversity_averages_cosines(monkeypatch, cells):
    monkeypatch.setattr(list_metrics, "CELLS", cells)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N, 5))
    vectors[3] = 0
    rows = [rng.permutation(N)[:size].tolist() for size in (4, 4, 3, 2, 1, 0)]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    for row, value in zip(rows, vector_diversity(padded(rows), vectors), strict=True):
        gaps = [1 - unit[a] @ unit[b] for a, b in combinations(row, 2)]
        assert value == pytest.approx(np.mean(gaps) if gaps else 0)


def test_exposure_and_gini_by_hand():
    shown = exposure(np.array([[0, 1], [0, -1], [0, 9]]), 4)
    assert shown.tolist() == [3, 1, 0, 0]
    # Mean absolute difference over twice the mean: pairs (2, 3, 3, 1, 1, 0) twice over 16, over 2.
    assert gini(shown) == pytest.approx(2 * 10 / 16 / 2)
    assert gini(np.zeros(4, int)) == 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_gini_is_half_the_relative_mean_difference(counts):
    x = np.array(counts)
    oracle = np.abs(x[:, None] - x).mean() / (2 * x.mean()) if x.sum() else 0
    assert gini(x) == pytest.approx(oracle)
    assert 0 <= gini(x) + 1e-12 < 1
    assert gini(x[::-1].copy()) == pytest.approx(gini(x))


def test_calibration_by_hand():
    said = np.array([0.05, 0.15, 0.15, 1.0])
    hits = np.array([0.0, 1.0, 0.0, 1.0])
    assert reliability(said, hits)[2].tolist() == [1, 2, 1]
    # Bins: .05 for 0 of 1; .15 for 1 of 2; 1 for 1 of 1.
    assert expected_calibration_error(said, hits) == pytest.approx((0.05 + 2 * 0.35 + 0) / 4)


def test_a_calibrated_ranker_has_no_error_and_a_boastful_one_has():
    rng = np.random.default_rng(0)
    said = rng.random(200_000)
    hits = (rng.random(200_000) < said).astype(float)
    assert expected_calibration_error(said, hits) < 0.01
    assert expected_calibration_error(np.sqrt(said), hits) > 0.1
