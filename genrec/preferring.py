"""Preference optimisation of a fitted recommender on its own search (see `genrec.training.preference`)."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from genrec.config import Settings
from genrec.data.histories import Cases, Histories
from genrec.errors import InputError
from genrec.recommender import GenerativeRecommender
from genrec.retraining import Retraining, hash_weights, training_split
from genrec.training import PreferenceLoss, PreferenceSettings, TrainingSettings
from genrec.training.preference import Choices, ChoiceSource
from genrec.training.sources import Source

__all__ = ["PreferringSettings", "prefer", "training_cases"]

log = logging.getLogger(__name__)


class PreferringSettings(Settings):
    """Which choices are learned from, and how."""

    negatives: int = Field(8, ge=1)
    """Best items of the recommender's own search, the target left out, that it learns to put below it."""
    cases: int = Field(2, ge=1)
    """Most targets a user: the newest items of the training part, each after what came before it."""
    preference: PreferenceSettings = PreferenceSettings()
    """What a choice costs."""
    training: TrainingSettings = TrainingSettings(
        epochs=1, learning_rate=2e-4, batch_items=8192, min_steps=1, warmup_steps=20, validations=4
    )
    """How long and how fast; `max_items` stays the recommender's, and there is no `codes_first`."""
    seed: int = Field(0, ge=0)
    """Of batches."""


def prefer(
    recommender: GenerativeRecommender,
    settings: PreferringSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> GenerativeRecommender:
    """Train a recommender to put targets above what it expected instead; save it in `out`.

    Only the training part of its log is read, and the language model alone is searched and trained: the
    counts of its memory stay beside it with the weight they had. A call that was interrupted goes on where it
    stood when it is given again with the same arguments.

    Args:
        recommender: fitted; its weights are changed.
        settings: which choices, and how they are learned from.
        out: recommender folder to make.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished run is discarded instead of continued.

    Raises:
        InputError: no user has two items in the training part, or a folder is in the way.
    """
    cases = training_cases(training_split(recommender).train, settings.cases)
    if not len(cases):
        raise InputError("no user has two items in the training part: there is no choice to learn")
    record = {"of": hash_weights(recommender.language_model.model)} | settings.model_dump(
        mode="json"
    )
    chosen = recommender.settings
    training = settings.training.replace(max_items=chosen.training.max_items, codes_first=0)
    trained = replace(
        recommender,
        settings=chosen.replace(training=training),
        metrics={},
        index=recommender.trie,
    )
    run = Retraining(trained, "preference", record, settings.seed)
    return run.run(
        lambda: _objective(trained, cases, settings), out, overwrite=overwrite, restart=restart
    )


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


def _objective(
    recommender: GenerativeRecommender, cases: Cases, settings: PreferringSettings
) -> tuple[nn.Module, Source]:
    codes, chosen = recommender.semantic_ids.codes, recommender.settings
    loss = PreferenceLoss(
        recommender.language_model,
        codes,
        recommender.trie,
        chosen.search.normalization,
        settings.preference,
    ).eval()
    choices = _choices(recommender, cases, settings.negatives)
    source = ChoiceSource(choices, chosen.training, settings.seed, codes.shape[1])
    return loss, replace(source, choices=_referred(loss, source))


def _choices(recommender: GenerativeRecommender, cases: Cases, negatives: int) -> Choices:
    """Search for what the language model expects in each case; no log-probabilities yet."""
    log.info("searching for what is expected in %d cases of the training part", len(cases))
    width = min(negatives + 1, len(recommender.catalog))
    alone = recommender.alone(max(width, recommender.settings.validation_beams))
    found = alone.rank(cases.histories, width, exclude_seen=True).items
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
def _referred(loss: PreferenceLoss, source: ChoiceSource) -> Choices:
    """The choices with the log-probabilities that the model gives as it stands."""
    choices, epoch = source.choices, source.epoch(0)
    reference = choices.reference.copy()
    device = next(loss.parameters()).device
    for cases in epoch.batches:
        found = loss.log_probabilities(choices.batch(cases).to(device))
        reference[cases] = found.float().cpu().numpy()
    return replace(choices, reference=reference)
