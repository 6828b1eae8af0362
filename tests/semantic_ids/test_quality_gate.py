from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from genrec.common.config import validate
from genrec.common.errors import ConfigError, InputError
from genrec.data.histories import Histories
from genrec.semantic_ids import QualityGate, RQKMeans, RQKMeansSettings, SemanticIds
from genrec.semantic_ids.quality import quality


@pytest.fixture(scope="module")
def report():
    """Of semantic IDs in which categories and histories show."""
    labels = np.arange(120) % 6
    noise = np.random.default_rng(2).normal(size=(120, 4))
    vectors = np.concatenate([3 * np.eye(6)[labels], noise], axis=1)
    tokenizer = RQKMeans(RQKMeansSettings(levels=3, codes=12)).fit(vectors)
    ids = SemanticIds.build([str(n) for n in range(120)], vectors, tokenizer, "nearest_free")
    rows = [np.arange(0, 120, 6, dtype=np.int32) + group for group in range(6)]
    histories = Histories.of(rows)
    return quality(ids, tokenizer.encode(vectors), vectors, tokenizer, labels, histories=histories)


def test_good_semantic_ids_pass_strictly_and_in_silence(report, caplog):
    assert QualityGate(strict=True).apply(report) == []
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ({"max_colliding": 0}, ("items collide", "item_tokenizer.codes")),
        ({"min_usage": 1}, ("level 2 uses", "use fewer codes")),
        ({"min_perplexity": 1}, ("the first level's 12 codes", "item_tokenizer.balance=4")),
        ({"max_reconstruction_error": 0}, ("reconstruction error", "more levels or codes")),
        ({"min_purity": 1000}, ("share a category only", "encoder.name")),
        ({"min_agreement": 1000}, ("share their first code only", "collaborative.weight")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_bound_warns_or_refuses_and_says_what_to_change(bound, words, report, caplog):
    levels = (*report.levels[:2], replace(report.levels[2], used=5))
    before = replace(report.before, items=3, share=0.025)
    spoilt = replace(report, levels=levels, before=before)
    with caplog.at_level(logging.WARNING):
        [said] = QualityGate(**bound, **({} if "min_usage" in bound else {"min_usage": 0})).apply(
            spoilt
        )
    assert said in caplog.text
    for word in words:
        assert word in said
    with pytest.raises(InputError, match="--strict") as refusal:
        QualityGate(**bound, strict=True).apply(spoilt)
    assert said in str(refusal.value)


def test_a_bound_that_is_met_exactly_is_met(report):
    gate = QualityGate(
        max_reconstruction_error=report.reconstruction_error,
        min_purity=report.purity[0].ratio,
        min_agreement=report.agreement[0].ratio,
    )
    assert gate.failures(report) == []


def test_few_pairs_and_a_single_category_are_no_evidence(report):
    poor = replace(report.purity[0], ratio=1.0)
    assert len(QualityGate().failures(replace(report, purity=(poor,)))) == 1
    for excuse in ({"pairs": 99}, {"chance": 0.8}, {"chance": 0.0}):
        excused = replace(report, purity=(replace(poor, **excuse),))
        assert QualityGate().failures(excused) == []


def test_what_was_not_measured_is_not_judged(report):
    bare = replace(report, moves=None, reconstruction_error=None, purity=(), agreement=())
    gate = QualityGate(max_reconstruction_error=0, min_purity=99, min_agreement=99)
    assert gate.failures(bare) == []


def test_bounds_are_checked():
    with pytest.raises(ConfigError, match="max_colliding = 2"):
        validate(QualityGate, {"max_colliding": 2}, source="options")
