from __future__ import annotations

import json
from math import log2

import numpy as np
import pytest

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.semantic_ids import RQKMeans, SemanticIds
from genrec.semantic_ids.quality import Moves, collisions, level_usage, quality

CODES = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [1, 1], [1, 1], [2, 0]], np.int32)


def test_collisions_by_hand():
    found = collisions(CODES)
    assert (found.items, found.buckets, found.largest) == (5, 2, 3)
    assert found.share == pytest.approx(5 / 7)
    assert found.sizes == ((1, 2), (2, 1), (3, 1))
    assert collisions(np.empty((0, 2), np.int32)).share == 0


def test_entropy_by_hand():
    usage = level_usage(np.array([0, 0, 0, 0, 1, 1, 2, 2], np.int32), size=5)
    assert (usage.codes, usage.used) == (5, 3)
    assert usage.entropy == pytest.approx(1.5)
    assert usage.perplexity == pytest.approx(2**1.5)
    assert usage.balance == pytest.approx(4 / (8 / 5))
    assert (usage.percentiles[0], usage.percentiles[10], usage.percentiles[-1]) == (0, 2, 4)
    assert level_usage(np.array([0, 1, 2, 0, 1, 2], np.int32), size=3).balance == 1
    assert level_usage(np.zeros(4, np.int32), size=2).entropy == 0
    assert level_usage(np.arange(8, dtype=np.int32), size=8).entropy == pytest.approx(log2(8))


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
    assert reports["extra_level"].moves == Moves(0, 0, 0.0, 0.0, 0.0, ())
    moves = reports["nearest_free"].moves
    assert moves.items == built["nearest_free"].moved > 4
    assert moves.max == moves.percentiles[-1] >= moves.median == moves.percentiles[10]
    assert "moved: by" in reports["nearest_free"].summary()
    assert "none moved" in reports["extra_level"].summary()


def scalar_tokenizer(*codebooks):
    tokenizer = RQKMeans()
    tokenizer._restore(
        {f"codebook.{n}": np.array(c, "f4")[:, None] for n, c in enumerate(codebooks)}, 1
    )
    tokenizer.dimension = 1
    return tokenizer


def test_distance_of_moves_by_hand():
    tokenizer = scalar_tokenizer([0, 8], [0, 1])
    vectors = np.array([[0], [0], [8], [0]], np.float32)
    before = tokenizer.encode(vectors)
    assert before.tolist() == [[0, 0], [0, 0], [1, 0], [0, 0]]
    after = SemanticIds(list("abcd"), np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), (2, 2), "refuse")
    moves = quality(after, before, vectors, tokenizer).moves
    # the mean is 2, the variance (4 + 4 + 36 + 4) / 4 = 12; b lands on 1, d on 9
    assert (moves.items, moves.last_code_only) == (2, 1)
    assert moves.mean == pytest.approx((1 + 81) / 2 / 12)
    assert moves.median == pytest.approx((1 + 81) / 2 / 12)
    assert moves.max == pytest.approx(81 / 12)


def test_errors_are_summed_part_by_part(measured, monkeypatch):
    built, reports, tokenizer, vectors = measured
    monkeypatch.setattr("genrec.semantic_ids.quality.CHUNK", 7)
    again = quality(built["nearest_free"], tokenizer.encode(vectors), vectors, tokenizer)
    assert again.reconstruction_error == reports["nearest_free"].reconstruction_error
    assert again.moves == reports["nearest_free"].moves


def test_agreement_is_measured_on_the_histories_given(measured):
    built, _, tokenizer, vectors = measured
    rows = [np.arange(0, 120, 6, dtype=np.int32) + group for group in range(6)]
    report = quality(
        built["nearest_free"],
        tokenizer.encode(vectors),
        vectors,
        tokenizer,
        histories=Histories.of(rows),
    )
    assert [entry.length for entry in report.agreement] == [1, 2, 3]
    assert report.agreement[0].pairs == 6 * 19
    assert report.agreement[0].ratio > 4


def test_codes_that_no_vector_made_have_a_report():
    ids = SemanticIds(list("abc"), np.array([[0, 0], [0, 1], [1, 0]]), (2, 3), "nearest_free")
    report = quality(ids, ids.codes, labels=np.array([1, 1, 2]))
    assert (report.moves, report.reconstruction_error) == (None, None)
    assert report.before.items == 0
    assert report.purity[0].observed == 1
    assert [level.codes for level in report.levels] == [2, 3]
    assert "none moved" in report.summary()
    json.dumps(report.to_json(), allow_nan=False)


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


def test_equal_vectors_and_one_item_have_a_report():
    for vectors in (np.ones((1, 4)), np.ones((5, 4))):
        tokenizer = RQKMeans().fit(vectors)
        ids = [str(n) for n in range(len(vectors))]
        built = SemanticIds.build(ids, vectors, tokenizer, "extra_level")
        labels = np.full(len(vectors), -1)
        report = quality(built, tokenizer.encode(vectors), vectors, tokenizer, labels)
        json.dumps(report.to_json(), allow_nan=False)
        assert report.purity[0].pairs == 0
        assert report.moves.items == 0
        free = SemanticIds(ids, np.arange(len(ids))[:, None], (9,), "nearest_free")
        one = scalar_tokenizer(range(9))
        moved = quality(free, np.zeros((len(ids), 1), np.int32), np.ones((len(ids), 1)), one).moves
        json.dumps([moved.mean, moved.max], allow_nan=False)


def test_arguments_of_other_items_are_refused(measured):
    built, _, tokenizer, vectors = measured
    with pytest.raises(InputError, match="same items"):
        quality(built["extra_level"], tokenizer.encode(vectors[:9]), vectors, tokenizer)
