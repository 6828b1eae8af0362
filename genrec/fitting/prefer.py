"""Preference optimisation of a fitted recommender on its own search."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.data.histories import Cases, Histories
from genrec.fitting.objectives.preference import (
    Choices,
    ChoiceSource,
    PreferenceLoss,
    PreferenceSettings,
)
from genrec.fitting.retraining import Retraining, made_as, plain_settings, training_split
from genrec.language_model.weights import hash_weights, require_plain
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.training import TrainingSettings
from genrec.training.sources import Source

__all__ = [
    "PreferenceTraining",
    "PreferringSettings",
    "prefer",
    "preferred_before",
    "training_cases",
]

log = logging.getLogger(__name__)
_KIND = "preference"


class PreferenceTraining(TrainingSettings):
    """How long and how fast; `max_items` stays the recommender's, and there is no `codes_first`."""

    epochs: int = Field(1, ge=1)
    """Passes over the choices."""
    min_steps: int = Field(1, ge=1)
    """Fewest optimizer steps."""
    batch_items: int = Field(8192, ge=1)
    """Items of a batch, each candidate with its own copy of the history."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak of AdamW's rate: the model has learned already."""
    warmup_steps: int = Field(20, ge=0)
    """Steps to the peak."""
    validations: int = Field(4, ge=1)
    """How often to validate, evenly over the run; the best of them is kept."""


class PreferringSettings(Settings):
    """Which choices are learned from, and how."""

    negatives: int = Field(8, ge=1)
    """Best items of the recommender's own search, the target left out, that it learns to put below it."""
    cases: int = Field(2, ge=1)
    """Most targets a user: the newest items of the training part, each after what came before it."""
    preference: PreferenceSettings = PreferenceSettings()
    """What a choice costs."""
    training: PreferenceTraining = PreferenceTraining()
    """How long and how fast."""
    seed: int = Field(0, ge=0)
    """Of batches."""


def prefer(
    recommender: AnyRecommender,
    settings: PreferringSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> AnyRecommender:
    """Train a recommender to put targets above what it expected instead; save it in `out`.

    Only the training part of its log is read, and the language model alone is searched and trained: the
    counts of its memory stay beside it with the weight they had. All weights train, in float32 and without
    gradient checkpointing; the folder needs no base model. A call that was interrupted goes on where it stood
    when it is given again with the same arguments.

    Args:
        recommender: fitted, its adapter merged if it had one; its weights are changed.
        settings: which choices, and how they are learned from.
        out: recommender folder to make.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished run is discarded instead of continued.

    Raises:
        InputError: no user has two items in the training part, an adapter is not merged, the model is
            quantized, or a folder is in the way.
    """
    require_plain(recommender.language_model, "learn preferences")
    cases = training_cases(training_split(recommender).train, settings.cases)
    if not len(cases):
        raise InputError("no user has two items in the training part: there is no choice to learn")
    record = _record(recommender, settings)
    recommender.language_model.model.float().requires_grad_(True)
    trained = recommender.changed(
        settings=plain_settings(recommender.settings, settings.training), metrics={}
    )
    run = Retraining(trained, _KIND, record, settings.seed)
    return run.run(
        lambda: _objective(trained, cases, settings), out, overwrite=overwrite, restart=restart
    )


def preferred_before(
    recommender: FittedRecommender, settings: PreferringSettings, out: Path
) -> bool:
    """Whether `out` holds what `prefer` would make of the same recommender and settings.

    Raises:
        InputError: it holds something else.
    """
    what = "this recommender, taught to prefer with these settings"
    return made_as(_KIND, _record(recommender, settings), out, what)


def training_cases(train: Histories, most: int) -> Cases:
    """The newest `most` items of every sequence as targets, each after what came before it.

    Args:
        train: one sequence a user.
        most: targets a user; the first item of a sequence is none, since nothing comes before it.
    """
    counts = np.minimum(np.maximum(train.lengths - 1, 0), most)
    users = np.repeat(np.arange(len(train)), counts)
    back = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = train.offsets[1:][users] - 1 - back
    histories = [
        train.items[begin:end] for begin, end in zip(train.offsets[users], ends, strict=True)
    ]
    return Cases(users, Histories.of(histories), train.items[ends])


def _record(recommender: FittedRecommender, settings: PreferringSettings) -> dict[str, Any]:
    """Which recommender, and what was asked."""
    weights = hash_weights(recommender.language_model)
    return {"of": weights} | settings.model_dump(mode="json")


def _objective(
    recommender: FittedRecommender, cases: Cases, settings: PreferringSettings
) -> tuple[nn.Module, Source]:
    codes, chosen = recommender.semantic_ids.codes, recommender.settings
    loss = PreferenceLoss(
        recommender.language_model,
        codes,
        recommender.trie,
        chosen.search.normalization,
        settings.preference,
        recommender.inputs,
    ).eval()
    choices = _choices(recommender, cases, settings.negatives)
    source = ChoiceSource(
        choices, chosen.training, settings.seed, recommender.language_model.tokens_per_item
    )
    device = next(loss.parameters()).device
    # As precise as in training, or the first gains would not be zero.
    with torch.autocast(device.type, torch.bfloat16, enabled=chosen.training.precision == "bf16"):
        return loss, replace(source, choices=_referred(loss, source, device))


def _choices(recommender: FittedRecommender, cases: Cases, negatives: int) -> Choices:
    """Search for what the language model expects in each case; no log-probabilities yet."""
    log.info("searching for what is expected in %d cases of the training part", len(cases))
    width = min(negatives + 1, len(recommender.catalog))
    alone = recommender.alone().with_beams(max(width, recommender.settings.validation_beams))
    found = alone.rank(cases.histories, width, exclude_seen=recommender.exclude_seen).items
    others = _without(found, cases.targets)[:, : width - 1]
    candidates = np.concatenate([cases.targets[:, None], others], axis=1)
    newest = cases.histories.last(recommender.settings.training.max_items)
    return Choices(newest, candidates, np.zeros(candidates.shape, np.float32))


def _without(found: NDArray[np.int32], targets: NDArray[np.int32]) -> NDArray[np.int32]:
    """Rows of items with the target taken out, the rest moved up and -1 behind."""
    hit = found == targets[:, None]
    order = np.argsort(hit, axis=1, kind="stable")
    return np.take_along_axis(np.where(hit, -1, found), order, axis=1)


@torch.inference_mode()
def _referred(loss: PreferenceLoss, source: ChoiceSource, device: torch.device) -> Choices:
    """The choices with the log-probabilities that the model gives as it stands."""
    choices, epoch = source.choices, source.epoch(0)
    reference = choices.reference.copy()
    for cases in epoch.batches:
        found = loss.log_probabilities(choices.batch(cases).to(device))
        reference[cases] = found.float().cpu().numpy()
    return replace(choices, reference=reference)
