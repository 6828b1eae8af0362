"""Mixture: one distribution over the catalog out of several components, each with its weight.

Components are the codes that the language model writes, its pointer, and the memory. A distribution is a
sparse matrix `(C, N)`, one row a history, that names the items it gives probability: a row sums to 1, or is
empty where the component knows nothing. What a search found is a `Ranking` of log-probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import pairs, top_k_sparse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Component", "mix", "mix_in_turn", "mixed_scores", "scaled"]


_LEAST = 1e-300
"""What a probability that is too small for a float counts as: its item stays in the list."""


@dataclass(frozen=True)
class Component:
    """One part of a mixture.

    Attributes:
        distribution: `(C, N)` over the catalog, a row a history; a row sums to 1, or is empty.
        weight: `(C,)` in the mixture; what is left to 1 is the weight of what it is mixed with.
    """

    distribution: csr_matrix
    weight: NDArray[np.float64]

    @property
    def effective_weight(self) -> NDArray[np.float64]:
        """The weight `(C,)`, 0 where the row is empty: who knows nothing takes nothing from the others."""
        return np.where(np.diff(self.distribution.indptr) > 0, self.weight, 0.0)


def mix(
    model: Ranking,
    component: Component,
    k: int,
    *,
    allow: NDArray[np.integer] | None = None,
    deny: Sequence[NDArray[np.int32]] | None = None,
) -> Ranking:
    """The k best items of the mixture.

    What the model did not rank counts as impossible to it, and the reverse; where the component's row is
    empty, the model's scores stay. Filters leave the scores of what passes as they are.

    The more items the model ranked, the more get part of its weight: like the beams of a search, M is part of
    the result.

    Args:
        model: `(C, M)` log-probabilities of items that pass the filters.
        component: what is mixed in, `(C, N)`.
        k: columns of the result.
        allow: items that may be returned; None for all.
        deny: for each row, items that must not be.

    Returns:
        `(C, k)`, scored by log-probability of the mixture.
    """
    from scipy.sparse import csr_matrix

    weight, other = component.effective_weight, component.distribution
    named = model.items >= 0
    rows = np.nonzero(named)[0]
    likely = np.exp(model.scores[named].astype(np.float64))
    entries = (np.maximum(likely, _LEAST), (rows, model.items[named]))
    own = csr_matrix(entries, shape=other.shape)  # (C, M) ranked -> (C, N) sparse
    mixture = (scaled(own, 1 - weight) + scaled(_passing(other, allow, deny), weight)).tocsr()
    # (C, N) sparse: only what one of both names. Logarithms are ranked: as float32, small probabilities would
    # be one.
    mixture.data = np.log(mixture.data)
    return top_k_sparse(mixture, k)


def mix_in_turn(
    model: Ranking,
    components: Sequence[Component],
    k: int,
    width: int,
    *,
    allow: NDArray[np.integer] | None = None,
    deny: Sequence[NDArray[np.int32]] | None = None,
) -> Ranking:
    """Mix one component after the other with a model (see `mix`): the k best items, `(C, k)`.

    Args:
        model: `(C, M)`.
        components: what is mixed in, in this order.
        k: columns of the result.
        width: items that are kept between two components.
        allow: see `mix`.
        deny: see `mix`.
    """
    for place, component in enumerate(components, start=1):
        # What a component lifts later may lie deep now: all but the last keep more than k.
        kept = k if place == len(components) else width
        model = mix(model, component, kept, allow=allow, deny=deny)
    return model


def mixed_scores(
    model: NDArray[np.floating],
    items: NDArray[np.integer],
    component: Component,
) -> NDArray[np.float64]:
    """Score given items by the mixture (see `mix`, whose scores of what the model ranked these are).

    Args:
        model: `(C, K)` log-probabilities of the items.
        items: `(C, K)` of the catalog.
        component: what is mixed in, `(C, N)`.

    Returns:
        `(C, K)` log-probabilities of the mixture.
    """
    weight = component.effective_weight[:, None]  # (C, 1)
    rows = np.arange(len(items))[:, None]
    other = np.asarray(component.distribution[rows, items].todense())  # (C, N) -> (C, K)
    likely = np.maximum(np.exp(model.astype(np.float64)), _LEAST)
    return np.asarray(np.log((1 - weight) * likely + weight * other))


def _passing(
    distribution: csr_matrix,
    allow: NDArray[np.integer] | None,
    deny: Sequence[NDArray[np.int32]] | None,
) -> csr_matrix:
    """Drop entries of items that may not be returned."""
    from scipy.sparse import csr_matrix

    entries = distribution.tocoo()
    keep = np.ones(len(entries.data), np.bool_)
    if allow is not None:
        keep &= np.isin(entries.col, allow)
    if deny is not None:
        n_items = distribution.shape[1]
        denied = pairs(Histories.of(deny), n_items)
        keep &= ~np.isin(entries.row.astype(np.int64) * n_items + entries.col, denied)
    places = (entries.row[keep], entries.col[keep])
    return csr_matrix((entries.data[keep], places), shape=distribution.shape)


def scaled(matrix: csr_matrix, factors: NDArray[np.floating]) -> csr_matrix:
    """A matrix `(C, N)` with each row multiplied by its factor, `(C,)`."""
    from scipy.sparse import diags_array

    return (diags_array(factors) @ matrix).tocsr()
