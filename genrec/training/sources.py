"""What an epoch is made of: batches by number, each in as many equal parts as there are takers.

A source is a function of (seed, epoch, batch, part) and nothing else. So a run that is resumed jumps to its
batch without replaying a data loader, and P processes that take a part each see, together, the very batch
that one process would see alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.errors import InputError
from genrec.training.batches import HistoryBatch, epoch_batches, pad_items, windows
from genrec.training.code_noise import CodeNeighbors
from genrec.training.settings import TrainingSettings

__all__ = ["Epoch", "HistorySource", "Part", "Source", "share"]


class Part(NamedTuple):
    """One of `of` parts of a batch, counted from 0."""

    number: int
    of: int


class Epoch(Protocol):
    """One pass over the data."""

    def __len__(self) -> int:
        """Batches in it."""
        ...

    def units(self, batch: int) -> float:
        """What the whole batch's loss is divided by, such as its number of targets."""
        ...

    def tokens(self, batch: int) -> int:
        """Tokens that the whole batch sends through the model, padding left out."""
        ...

    def part(self, batch: int, part: Part) -> tuple[Any, bool]:
        """What the loss reads (it has ``.to(device)``), and whether it counts.

        A part may be left empty; then it gets something that a loss can be computed of, and does not count.
        """
        ...


class Source(Protocol):
    """Where epochs come from."""

    def epoch(self, number: int) -> Epoch:
        """Make the epoch of that number, counted from 0."""
        ...


@dataclass(frozen=True)
class HistorySource:
    """Windows of histories, one sequence of items each.

    Attributes:
        histories: one sequence a user.
        settings: longest window and size of a batch.
        seed: of the order, the windows' phase and the batches.
        tokens_per_item: LM tokens of an item, for throughput.
        neighbors: whose codes `code_noise` writes an item with; None where there is none.

    Raises:
        InputError: the settings ask for `code_noise` where there are no neighbours.
    """

    histories: Histories
    settings: TrainingSettings
    seed: int
    tokens_per_item: int = 1
    neighbors: CodeNeighbors | None = None

    def __post_init__(self) -> None:
        if self.settings.code_noise and self.neighbors is None:
            raise InputError(
                f"training.code_noise = {self.settings.code_noise:g}: there are no codes here; leave it out"
            )

    def epoch(self, number: int) -> Epoch:
        """Cut histories into windows and group them by length."""
        generator = np.random.default_rng((self.seed, number))
        # One more than a history: its last item is a target, and the positions in front of it are those
        # that a full history is searched from.
        data = windows(self.histories, self.settings.max_items + 1, generator)
        batches = epoch_batches(data.lengths, self.settings.batch_items, generator)
        return _HistoryEpoch(data, batches, self.tokens_per_item, self._written(data, number))

    def _written(self, data: Histories, number: int) -> Histories | None:
        """The windows as their items are written in this epoch; None for all as themselves."""
        if self.neighbors is None or not self.settings.code_noise:
            return None
        # A stream of its own: windows and batches are those of a run without noise.
        generator = np.random.default_rng((self.seed, number, 1))
        return replace(
            data, items=self.neighbors.draw(data.items, self.settings.code_noise, generator)
        )


@dataclass(frozen=True)
class _HistoryEpoch:
    data: Histories
    batches: list[NDArray[np.int64]]
    tokens_per_item: int
    written: Histories | None = None

    def __len__(self) -> int:
        return len(self.batches)

    def units(self, batch: int) -> float:
        return float(self.data.lengths[self.batches[batch]].sum())

    def tokens(self, batch: int) -> int:
        return int(self.units(batch)) * self.tokens_per_item

    def part(self, batch: int, part: Part) -> tuple[torch.Tensor | HistoryBatch, bool]:
        rows, counts = share(self.batches[batch], part)
        items = torch.from_numpy(pad_items(self.data, rows))
        if self.written is None:
            return items, counts
        return HistoryBatch(items, torch.from_numpy(pad_items(self.written, rows))), counts


def share(rows: NDArray[np.int64], part: Part) -> tuple[NDArray[np.int64], bool]:
    """Every `of`-th row, from the part's number on; the first row and False where none is left.

    Rows of a batch are sorted by length, so the parts are nearly equal in work.
    """
    mine = rows[part.number :: part.of]
    return (mine, True) if len(mine) else (rows[:1], False)
