"""Distillation of a fitted recommender into a faster one: fewer layers, taught by the large model.

Catalog, semantic IDs, log, split and the weight of the log's counts stay those of the teacher; only the
language model is another. The student learns histories alone, so it recommends items and writes no titles.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from genrec.common.config import Settings
from genrec.data.histories import Histories
from genrec.fitting.objectives.distillation import DistillationLoss, DistillationSettings
from genrec.fitting.retraining import Retraining, made_as, training_split
from genrec.fitting.steps import history_source
from genrec.language_model.pruning import Keep, kept_layers, layer_count, prune_layers
from genrec.language_model.tuning import checkpoint_activations
from genrec.language_model.weights import hash_weights
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.request import check_count
from genrec.recommender.settings import FitSettings
from genrec.training import TrainingSettings
from genrec.training.sources import Source

__all__ = ["StudentSettings", "describe", "distill", "made_before"]

log = logging.getLogger(__name__)
_KIND = "distillation"


class StudentSettings(Settings):
    """Which layers of a recommender's language model remain, and how they learn to do without the rest."""

    layers: int = Field(1, ge=1)
    """Decoder layers that remain."""
    keep: Keep = "first"
    """Which ones: those next to the tokens, or evenly spaced ones, the first and the last among them."""
    distillation: DistillationSettings = DistillationSettings()
    """What is learned from the teacher, and what from the items."""
    training: TrainingSettings | None = None
    """How long and how fast; None is as the teacher learned. `max_items` stays the teacher's, and there is no
    `codes_first`."""
    seed: int = Field(0, ge=0)
    """Of batches and dropout."""


def distill(
    teacher: AnyRecommender,
    settings: StudentSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> AnyRecommender:
    """Prune a recommender's language model, train what is left, validate it, and save it in `out`.

    The folder is an ordinary recommender's, and needs neither the teacher nor the base model of its adapter.
    A call that was interrupted goes on where it stood when it is given again with the same arguments. Under
    ``accelerate launch`` all processes train and the first one writes.

    Args:
        teacher: what is made smaller; it stays as it is.
        settings: of the student.
        out: recommender folder to make.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished run is discarded instead of continued.

    Raises:
        InputError: the teacher has fewer layers, is of an architecture that cannot be pruned or quantized;
            its split leaves nothing to train on; or a folder is in the way.
    """
    split = training_split(teacher)
    student = _student(teacher, settings)
    run = Retraining(student, _KIND, _facts(teacher, settings), settings.seed)
    return run.run(
        lambda: _objective(teacher, student, settings, split.train),
        out,
        overwrite=overwrite,
        restart=restart,
    )


def made_before(teacher: FittedRecommender, settings: StudentSettings, out: Path) -> bool:
    """Whether `out` holds the student that `distill` would make of the same teacher and settings.

    Raises:
        InputError: it holds something else.
    """
    return made_as(_KIND, _facts(teacher, settings), out, "this student of this teacher")


def describe(recommender: FittedRecommender, users: int) -> dict[str, Any]:
    """Size, speed and validation metrics of a recommender.

    Args:
        recommender: fitted or distilled.
        users: most validation histories to rank for the time, drawn at random but always the same.

    Returns:
        ``layers``, ``parameters``, ``megabytes`` (10^6 bytes) of the language model's weights with whatever
        adapter it has, ``seconds`` in which the best ten items of ``users`` histories were found, and the
        ``metrics`` that its own fit measured on the validation split (None where it had no case).

    Raises:
        InputError: `users` is not positive.
    """
    check_count("users", users, "user")
    model = recommender.language_model
    cases = recommender.split.valid.draw(users, seed=0)
    k = min(10, len(recommender.catalog))
    seconds = []
    for _ in range(3):  # the best of three: what else the machine does can only slow it down
        began = time.perf_counter()
        recommender.rank(cases.histories, k, exclude_seen=recommender.exclude_seen)
        seconds.append(time.perf_counter() - began)
    validation = recommender.metrics.get("validation")
    return {
        "layers": layer_count(model),
        "parameters": model.parameters()[1],
        "megabytes": sum(p.numel() * p.element_size() for p in model.model.parameters()) / 1e6,
        "users": len(cases),
        "seconds": min(seconds),
        "metrics": validation and validation["metrics"],
    }


def _student(teacher: AnyRecommender, settings: StudentSettings) -> AnyRecommender:
    """The teacher with a pruned copy of its language model, in float32: what trains needs the digits."""
    pruned = prune_layers(teacher.language_model, settings.layers, settings.keep)
    pruned.model.float()
    chosen = _fit_settings(teacher.settings, settings)
    if chosen.language_model.gradient_checkpointing:
        checkpoint_activations(pruned.core)
    return teacher.changed(language_model=pruned, settings=chosen, metrics={})


def _fit_settings(teacher: FitSettings, settings: StudentSettings) -> FitSettings:
    """What the student's folder says of itself; no tasks, since it learns histories alone."""
    compact = teacher.language_model.compact
    if teacher.language_model.backbone == "compact":
        compact = compact.replace(layers=settings.layers)
    plain = {"tuning": "full", "quantization": "none", "dtype": "float32", "compact": compact}
    training = settings.training or teacher.training
    return teacher.replace(
        language_model=teacher.language_model.replace(**plain),
        training=training.replace(max_items=teacher.training.max_items, codes_first=0),
        tasks={},
    )


def _facts(teacher: FittedRecommender, settings: StudentSettings) -> dict[str, Any]:
    """Which teacher, and what was asked: the record of a student, and the mark of its work folder."""
    model = teacher.language_model
    return {
        "teacher": {
            "layers": layer_count(model),
            "parameters": model.parameters()[1],
            "sha256": hash_weights(model),
        },
        "kept_layers": kept_layers(settings.layers, layer_count(model), settings.keep),
        "student": settings.model_dump(mode="json"),
    }


def _objective(
    teacher: FittedRecommender,
    student: FittedRecommender,
    settings: StudentSettings,
    histories: Histories,
) -> tuple[nn.Module, Source]:
    chosen = student.settings
    if chosen.tasks != teacher.settings.tasks:
        log.warning("the student learns histories only: it recommends items and writes no titles")
    codes = student.semantic_ids.codes
    loss = DistillationLoss(
        student.language_model,
        teacher.language_model,
        codes,
        student.trie,
        chosen.search.normalization,
        settings.distillation,
        (student.inputs, teacher.inputs),
    )
    return loss, history_source(student, histories, settings.seed)
