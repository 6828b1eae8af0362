"""Co-occurrence: recommend what followed the history's items in other users' sequences.

A count of item pairs, no learning: Linden, Smith and York, Amazon.com recommendations: item-to-item
collaborative filtering (IEEE Internet Computing 2003), made sequential by counting only what came
*after*, near, and by listening to the newest items most. It is a stronger bar than it looks: on the
Amazon 5-core benchmarks it stands above several published generative recommenders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.data.histories import Histories
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.recency import Recency, recency_weights
from genrec.evaluation.ranking import Ranking, rank_chunks
from genrec.evaluation.selection import best_first, fill, top_k_sparse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["CoOccurrence", "CoOccurrenceConfig"]


class CoOccurrenceConfig(Settings):
    """What is counted, and how the counts are read; defaults chosen on validation data."""

    window: int = Field(default=10, ge=1)
    """Pairs up to this many steps apart are counted."""
    distance_power: float = Field(default=1.0, ge=0)
    """A pair counts 1 / steps to this power."""
    logarithm: bool = False
    """Whether log(1 + count) is read in place of the count: the tenth pair says less than the first."""
    max_neighbors: int = Field(default=500, ge=1)
    """Candidates kept per history item, the strongest: bounds time and memory on large catalogs."""
    both_directions: bool = False
    """Whether an item that came before counts like one that came after."""
    repeats: bool = False
    """Whether an item that comes again counts as following itself: where seen items may be recommended."""
    recency: Recency = Recency()
    """How the items of a history are weighted."""
    popularity_power: float = Field(default=0.0, ge=0, le=1)
    """Counts are divided by the candidate's training events to this power; 0 keeps plain counts."""


@dataclass(frozen=True)
class CoOccurrence:
    """Score items by weighted pair counts summed over the history.

    Equal scores go to the more popular item, and rows with fewer than k scored items are completed
    by popularity, with score 0.

    Attributes:
        weights: `(N, N)` sparse float32; entry (i, j) says how much i in the history speaks for j.
        popularity: the order for ties and for completing rows.
        config: how histories are read.
    """

    weights: csr_matrix
    popularity: Popularity
    config: CoOccurrenceConfig
    name: str = "cooccurrence"

    @classmethod
    def fit(cls, train: Histories, n_items: int, config: CoOccurrenceConfig | None = None) -> Self:
        """Count the pairs of the training histories."""
        from scipy.sparse import diags_array

        config = config or CoOccurrenceConfig()
        popularity = Popularity.fit(train, n_items)
        steps = np.arange(1, config.window + 1, dtype=np.float64)
        by_steps = steps**-config.distance_power
        weights = weigh_pairs(train, n_items, by_steps, repeats=config.repeats)
        if config.both_directions:
            weights = weights + weights.T
        if config.logarithm:
            weights = weights.log1p()
        scale = np.maximum(popularity.counts, 1.0) ** -config.popularity_power
        weights = (weights @ diags_array(scale)).tocsr().astype(np.float32)
        return cls(strongest(weights, config.max_neighbors, popularity.order), popularity, config)

    @property
    def tie_break(self) -> NDArray[np.int64]:
        """What decides between equal scores, `(N,)`: training events (see `Ranker`)."""
        return self.popularity.counts

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the k best-scored items for each history, completed by popularity."""

        def read(chunk: Histories) -> csr_matrix:
            return recency_weights(chunk, self.weights.shape[0], self.config.recency)

        return rank_counted(read, self.weights, self.popularity, histories, k, exclude_seen)


def rank_counted(
    read: Callable[[Histories], csr_matrix],
    weights: csr_matrix,
    popularity: Popularity,
    histories: Histories,
    k: int,
    exclude_seen: bool,
) -> Ranking:
    """Return the k best of what `read(histories) @ weights` scores, completed by popularity.

    Args:
        read: weighs the items of C histories, `(C, N)`.
        weights: `(N, N)`; entry (i, j) says how much i in a history speaks for j.
        popularity: the order for ties and for completing rows.
        histories: C histories.
        k: columns of the result.
        exclude_seen: whether items of the history are left out.
    """
    zeros = np.zeros(weights.shape[0], np.float32)

    def rank_chunk(chunk: Histories) -> Ranking:
        excluded = chunk if exclude_seen else None
        best = top_k_sparse(read(chunk) @ weights, k, excluded=excluded, order=popularity.order)
        return fill(best, popularity.order, zeros, excluded)

    longest = int(histories.lengths.max(initial=0))
    return rank_chunks(rank_chunk, histories, k, k + longest + most_scored(weights, histories))


def most_scored(weights: csr_matrix, histories: Histories) -> NDArray[np.int64]:
    """Bound the number of items that each of C histories scores, `(C,)`."""
    partners = np.diff(weights.indptr)[histories.items]
    totals = np.concatenate([[0], np.cumsum(partners)])
    return np.diff(totals[histories.offsets])


def weigh_pairs(
    train: Histories, n_items: int, weights: NDArray[np.float64], *, repeats: bool = False
) -> csr_matrix:
    """Sum the weights of ordered pairs (earlier, later), `(N, N)` sparse float32.

    An item paired with itself is left out unless `repeats` are wanted: whether to repeat is the protocol's
    question.

    Args:
        train: the sequences.
        n_items: catalog size N.
        weights: `(W,)`, of pairs 1, 2 … W steps apart; farther ones are not counted.
        repeats: whether an item that comes again follows itself.
    """
    from scipy.sparse import coo_matrix, csr_matrix

    row = train.rows
    total = csr_matrix((n_items, n_items), dtype=np.float32)
    for steps in range(1, min(len(weights), int(train.lengths.max(initial=1)) - 1) + 1):
        earlier, later = train.items[:-steps], train.items[steps:]
        keep = (row[:-steps] == row[steps:]) & (repeats | (earlier != later))
        weight = np.full(keep.sum(), weights[steps - 1], np.float32)
        entries = (weight, (earlier[keep], later[keep]))
        total = total + coo_matrix(entries, shape=(n_items, n_items)).tocsr()
    return total


def strongest(weights: csr_matrix, n: int, order: NDArray[np.int64]) -> csr_matrix:
    """Keep the n largest entries of each row of an `(N, N)` matrix, ties going by `order`."""
    from scipy.sparse import csr_matrix

    entries = weights.tocoo()
    partners = np.diff(weights.indptr)
    crowded = np.flatnonzero(np.repeat(partners > n, partners))
    row = entries.row[crowded].astype(np.int64)
    best = best_first(row, entries.col[crowded], entries.data[crowded], order)
    place = np.arange(len(row)) - np.searchsorted(row, row)
    keep = np.ones(len(entries.data), np.bool_)
    keep[crowded[best[place >= n]]] = False
    kept = (entries.data[keep], (entries.row[keep], entries.col[keep]))
    return csr_matrix(kept, shape=weights.shape)
