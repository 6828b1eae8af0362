"""From a fitted recommender to a smaller and faster one: fewer layers, trained on under the large one's eye.

Catalog, semantic IDs, log, split and the weight of the log's counts stay those of the teacher; only the
language model is another. The student learns histories alone, so it recommends items and writes no titles.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from genrec.artifacts import require_free
from genrec.config import Settings
from genrec.data.histories import Cases
from genrec.data.split import Split
from genrec.errors import InputError
from genrec.fitting import measure_validation, peak_memory_mib, training_bar
from genrec.language_model.pruning import Keep, kept_layers, layer_count, prune_layers
from genrec.language_model.tuning import checkpoint_activations
from genrec.program import is_main
from genrec.recommender import GenerativeRecommender
from genrec.request import check_count
from genrec.settings import FitSettings
from genrec.training import (
    DistillationLoss,
    DistillationSettings,
    HistorySource,
    TrainingResult,
    TrainingSettings,
    train,
)
from genrec.training.processes import main_first, wait_for_all
from genrec.work_folder import claim, discard

__all__ = ["StudentSettings", "describe", "distill", "made_before"]

log = logging.getLogger(__name__)


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
    teacher: GenerativeRecommender,
    settings: StudentSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> GenerativeRecommender:
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
    require_free(out, overwrite=overwrite, advice="choose another out, or set overwrite=true")
    split = teacher.settings.split.apply(teacher.log, teacher.settings.seed)
    if not len(split.train.items):
        raise InputError("the teacher's log and split leave no training interaction to learn from")
    student = _student(teacher, settings)
    work = out.with_name(f"{out.name}.partial")
    if restart and is_main():
        discard(work)
    wait_for_all()
    facts = _facts(teacher, settings)
    with main_first():
        claim(work, teacher.data | {"distillation": facts}, student.settings)
    began = time.perf_counter()
    result = _train(teacher, student, settings, split, work / "checkpoints")
    student.metrics = _metrics(student, split.valid, result, time.perf_counter() - began)
    student.metrics["distillation"] = facts
    if is_main():
        student.save_pretrained(out, overwrite=overwrite)
        shutil.rmtree(work)
    wait_for_all()
    return student


def made_before(teacher: GenerativeRecommender, settings: StudentSettings, out: Path) -> bool:
    """Whether `out` holds the student that `distill` would make of the same teacher and settings.

    Raises:
        InputError: it holds something else.
    """
    if not out.exists():
        return False
    metrics = out / "metrics.json"
    found = json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {}
    if found.get("distillation") != _facts(teacher, settings):
        raise InputError(
            f"{out} holds something other than this student of this teacher: choose another folder, or set "
            "overwrite=true"
        )
    return True


def describe(recommender: GenerativeRecommender, users: int) -> dict[str, Any]:
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
    model, settings = recommender.language_model, recommender.settings
    cases = settings.split.apply(recommender.log, settings.seed).valid.draw(users, seed=0)
    k = min(10, len(recommender.catalog))
    seconds = []
    for _ in range(3):  # the best of three: what else the machine does can only slow it down
        began = time.perf_counter()
        recommender.rank(cases.histories, k, exclude_seen=True)
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


def _student(teacher: GenerativeRecommender, settings: StudentSettings) -> GenerativeRecommender:
    """The teacher with a pruned copy of its language model, in float32: what trains needs the digits."""
    pruned = prune_layers(teacher.language_model, settings.layers, settings.keep)
    pruned.model.float()
    chosen = _fit_settings(teacher.settings, settings)
    if chosen.language_model.gradient_checkpointing:
        checkpoint_activations(pruned.core)
    return replace(teacher, language_model=pruned, settings=chosen, metrics={}, index=teacher.trie)


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


def _facts(teacher: GenerativeRecommender, settings: StudentSettings) -> dict[str, Any]:
    """Which teacher, and what was asked: the record of a student, and the mark of its work folder."""
    model = teacher.language_model
    return {
        "teacher": {
            "layers": layer_count(model),
            "parameters": model.parameters()[1],
            "sha256": _hash_weights(model.model),
        },
        "kept_layers": kept_layers(settings.layers, layer_count(model), settings.keep),
        "student": settings.model_dump(mode="json"),
    }


def _hash_weights(model: nn.Module) -> str:
    """SHA-256 over all parameters, in their order."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        whole = parameter.detach().cpu().contiguous().flatten()
        digest.update(whole.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _train(
    teacher: GenerativeRecommender,
    student: GenerativeRecommender,
    settings: StudentSettings,
    split: Split,
    folder: Path,
) -> TrainingResult:
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
    )
    source = HistorySource(split.train, chosen.training, settings.seed, codes.shape[1])
    quick = student.alone(chosen.validation_beams)
    drawn = split.valid.draw(chosen.validation_users, chosen.seed)
    with training_bar() as report:
        return train(
            loss,
            source,
            chosen.training,
            (lambda: measure_validation(quick, drawn).metrics) if len(drawn) else None,
            folder=folder,
            seed=settings.seed,
            report=report,
        )


def _metrics(
    student: GenerativeRecommender, valid: Cases, result: TrainingResult, seconds: float
) -> dict[str, Any]:
    """What `metrics.json` of any fit says, of this one."""
    began = time.perf_counter()
    measured = measure_validation(student, valid) if len(valid) else None
    trainable, total = student.language_model.parameters()
    times = {"training": seconds, "validation": time.perf_counter() - began}
    return {
        "validation": None if measured is None else measured.to_json(),
        "training": {
            "steps": result.steps,
            "best_step": result.best_step,
            "stopped_early": result.stopped_early,
            "curve": result.curve,
        },
        "throughput": result.throughput,
        "parameters": {"trainable": trainable, "total": total},
        "seconds": {name: round(value, 1) for name, value in times.items()},
        "peak_memory_mib": peak_memory_mib(),
        "memory": {},  # its weight was chosen for the teacher and stays
    }
