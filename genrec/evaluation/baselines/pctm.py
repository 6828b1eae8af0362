"""PCTM: what the log expects after each item of a history, log-odds of smoothed counts added up.

Petrov, Chandar, Bennett, Bouchard and Lalmas, Do sequential recommendation benchmarks really require
higher-order sequence modelling? (RecSys 2026; formulas and figures are in its repository,
spotify-research/sequential-capacity-probes). Each item of the history gives every item of the catalog a
probability to follow, counted over several distances and smoothed by a uniform prior; their logarithms are
summed with weights that fall with age. Nothing is learned, and on sparse logs it stands above transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.data.histories import Histories
from genrec.evaluation.baselines.cooccurrence import most_scored, strongest, weigh_pairs
from genrec.evaluation.baselines.kernels import (
    Exponential,
    HistoryKernel,
    PairKernel,
    Power,
    kernel_weights,
    step_weights,
)
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.sparse_state import sparse_of, sparse_state
from genrec.evaluation.ranking import Ranking, rank_chunks
from genrec.evaluation.selection import fill, top_k_sparse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["PCTM", "PCTMConfig"]


class PCTMConfig(Settings):
    """What is counted, how far it is believed, and how a history is read; defaults are those of Beauty."""

    kind: Literal["pctm"] = "pctm"
    window: int = Field(default=10, ge=1)
    """Pairs up to this many steps apart are counted."""
    counting: PairKernel = Power(power=0.5)
    """What a pair counts by the steps between its items."""
    repeats: bool = False
    """Whether an item that comes again counts as following itself: where seen items may be recommended."""
    max_neighbors: int = Field(default=500, ge=1)
    """Followers kept of each item, the most counted: bounds time and memory on large catalogs."""
    prior: float = Field(default=1.0, gt=0)
    """Added to the count of every pair: the greater, the less a single pair says."""
    reading: HistoryKernel = Exponential(decay=0.6)
    """What an item of the history weighs by its age."""
    max_history: int = Field(default=50, ge=1)
    """Newest items of the history that are read."""
    popularity_weight: float = Field(default=-0.04, ge=-1, le=1)
    """Weight of the logarithm of an item's share of training events; below 0, popular items are held back."""


@dataclass(frozen=True)
class PCTM:
    """Score items by weighted log-odds of following the history's items.

    The odds compare a smoothed probability with that of an item never counted behind the same one, which so
    scores 0: what they leave out is the same for all items. Equal scores go to the more popular item.

    Attributes:
        pairs: `(N, N)` sparse float32; entry (i, j) counts how often, and how near, j followed i.
        popularity: the order of ties.
        config: how histories are read.
    """

    pairs: csr_matrix
    popularity: Popularity
    config: PCTMConfig
    name: str = "pctm"

    @classmethod
    def fit(cls, train: Histories, n_items: int, config: PCTMConfig | None = None) -> Self:
        """Count the pairs of the training histories."""
        config = config or PCTMConfig()
        popularity = Popularity.fit(train, n_items)
        weights = step_weights(config.counting, config.window)
        pairs = weigh_pairs(train, n_items, weights, repeats=config.repeats)
        return cls(strongest(pairs, config.max_neighbors, popularity.order), popularity, config)

    @property
    def tie_break(self) -> NDArray[np.int64]:
        """What decides between equal scores, `(N,)`: training events (see `Ranker`)."""
        return self.popularity.counts

    @cached_property
    def evidence(self) -> csr_matrix:
        """Log-odds of following, ``log(1 + pairs / prior)``, `(N, N)`."""
        from scipy.sparse import csr_matrix

        odds = np.log1p(self.pairs.data / np.float32(self.config.prior))
        return csr_matrix((odds, self.pairs.indices, self.pairs.indptr), shape=self.pairs.shape)

    @cached_property
    def background(self) -> NDArray[np.float32]:
        """What an item scores without evidence, `(N,)`: by its popularity, and least if never sold."""
        events = self.popularity.counts
        share = np.log((events + 1) / (events.sum() + len(events)))
        background: NDArray[np.float32] = (self.config.popularity_weight * share).astype(np.float32)
        background[events == 0] = background.min(initial=0, where=events > 0)
        return background

    @cached_property
    def background_order(self) -> NDArray[np.int64]:
        """All items by `background`, the best first, `(N,)`."""
        order = self.popularity.order
        return order[np.argsort(-self.background[order], kind="stable")]

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the k best-scored items for each history; the most popular where none has evidence."""
        config, N = self.config, len(self.background)
        zeros = np.zeros(N, np.float32)

        def rank_chunk(chunk: Histories) -> Ranking:
            excluded = chunk if exclude_seen else None
            weights = kernel_weights(chunk, N, config.reading, config.max_history)
            found = (weights @ self.evidence).tocsr()
            best = top_k_sparse(
                self._scores(found, k, excluded), k, excluded=excluded, order=self.popularity.order
            )
            unknown = np.diff(found.indptr) == 0
            best.items[unknown], best.scores[unknown] = -1, -np.inf
            return fill(best, self.popularity.order, zeros, excluded)

        longest = int(histories.lengths.max(initial=0))
        cost = 2 * k + longest + most_scored(self.pairs, histories.last(config.max_history))
        return rank_chunks(rank_chunk, histories, k, cost)

    def _scores(self, found: csr_matrix, k: int, excluded: Histories | None) -> csr_matrix:
        """Scores of all items with evidence and of the first k by `background`, `(C, N)`.

        Evidence only adds, so an item that has none and is not of these k is not among the best k.
        """
        from scipy.sparse import coo_matrix

        nobody = Ranking.empty(found.shape[0], k)
        first = fill(nobody, self.background_order, self.background, excluded).items
        entries, (row, place) = found.tocoo(), np.nonzero(first >= 0)
        values = np.concatenate([entries.data, np.zeros(len(row), np.float32)])
        rows = np.concatenate([entries.row, row])
        items = np.concatenate([entries.col, first[row, place]])
        scores = coo_matrix((values, (rows, items)), shape=found.shape).tocsr()
        scores.data += self.background[scores.indices]
        return scores

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs."""
        return sparse_state(self.pairs, self.popularity)

    @classmethod
    def restore(cls, state: dict[str, NDArray[Any]], config: PCTMConfig) -> Self:
        """Give back what was fitted."""
        return cls(*sparse_of(state), config)
