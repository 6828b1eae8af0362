"""Source of histories: windows of item sequences, grouped by length into batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.fitting.objectives.batches import epoch_batches, pad_items, windows
from genrec.training.settings import TrainingSettings
from genrec.training.sources import Epoch, Part, Source, share

__all__ = ["HistorySource", "Successions"]


@dataclass(frozen=True)
class HistorySource:
    """Windows of histories, one sequence of items each.

    Attributes:
        histories: one sequence a user.
        settings: longest window and size of a batch.
        seed: of the order, the windows' phase and the batches.
        tokens_per_item: LM tokens of an item, for throughput.

    Raises:
        InputError: no history holds an item.
    """

    histories: Histories
    settings: TrainingSettings
    seed: int
    tokens_per_item: int = 1

    def __post_init__(self) -> None:
        if not len(self.histories.items):
            raise InputError(
                "there is no training interaction: every user has too few events for this split"
            )

    def epoch(self, number: int) -> Epoch:
        """Cut histories into windows and group them by length."""
        generator = np.random.default_rng((self.seed, number))
        # One more than a history: its last item is a target, and the positions in front of it are those
        # that a full history is searched from.
        data = windows(self.histories, self.settings.max_items + 1, generator)
        batches = epoch_batches(data.lengths, self.settings.batch_items, generator)
        return _HistoryEpoch(data, batches, self.tokens_per_item)


@dataclass(frozen=True)
class _HistoryEpoch:
    data: Histories
    batches: list[NDArray[np.int64]]
    tokens_per_item: int

    def __len__(self) -> int:
        return len(self.batches)

    def units(self, batch: int) -> float:
        return float(self.data.lengths[self.batches[batch]].sum())

    def tokens(self, batch: int) -> int:
        return int(self.units(batch)) * self.tokens_per_item

    def part(self, batch: int, part: Part) -> tuple[torch.Tensor, bool]:
        rows, counts = share(self.batches[batch], part)
        return torch.from_numpy(pad_items(self.data, rows)), counts


@dataclass(frozen=True)
class Successions:
    """A source of histories whose first item is no target, so that it does not count."""

    inner: Source

    def epoch(self, number: int) -> Epoch:
        """The epoch of the inner source, its units counted without first items."""
        return _SuccessionEpoch(self.inner.epoch(number))


@dataclass(frozen=True)
class _SuccessionEpoch:
    inner: Epoch

    def __len__(self) -> int:
        return len(self.inner)

    def units(self, batch: int) -> float:
        items, _ = self.inner.part(batch, Part(0, 1))
        return max(1.0, float((items[:, 1:] >= 0).sum()))

    def tokens(self, batch: int) -> int:
        return self.inner.tokens(batch)

    def part(self, batch: int, part: Part) -> tuple[Any, bool]:
        return self.inner.part(batch, part)
