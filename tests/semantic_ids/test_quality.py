from __future__ import annotations

import json
from math import log2

import numpy as np
import pytest

from genrec.errors import InputError
from genrec.semantic_ids import RQKMeans, RQKMeansSettings, SemanticIds
from genrec.semantic_ids.quality import (
    QualityGate,
    collisions,
    level_usage,
    prefix_purity,
    quality,
)

CODES = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [1, 1], [1, 1], [2, 0]], np.int32)


def test_collisions_by_hand():
    found = collisions(CODES)
    assert (found.items, found.buckets, found.largest) == (5, 2, 3)
    assert found.share == pytest.approx(5 / 7)
    assert collisions(np.empty((0, 2), np.int32)).share == 0


def test_entropy_by_hand():
    usage = level_usage(np.array([0, 0, 0, 0, 1, 1, 2, 2], np.int32), size=5)
    assert (usage.codes, usage.used) == (5, 3)
    assert usage.entropy == pytest.approx(1.5)
    assert usage.perplexity == pytest.approx(2**1.5)
    assert level_usage(np.zeros(4, np.int32), size=2).entropy == 0
    assert level_usage(np.arange(8, dtype=np.int32), size=8).entropy == pytest.approx(log2(8))


def test_purity_by_hand():
    labels = np.array([5, 5, 9, 9, 9, 5, -1])  # the last item is unknown and left out
    one = prefix_purity(CODES, labels, 1)
    # code 0: items 0 1 2, pairs 3, same 1; code 1: items 3 4 5, pairs 3, same 1
    assert one.pairs == 6
    assert one.observed == pytest.approx(2 / 6)
    # three of each label: 3 + 3 of 15 pairs
    assert one.chance == pytest.approx(6 / 15)
    assert one.ratio == pytest.approx((2 / 6) / (6 / 15))
    two = prefix_purity(CODES, labels, 2)
    # tuple 00: pair (0, 1) same; tuple 11: three pairs, one same
    assert (two.pairs, two.observed) == (4, pytest.approx(2 / 4))


def test_purity_equals_counting_all_pairs():
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 4, size=(60, 3)).astype(np.int32)
    labels = generator.integers(-1, 5, size=60)
    for length in (1, 2, 3):
        pairs = [
            (bool((codes[i, :length] == codes[j, :length]).all()), labels[i] == labels[j])
            for i in range(60)
            for j in range(i)
            if labels[i] >= 0 and labels[j] >= 0
        ]
        sharing = [same for shares, same in pairs if shares]
        found = prefix_purity(codes, labels, length)
        assert found.pairs == len(sharing)
        assert found.observed == pytest.approx(np.mean(sharing))
        assert found.chance == pytest.approx(np.mean([same for _, same in pairs]))


@pytest.fixture(scope="module")
def measured():
    generator = np.random.default_rng(0)
    centres = 5 * generator.normal(size=(6, 8))
    labels = np.arange(120) % 6
    vectors = (centres[labels] + generator.normal(size=(120, 8)) * 0.1).astype(np.float32)
    vectors[6:30:6] = vectors[0]  # five equal items
    tokenizer = RQKMeans().fit(vectors[:60])
    ids = [f"i{n}" for n in range(120)]
    titles = [f"Title {n}" for n in range(120)]
    built = {
        policy: SemanticIds.build(ids, vectors, tokenizer, policy)
        for policy in ("extra_level", "nearest_free")
    }
    reports = {
        policy: quality(one, tokenizer.encode(vectors), vectors, tokenizer, labels, titles)
        for policy, one in built.items()
    }
    return built, reports, tokenizer, vectors


def test_report_of_both_policies(measured):
    built, reports, tokenizer, vectors = measured
    for policy, report in reports.items():
        assert report.items == 120
        assert report.before.largest >= 5
        assert report.after.items == 0
        assert len(report.levels) == len(built[policy].codebook_sizes)
        decoded = tokenizer.decode(tokenizer.encode(vectors))
        expected = ((vectors - decoded) ** 2).sum() / (vectors.var(axis=0).sum() * 120)
        assert report.reconstruction_error == pytest.approx(expected, rel=1e-3)
        assert report.purity[0].ratio > 4
        assert len(report.purity) == 3
    assert reports["extra_level"].moves.items == 0
    moves = reports["nearest_free"].moves
    assert moves.items == built["nearest_free"].moved > 4
    assert moves.max_ratio >= moves.mean_ratio > 0


def test_worst_bucket_shows_titles(measured):
    worst = measured[1]["nearest_free"].worst_buckets
    assert worst[0].size == measured[1]["nearest_free"].before.largest
    assert [bucket.size for bucket in worst] == sorted((b.size for b in worst), reverse=True)
    five = next(bucket for bucket in worst if "Title 0" in bucket.titles)
    assert {"Title 6", "Title 12"} <= set(five.titles)
    assert len(five.titles) <= 5


def test_report_is_plain_json(measured):
    report = measured[1]["nearest_free"]
    again = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert again["before"]["items"] == report.before.items
    assert len(again["levels"]) == 3


def test_gate_passes_good_and_names_what_is_bad(measured):
    report = measured[1]["nearest_free"]
    labels = np.arange(120) % 6
    noise = np.random.default_rng(2).normal(size=(120, 4))
    spread = np.concatenate([3 * np.eye(6)[labels], noise], axis=1)
    tokenizer = RQKMeans(RQKMeansSettings(levels=3, codes=12)).fit(spread)
    ids = [str(n) for n in range(120)]
    good = SemanticIds.build(ids, spread, tokenizer, "nearest_free")
    assert quality(good, tokenizer.encode(spread), spread, tokenizer, labels).failures() == []
    strict = QualityGate(max_colliding=0, min_usage=1, max_reconstruction_error=0, min_purity=1000)
    text = "\n".join(report.failures(strict))
    for word in ("collide", "level 1 uses", "reconstruction error", "share a label"):
        assert word in text


def test_equal_vectors_and_one_item_have_a_report():
    for vectors in (np.ones((1, 4)), np.ones((5, 4))):
        tokenizer = RQKMeans().fit(vectors)
        ids = [str(n) for n in range(len(vectors))]
        built = SemanticIds.build(ids, vectors, tokenizer, "extra_level")
        labels = np.full(len(vectors), -1)
        report = quality(built, tokenizer.encode(vectors), vectors, tokenizer, labels)
        json.dumps(report.to_json(), allow_nan=False)
        assert report.purity[0].pairs == 0


def test_arguments_of_other_items_are_refused(measured):
    built, _, tokenizer, vectors = measured
    with pytest.raises(InputError, match="same items"):
        quality(built["extra_level"], tokenizer.encode(vectors[:9]), vectors, tokenizer)
