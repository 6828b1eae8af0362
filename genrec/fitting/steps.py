"""Steps that every way of training takes: loss and data, validation, metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import nn

from genrec.data.histories import Cases, Histories
from genrec.evaluation import Evaluation, Protocol, evaluate
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.fitting.objectives.packing import packs
from genrec.fitting.objectives.pointer_loss import PointerLoss
from genrec.fitting.objectives.task_loss import TaskLoss
from genrec.fitting.objectives.task_source import TaskSource
from genrec.fitting.repeats import seen_ways
from genrec.recommender.fitted_recommender import FittedRecommender
from genrec.training import TrainingResult
from genrec.training.sources import Source
from genrec.training.throughput import peak_memory_mib

__all__ = [
    "history_source",
    "measure_validation",
    "objective",
    "quick_validation",
    "training_metrics",
]

log = logging.getLogger(__name__)


def objective(recommender: FittedRecommender, train: Histories) -> tuple[nn.Module, Source]:
    """The loss, and what it is computed on: histories alone, or a mixture of tasks."""
    language_model, settings = recommender.language_model, recommender.settings
    normalization = settings.search.normalization
    if not settings.tasks:
        codes = recommender.semantic_ids.codes
        loss = NextItemLoss(
            language_model, codes, recommender.trie, normalization, recommender.inputs
        )
        if language_model.pointer is not None:
            loss.pointing = PointerLoss(language_model.pointer, recommender.item_likeness)
        return loss, history_source(recommender, train, settings.seed)
    packing = packs(language_model.core, language_model.vocabulary.all_tokens[:24])
    log.info("tasks: %s%s", ", ".join(settings.tasks), "" if packing else "; not packed")
    weight = settings.training.text_weight
    return (
        TaskLoss(
            language_model, recommender.trie, normalization, weight, packing, recommender.inputs
        ),
        TaskSource(
            train,
            recommender.renderer,
            list(settings.tasks.values()),
            language_model.prefix,
            settings.training,
            settings.seed,
            packing,
        ),
    )


def history_source(recommender: FittedRecommender, train: Histories, seed: int) -> HistorySource:
    """Batches of histories, as the recommender's language model reads them."""
    tokens = recommender.language_model.tokens_per_item
    return HistorySource(train, recommender.settings.training, seed, tokens)


def quick_validation(
    recommender: FittedRecommender, valid: Cases
) -> Callable[[], dict[str, float]] | None:
    """Measure on a fixed draw of validation cases, with few beams; None where there is no case."""
    if not len(valid):
        log.warning("no user has a validation case: the last weights are kept, best or not")
        return None
    settings = recommender.settings
    drawn = valid.draw(settings.validation_users, settings.seed)
    quick = recommender.alone().with_beams(settings.validation_beams)
    ways = seen_ways(quick, valid)
    if len(ways) > 1:
        log.info(
            "some validation targets stand in their own history: seen items are tried both ways"
        )
    # What is better at the end is not known yet: a step is as good as its better way.
    return lambda: max(
        (measure_validation(way, drawn).metrics for way in ways), key=lambda found: found["ndcg@10"]
    )


def training_metrics(recommender: FittedRecommender, result: TrainingResult) -> dict[str, Any]:
    """What a training says in ``metrics.json``: its curve, its speed, its cost."""
    trainable, total = recommender.language_model.parameters()
    return {
        "training": {
            "steps": result.steps,
            "best_step": result.best_step,
            "stopped_early": result.stopped_early,
            "curve": result.curve,
        },
        "throughput": result.throughput,
        "parameters": {"trainable": trainable, "total": total},
        "peak_memory_mib": peak_memory_mib(),
    }


def measure_validation(recommender: FittedRecommender, cases: Cases) -> Evaluation:
    """Evaluate on validation cases, as every fit does."""
    protocol = Protocol(
        name=recommender.settings.split.protocol,
        split="valid",
        ks=(5, 10),
        exclude_seen=recommender.exclude_seen,
    )
    return evaluate(recommender, cases, protocol, len(recommender.catalog))
