"""Sources of an epoch: batches by number, each in as many equal parts as there are takers.

A source is a function of (seed, epoch, batch, part) and nothing else. So a run that is resumed jumps to its
batch without replaying a data loader, and P processes that take a part each see, together, the very batch
that one process would see alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Epoch", "Part", "Source", "share"]


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


def share(rows: NDArray[np.int64], part: Part) -> tuple[NDArray[np.int64], bool]:
    """Every `of`-th row, from the part's number on; the first row and False where none is left.

    Rows of a batch are sorted by length, so the parts are nearly equal in work.
    """
    mine = rows[part.number :: part.of]
    return (mine, True) if len(mine) else (rows[:1], False)
