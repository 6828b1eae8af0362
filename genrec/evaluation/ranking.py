"""Rankings: what every recommender hands to the evaluation.

A model and a baseline are measured through the same narrow door, the `Ranker` protocol: histories
in, a `Ranking` of catalog indices out. Nothing here knows how a ranking was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.data.histories import Histories

__all__ = ["Ranker", "Ranking", "chunks", "rank_chunks"]

CHUNK_CELLS = 2**21
"""Scores held at once while ranking: about 64 MiB with the temporary copies."""


@dataclass(frozen=True)
class Ranking:
    """The best k items of C cases, best first.

    Attributes:
        items: `(C, k)` int32 catalog indices; -1 at the end of a row that has fewer than k.
        scores: `(C, k)` float32, comparable within a row; -inf where `items` is -1.

    Raises:
        InputError: the two shapes differ, or an item stands behind a -1.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.items.ndim != 2 or self.items.shape != self.scores.shape:
            shapes = f"{self.items.shape} and {self.scores.shape}"
            raise InputError(f"a ranking needs items and scores of one shape (C, k), got {shapes}")
        gap = ((self.items[:, :-1] == -1) & (self.items[:, 1:] != -1)).any(axis=1)
        if gap.any():
            raise InputError(
                f"ranking of case {gap.argmax()}: -1 may stand only at the end of a row"
            )

    def __len__(self) -> int:
        return len(self.items)

    @property
    def k(self) -> int:
        """Number of columns."""
        return int(self.items.shape[1])

    @classmethod
    def empty(cls, cases: int, k: int) -> Ranking:
        """Return a ranking that recommends nothing to anyone."""
        return cls(np.full((cases, k), -1, np.int32), np.full((cases, k), -np.inf, np.float32))

    @classmethod
    def of_entries(
        cls,
        entries: tuple[NDArray[np.int64], NDArray[np.integer[Any]], NDArray[np.floating[Any]]],
        cases: int,
        k: int,
    ) -> Ranking:
        """Keep the first k of each case's entries.

        Args:
            entries: case, item and score, three `(E,)` arrays sorted by case, then best first.
            cases: number of rows C.
            k: number of columns.
        """
        case, item, score = entries
        place = np.arange(len(case)) - np.searchsorted(case, np.arange(cases))[case]
        top = place < k
        result = cls.empty(cases, k)
        result.items[case[top], place[top]] = item[top]
        result.scores[case[top], place[top]] = score[top]
        return result

    @classmethod
    def concatenate(cls, parts: Sequence[Ranking]) -> Ranking:
        """Put the cases of one or more rankings of the same k below each other."""
        items = np.concatenate([part.items for part in parts])
        return cls(items, np.concatenate([part.scores for part in parts]))


class Ranker(Protocol):
    """Anything that ranks the catalog for a history: the model and every baseline.

    Items of equal score are tied, and the evaluation counts their order as drawn by lot. Two attributes
    say more where a ranker has them:

    - ``tie_break`` `(N,)`: what decides between items of equal score (say, popularity); only items equal
      in both are tied;
    - ``log_probabilities``, True: scores are logarithms of probabilities, and their calibration is
      measured.
    """

    @property
    def name(self) -> str:
        """Short name for tables and result files, such as ``popularity``."""

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the best k items for each of C histories, as a `(C, k)` ranking.

        With `exclude_seen`, no item of a history is recommended to it. The row of a case must not
        depend on which other cases are ranked in the same call. The evaluation asks for one item more
        than it counts, and for many more where a tie is cut there.
        """


def chunks(histories: Histories, cost: NDArray[np.int64] | int) -> Iterator[Histories]:
    """Cut C histories into runs whose summed cost stays near `CHUNK_CELLS`, at least one case each.

    Args:
        histories: C histories.
        cost: number of scores that a case needs: one number for all, or `(C,)`.
    """
    total = np.cumsum(np.broadcast_to(np.asarray(cost, np.int64), len(histories)))
    starts = np.flatnonzero(np.diff(total // CHUNK_CELLS, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, len(histories)]):
        yield histories.take(np.arange(start, stop))


def rank_chunks(
    score: Callable[[Histories], Ranking],
    histories: Histories,
    k: int,
    cost: NDArray[np.int64] | int,
) -> Ranking:
    """Rank C histories chunk by chunk (see `chunks`), so that memory does not grow with C."""
    return Ranking.concatenate(
        [Ranking.empty(0, k), *(score(chunk) for chunk in chunks(histories, cost))]
    )
