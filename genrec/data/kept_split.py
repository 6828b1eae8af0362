"""Kept split, which outlives its log: the part of each interaction before items were taken out.

A split of a shorter log is another split: the last item of a user whose last one is gone was validated or
trained on. What a model has learned from must not become its test, so the parts are kept, event by event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Cases, Histories, Split

__all__ = ["KeptSplit"]

_TRAIN, _VALID, _TEST = 1, 2, 4


@dataclass(frozen=True, eq=False)
class KeptSplit:
    """The parts of M interactions.

    Attributes:
        protocol: how the log was cut, as `Split.protocol` says it.
        parts: `(M,)` uint8, a sum: 1 if it is trained on, 2 if it is a validation target, 4 if a test target.
    """

    protocol: str
    parts: NDArray[np.uint8]

    @classmethod
    def of(cls, split: Split, histories: Histories) -> KeptSplit:
        """Mark the interactions of the log that `split` was cut from."""
        parts = np.zeros(len(histories.items), np.uint8)
        for cases, mark in ((split.valid, _VALID), (split.test, _TEST)):
            parts[histories.offsets[cases.users] + cases.histories.lengths] |= mark
        parts[_trained(split.train, histories)] |= _TRAIN
        return cls(split.protocol, parts)

    def take(self, kept: NDArray[np.bool_]) -> KeptSplit:
        """The parts of the interactions that stay, `(M,)` marks."""
        return KeptSplit(self.protocol, self.parts[kept])

    def split(self, histories: Histories) -> Split:
        """Cut the log again. A target that is gone leaves its user without the case."""
        trained = (self.parts & _TRAIN) > 0
        running = np.concatenate([[0], np.cumsum(trained)]).astype(np.int64)
        train = Histories(histories.items[trained], running[histories.offsets])
        valid, test = (self._cases(histories, mark) for mark in (_VALID, _TEST))
        return Split(self.protocol, train, valid, test, ("as it was before items were removed",))

    def _cases(self, histories: Histories, mark: int) -> Cases:
        positions = np.flatnonzero(self.parts & mark)
        users = np.searchsorted(histories.offsets, positions, side="right") - 1
        lengths = positions - histories.offsets[users]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        before = histories.items[np.repeat(histories.offsets[users], lengths) + within]
        return Cases(users, Histories(before, offsets), histories.items[positions])


def _trained(train: Histories, histories: Histories) -> NDArray[np.bool_]:
    """Mark what is trained on: of each user's interactions with items of training, the first so many."""
    ever = np.zeros(int(histories.items.max(initial=-1)) + 1, np.bool_)
    ever[train.items] = True
    may = ever[histories.items]
    running = np.concatenate([[0], np.cumsum(may)])
    place = running[:-1] - np.repeat(running[histories.offsets[:-1]], histories.lengths)
    return np.asarray(may & (place < np.repeat(train.lengths, histories.lengths)))
