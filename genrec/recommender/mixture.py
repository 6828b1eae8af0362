"""Mixture: one distribution over the catalog out of several components, each with its weight.

A component says what comes after a history: the codes that the language model writes, its pointer, counts of
the log, likeness of texts, a text model (see `genrec.recommender.components`). It is a sparse matrix
`(C, N)`, one row a history, that names the items it gives probability: a row sums to 1, or is empty where the
component knows nothing. What a search found is a `Ranking` of log-probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import pairs, top_k_sparse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "Component",
    "Share",
    "join",
    "mix",
    "mix_in_turn",
    "mixed_scores",
    "named_by",
    "probabilities_of",
    "scaled",
]


_LEAST = 1e-300
"""What a probability that is too small for a float counts as: its item stays in the list."""


class Component(Protocol):
    """A part of the mixture, fitted alone."""

    @property
    def name(self) -> str:
        """Short name for settings, tables and result files, such as ``counts``."""

    @property
    def reads(self) -> int:
        """How many of a history's newest items it reads."""

    def scores(self, histories: Histories, allow: NDArray[np.integer] | None = None) -> csr_matrix:
        """What it expects after each of C histories, `(C, N)`; a row sums to 1, or is empty.

        Args:
            histories: catalog indices, oldest first.
            allow: the only items that are asked for, None for all: others may be left out, which changes no
                probability.
        """

    def scores_of(self, histories: Histories, items: NDArray[np.integer]) -> csr_matrix:
        """The same of given items `(C, k)` at least, whether or not a row would name them, `(C, N)`."""


@dataclass(frozen=True)
class Share:
    """What a component expects, and how much that counts in a mixture.

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


def join(parts: Sequence[csr_matrix], weights: Sequence[float]) -> Share:
    """Join distributions `(C, N)`, whose rows may be empty, into one.

    Its weight in a row is the sum of the weights of those parts whose row is not empty.
    """
    weighted = [weight * part for part, weight in zip(parts, weights, strict=True)]
    total = sum(weighted[1:], weighted[0])
    known = [w * (np.diff(part.indptr) > 0) for part, w in zip(parts, weights, strict=True)]
    weight = np.sum(known, axis=0)  # (C,)
    return Share(scaled(total, 1 / np.where(weight > 0, weight, 1.0)), weight)


def mix(
    model: Ranking,
    share: Share,
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
        share: what is mixed in, `(C, N)`.
        k: columns of the result.
        allow: items that may be returned; None for all.
        deny: for each row, items that must not be.

    Returns:
        `(C, k)`, scored by log-probability of the mixture.
    """
    weight, other = share.effective_weight, share.distribution
    own = named_by(model, other.shape[1])  # (C, M) ranked -> (C, N) sparse
    mixture = (scaled(own, 1 - weight) + scaled(_passing(other, allow, deny), weight)).tocsr()
    # (C, N) sparse: only what one of both names. Logarithms are ranked: as float32, small probabilities would
    # be one.
    mixture.data = np.log(np.maximum(mixture.data, _LEAST))
    return top_k_sparse(mixture, k)


def named_by(model: Ranking, n_items: int) -> csr_matrix:
    """The probabilities of what a model ranked, `(C, N)`, of its log-probabilities `(C, M)`."""
    from scipy.sparse import csr_matrix

    named = model.items >= 0
    likely = np.exp(model.scores[named].astype(np.float64))
    entries = (np.maximum(likely, _LEAST), (np.nonzero(named)[0], model.items[named]))
    return csr_matrix(entries, shape=(len(model), n_items))


def probabilities_of(distribution: csr_matrix, items: NDArray[np.integer]) -> NDArray[np.float64]:
    """The probabilities `(C, K)` of given items `(C, K)` in a distribution `(C, N)`."""
    rows = np.arange(len(items))[:, None]
    return np.asarray(distribution[rows, items].todense())


def mix_in_turn(
    model: Ranking,
    shares: Sequence[Share],
    k: int,
    width: int,
    *,
    allow: NDArray[np.integer] | None = None,
    deny: Sequence[NDArray[np.int32]] | None = None,
) -> Ranking:
    """Mix one share after the other with a model (see `mix`): the k best items, `(C, k)`.

    Args:
        model: `(C, M)`.
        shares: what is mixed in, in this order.
        k: columns of the result.
        width: items that are kept between two of them.
        allow: see `mix`.
        deny: see `mix`.
    """
    for place, share in enumerate(shares, start=1):
        # What a component lifts later may lie deep now: all but the last keep more than k.
        kept = k if place == len(shares) else width
        model = mix(model, share, kept, allow=allow, deny=deny)
    return model


def mixed_scores(
    model: NDArray[np.floating],
    items: NDArray[np.integer],
    share: Share,
) -> NDArray[np.float64]:
    """Score given items by the mixture (see `mix`, whose scores of what the model ranked these are).

    Args:
        model: `(C, K)` log-probabilities of the items.
        items: `(C, K)` of the catalog.
        share: what is mixed in, `(C, N)`.

    Returns:
        `(C, K)` log-probabilities of the mixture.
    """
    weight = share.effective_weight[:, None]  # (C, 1)
    other = probabilities_of(share.distribution, items)  # (C, N) -> (C, K)
    likely = np.maximum(np.exp(model.astype(np.float64)), _LEAST)
    return np.asarray(np.log(np.maximum((1 - weight) * likely + weight * other, _LEAST)))


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
