"""Popularity: recommend to everyone what was bought most often in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking, rank_chunks
from genrec.evaluation.selection import fill

__all__ = ["Popularity"]


@dataclass(frozen=True)
class Popularity:
    """Rank items by their number of training events, equal ones by lower index.

    Attributes:
        counts: `(N,)` int64, training events of each item.
        order: `(N,)` int64, all items, most popular first.
    """

    counts: NDArray[np.int64]
    order: NDArray[np.int64]
    name: str = "popularity"

    @classmethod
    def fit(cls, train: Histories, n_items: int) -> Self:
        """Count the events of the training histories; items never bought come last."""
        return cls.of_counts(np.bincount(train.items, minlength=n_items))

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> Self:
        """Rank by `(N,)` counts."""
        return cls(counts, np.argsort(-counts, kind="stable"))

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the k most popular items, seen ones left out if asked; scores are counts."""

        def most_popular(chunk: Histories) -> Ranking:
            nobody = Ranking.empty(len(chunk), k)
            scores = self.counts.astype(np.float32)
            return fill(nobody, self.order, scores, chunk if exclude_seen else None)

        cost = k + int(histories.lengths.max(initial=0))
        return rank_chunks(most_popular, histories, k, cost)
