"""Sequential rules: recommend what followed the history's items, near pairs and new items counting most.

Ludewig and Jannach, Evaluation of session-based recommendation algorithms (UMUAI 2018); kernels, pruning and
weights of rare items as in Petrov et al., Do sequential recommendation benchmarks really require higher-order
sequence modelling? (RecSys 2026; formulas and figures in spotify-research/sequential-capacity-probes), where
tuned rules stand above trained transformers on sparse logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.data.histories import Histories
from genrec.evaluation.baselines.cooccurrence import rank_counted, strongest, weigh_pairs
from genrec.evaluation.baselines.kernels import (
    HistoryKernel,
    Logarithmic,
    PairKernel,
    Power,
    kernel_weights,
    step_weights,
)
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.sparse_state import sparse_of, sparse_state
from genrec.evaluation.ranking import Ranking

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["SeqRules", "SeqRulesConfig"]


class SeqRulesConfig(Settings):
    """Which rules are counted and kept, and how histories are read; defaults as published for Beauty."""

    kind: Literal["seqrules"] = "seqrules"
    window: int = Field(default=10, ge=1)
    """Pairs up to this many steps apart make a rule."""
    counting: PairKernel = Logarithmic()
    """What a pair counts by the steps between its items."""
    repeats: bool = False
    """Whether an item that comes again counts as following itself: where seen items may be recommended."""
    rare_items: bool = False
    """Whether an item's rules count by its inverse document frequency, from 0 for the most popular to 1."""
    max_rules: int = Field(default=100, ge=1)
    """Rules kept of each item, the strongest: bounds time and memory on large catalogs."""
    reading: HistoryKernel = Power(power=2.0)
    """What an item of the history weighs by its age."""
    max_history: int = Field(default=10, ge=1)
    """Newest items of the history that are read."""


@dataclass(frozen=True)
class SeqRules:
    """Score items by the rules of the history's items, summed with weights by age.

    Equal scores go to the more popular item, and rows with fewer than k scored items are completed by
    popularity, with score 0.

    Attributes:
        rules: `(N, N)` sparse float32; entry (i, j) says how much i in the history speaks for j.
        popularity: the order for ties and for completing rows.
        config: how histories are read.
    """

    rules: csr_matrix
    popularity: Popularity
    config: SeqRulesConfig
    name: str = "seqrules"

    @classmethod
    def fit(cls, train: Histories, n_items: int, config: SeqRulesConfig | None = None) -> Self:
        """Count the pairs of the training histories."""
        from scipy.sparse import diags_array

        config = config or SeqRulesConfig()
        popularity = Popularity.fit(train, n_items)
        weights = step_weights(config.counting, config.window)
        rules = weigh_pairs(train, n_items, weights, repeats=config.repeats)
        if config.rare_items:
            rules = (diags_array(rarity(popularity.counts)) @ rules).tocsr().astype(np.float32)
        return cls(strongest(rules, config.max_rules, popularity.order), popularity, config)

    @property
    def tie_break(self) -> NDArray[np.int64]:
        """What decides between equal scores, `(N,)`: training events (see `Ranker`)."""
        return self.popularity.counts

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the k best-scored items for each history, completed by popularity."""
        config = self.config

        def read(chunk: Histories) -> csr_matrix:
            return kernel_weights(chunk, self.rules.shape[0], config.reading, config.max_history)

        return rank_counted(read, self.rules, self.popularity, histories, k, exclude_seen)

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs."""
        return sparse_state(self.rules, self.popularity)

    @classmethod
    def restore(cls, state: dict[str, NDArray[Any]], config: SeqRulesConfig) -> Self:
        """Give back what was fitted."""
        return cls(*sparse_of(state), config)


def rarity(events: NDArray[np.int64]) -> NDArray[np.float32]:
    """Inverse document frequency scaled to 0 to 1, `(N,)`; 1 for all where items sell alike."""
    share = -np.log(np.maximum(events, 1))
    sold = share[events > 0]
    low, high = sold.min(initial=0), sold.max(initial=-np.inf)
    if high <= low:
        return np.ones(len(events), np.float32)
    return np.asarray((share - low) / (high - low), np.float32)
