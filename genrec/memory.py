"""A memory beside the language model: what followed the history's items in the training log, counted.

A small language model generalises and does not remember every pair that a log shows; counts remember and do
nothing else. Both are distributions over the catalog, and so is their mixture

    p(item | history) = (1 - w) p_model(item | history) + w p_counts(item | history)

as in nearest-neighbour language models (Khandelwal et al. 2020, "Generalization through Memorization",
section 2). The weight `w` is chosen on validation cases, so a log that counts say nothing about gets 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.config import Settings
from genrec.data.histories import Cases, Histories
from genrec.evaluation.baselines.cooccurrence import CoOccurrence, CoOccurrenceConfig
from genrec.evaluation.baselines.recency import recency_weights
from genrec.evaluation.metrics import rank_of_target
from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import pairs, top_k_sparse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Memory", "MemorySettings", "choose_weight", "mix"]

WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""What `choose_weight` tries."""

_LEAST = 1e-300
"""What a probability that is too small for a float counts as: its item stays in the list."""


class MemorySettings(Settings):
    """How much counts of the training log say beside the language model."""

    weight: float | None = Field(None, ge=0, lt=1)
    """Their share of the mixture; None is chosen on validation (0 where no user has a validation case)."""
    power: float = Field(1.5, gt=0)
    """Counts are raised to it before they are made probabilities: above 1, the frequent get more."""
    counts: CoOccurrenceConfig = CoOccurrenceConfig()
    """What is counted, and how a history's items are weighted."""


@dataclass(frozen=True)
class Memory:
    """Counts of the training log, read as a distribution over the N items.

    Attributes:
        counts: pairs of items by how often and how closely one followed the other.
        power: that counts are raised to.
        n_items: N.
    """

    counts: CoOccurrence
    power: float
    n_items: int

    @classmethod
    def of(cls, train: Histories, n_items: int, settings: MemorySettings) -> Memory:
        """Count the training histories."""
        return cls(CoOccurrence.fit(train, n_items, settings.counts), settings.power, n_items)

    def probabilities(self, histories: Histories) -> csr_matrix:
        """What the counts expect after each of C histories, `(C, N)`; a row sums to 1, or is empty."""
        from scipy.sparse import csr_matrix

        recency = self.counts.config.recency
        scores = (recency_weights(histories, self.n_items, recency) @ self.counts.weights).tocoo()
        data = scores.data.astype(np.float64) ** self.power
        total = np.bincount(scores.row, data, len(histories))
        return csr_matrix((data / total[scores.row], (scores.row, scores.col)), shape=scores.shape)


def mix(
    model: Ranking,
    counts: csr_matrix,
    weight: float,
    k: int,
    *,
    allow: NDArray[np.integer] | None = None,
    deny: Sequence[NDArray[np.int32]] | None = None,
) -> Ranking:
    """The k best items of the mixture.

    What the model did not rank counts as impossible to it, and the reverse; a row about which the counts
    say nothing keeps the model's scores. Filters leave the scores of what passes as they are.

    More items ranked by the model are more that have its share: like the beams of a search, M is part of the
    result.

    Args:
        model: `(C, M)` log-probabilities of items that pass the filters.
        counts: `(C, N)` probabilities.
        weight: of the counts.
        k: columns of the result.
        allow: items that may be returned; None for all.
        deny: for each row, items that must not be.

    Returns:
        `(C, k)`, scored by log-probability of the mixture.
    """
    from scipy.sparse import csr_matrix

    share = np.where(np.diff(counts.indptr) > 0, weight, 0.0)
    named = model.items >= 0
    rows = np.nonzero(named)[0]
    likely = np.exp(model.scores[named].astype(np.float64))
    entries = (np.maximum(likely, _LEAST), (rows, model.items[named]))
    own = csr_matrix(entries, shape=counts.shape)
    mixture = (_scaled(own, 1 - share) + _scaled(_passing(counts, allow, deny), share)).tocsr()
    # Logarithms are ranked: as float32, small probabilities would be one.
    mixture.data = np.log(mixture.data)
    return top_k_sparse(mixture, k)


def choose_weight(
    model: Ranking, counts: csr_matrix, cases: Cases, k: int = 10
) -> tuple[float, dict[float, float]]:
    """Choose the weight of the best ndcg@k on validation cases; of equally good ones the smallest.

    Args:
        model: `(C, M)`, what the language model ranks for the cases.
        counts: `(C, N)`, what the counts expect.
        cases: their targets, and histories whose items are not recommended again.
        k: cut-off.

    Returns:
        The weight, and the ndcg of every one tried.
    """
    found = {}
    for weight in WEIGHTS:
        mixed = mix(model, counts, weight, k, deny=list(cases.histories))
        ranks = rank_of_target(mixed, cases.targets)
        found[weight] = float(np.where(ranks < k, 1 / np.log2(ranks + 2), 0.0).mean())
    return max(found, key=lambda weight: (found[weight], -weight)), found


def _passing(
    counts: csr_matrix,
    allow: NDArray[np.integer] | None,
    deny: Sequence[NDArray[np.int32]] | None,
) -> csr_matrix:
    """Drop entries of items that may not be returned."""
    from scipy.sparse import csr_matrix

    entries = counts.tocoo()
    keep = np.ones(len(entries.data), np.bool_)
    if allow is not None:
        keep &= np.isin(entries.col, allow)
    if deny is not None:
        n_items = counts.shape[1]
        denied = pairs(Histories.of(deny), n_items)
        keep &= ~np.isin(entries.row.astype(np.int64) * n_items + entries.col, denied)
    places = (entries.row[keep], entries.col[keep])
    return csr_matrix((entries.data[keep], places), shape=counts.shape)


def _scaled(matrix: csr_matrix, factors: NDArray[np.floating]) -> csr_matrix:
    from scipy.sparse import diags_array

    return (diags_array(factors) @ matrix).tocsr()
