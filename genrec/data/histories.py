"""Histories: ragged item sequences in one array, and the cases and splits made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cases", "Histories", "Split"]


@dataclass(frozen=True)
class Histories:
    """U item sequences, oldest item first, stored end to end.

    Attributes:
        items: `(M,)` int32, catalog indices of all sequences one after another.
        offsets: `(U + 1,)` int64; sequence `u` is ``items[offsets[u]:offsets[u + 1]]``.
    """

    items: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int] | NDArray[np.int32]]) -> Histories:
        """Join separate sequences (any of them may be empty)."""
        parts = [np.asarray(sequence, dtype=np.int32) for sequence in sequences]
        items = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return cls(
            items, np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of items of each sequence, `(U,)`."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, u: int) -> NDArray[np.int32]:
        u = range(len(self))[u]
        return self.items[self.offsets[u] : self.offsets[u + 1]]

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[u] for u in range(len(self)))

    @property
    def rows(self) -> NDArray[np.int64]:
        """Which sequence each item belongs to, `(M,)`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def repeats(self) -> tuple[int, int]:
        """How many items stood in their sequence before, and how many had one before them at all."""
        pairs = np.stack([self.rows, self.items.astype(np.int64)])
        distinct = np.unique(pairs, axis=1).shape[1]
        return len(self.items) - distinct, len(self.items) - int((self.lengths > 0).sum())

    def take(self, users: NDArray[np.integer]) -> Histories:
        """Return the sequences `users`, in that order."""
        lengths = self.lengths[users]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Histories(self.items[np.repeat(self.offsets[users], lengths) + within], offsets)

    def last(self, n: int) -> Histories:
        """Keep the newest `n` items of every sequence."""
        lengths = np.minimum(self.lengths, n)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Histories(
            self.items[np.repeat(self.offsets[1:] - lengths, lengths) + within], offsets
        )


@dataclass(frozen=True)
class Cases:
    """Evaluation cases: what a user did before, and the one item that came next.

    Attributes:
        users: `(C,)` int64, index of the case's user in the log.
        histories: C sequences, everything known before the target.
        targets: `(C,)` int32 catalog indices.
    """

    users: NDArray[np.int64]
    histories: Histories
    targets: NDArray[np.int32]

    @classmethod
    def none(cls) -> Cases:
        """No case at all."""
        return cls(np.empty(0, np.int64), Histories.of([]), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def repeated(self) -> NDArray[np.bool_]:
        """Which targets stand in their own history, `(C,)`."""
        again = self.histories.items == np.repeat(self.targets, self.histories.lengths)
        return np.bincount(self.histories.rows, again, len(self)) > 0

    def draw(self, most: int | None, seed: int) -> Cases:
        """Keep at most so many, drawn at random, in their order; None keeps all."""
        if most is None or len(self) <= most:
            return self
        chosen = np.random.default_rng(seed).choice(len(self), most, replace=False)
        return self.take(np.sort(chosen))

    def take(self, cases: NDArray[np.integer]) -> Cases:
        """Return the cases at the given positions, in that order."""
        return Cases(self.users[cases], self.histories.take(cases), self.targets[cases])


@dataclass(frozen=True)
class Split:
    """A log cut into training sequences and evaluation cases.

    Attributes:
        protocol: how it was cut, with the arguments, such as ``"leave-one-out"``.
        train: one sequence per user of the log.
        valid: cases to choose settings by.
        test: cases to report; never empty.
        notes: how many users have no case, and why.
    """

    protocol: str
    train: Histories
    valid: Cases
    test: Cases
    notes: tuple[str, ...] = ()
