"""Mixtures of distributions over a catalog: of what the codes say, what a pointer says, what a memory says.

A distribution is a sparse matrix `(C, N)`, one row a history, that names the items it gives a share: a row
sums to 1, or is empty where there is nothing to say. What a search found is a `Ranking` of log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Cases, Histories
from genrec.evaluation.metrics import METRICS, rank_of_target
from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import pairs, top_k_sparse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "Voice",
    "best_weight",
    "clearly_better",
    "join",
    "mix",
    "mix_in_turn",
    "mixed_ndcg",
    "mixed_scores",
]

Voice: TypeAlias = "tuple[csr_matrix, NDArray[np.float64]]"
"""A distribution `(C, N)` and its share in a mixture, `(C,)`."""

W = TypeVar("W")

_ERRORS = 2
"""Standard errors that make a difference."""
_LEAST = 1e-300
"""What a probability that is too small for a float counts as: its item stays in the list."""


def join(
    parts: Sequence[csr_matrix], weights: Sequence[float]
) -> tuple[csr_matrix, NDArray[np.float64]]:
    """Mix distributions `(C, N)` with empty rows by their weights.

    Returns:
        The mixture, whose rows sum to 1 or are empty, and the share of each row, `(C,)`: the weights of those
        that have something to say.
    """
    weighted = [weight * part for part, weight in zip(parts, weights, strict=False) if weight]
    if not weighted:
        return parts[0], np.zeros(parts[0].shape[0])
    total = sum(weighted[1:], weighted[0])
    share = np.asarray(total.sum(axis=1)).ravel()
    return _scaled(total, 1 / np.where(share > 0, share, 1.0)), share


def mix(
    model: Ranking,
    counts: csr_matrix,
    weight: float | NDArray[np.float64],
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
        weight: of the counts, one for all rows or `(C,)`.
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


def mix_in_turn(
    model: Ranking,
    voices: Sequence[Voice],
    k: int,
    width: int,
    *,
    allow: NDArray[np.integer] | None = None,
    deny: Sequence[NDArray[np.int32]] | None = None,
) -> Ranking:
    """Mix one voice after the other with a model (see `mix`): the k best items, `(C, k)`.

    Args:
        model: `(C, M)`.
        voices: what is mixed in, in this order.
        k: columns of the result.
        width: items that are kept between two voices.
        allow: see `mix`.
        deny: see `mix`.
    """
    for place, voice in enumerate(voices, start=1):
        kept = k if place == len(voices) else width
        model = mix(model, *voice, kept, allow=allow, deny=deny)
    return model


def mixed_scores(
    model: NDArray[np.floating],
    items: NDArray[np.integer],
    counts: csr_matrix,
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Score given items by the mixture (see `mix`, whose scores of what the model ranked these are).

    Args:
        model: `(C, K)` log-probabilities of the items.
        items: `(C, K)` of the catalog.
        counts: `(C, N)` probabilities.
        weight: `(C,)` share of the counts.

    Returns:
        `(C, K)` log-probabilities of the mixture.
    """
    share = np.where(np.diff(counts.indptr) > 0, weight, 0.0)[:, None]
    counted = np.asarray(counts[np.arange(len(items))[:, None], items].todense())
    likely = np.maximum(np.exp(model.astype(np.float64)), _LEAST)
    return np.asarray(np.log((1 - share) * likely + share * counted))


def mixed_ndcg(model: Ranking, other: Voice, cases: Cases, k: int = 10) -> NDArray[np.float64]:
    """The ndcg@k `(C,)` of what a model and something beside it expect together, seen items left out."""
    mixed = mix(model, *other, k, deny=list(cases.histories))
    return METRICS["ndcg"](rank_of_target(mixed, cases.targets), k)


def best_weight(found: Mapping[W, NDArray[np.float64]], prior: W | None = None) -> W:
    """The weight under which cases fare best on average; of equally good ones the first.

    One that was chosen before, on other data, stays unless the best is clearly better: of a handful of users,
    some weight is always the best by chance.

    Args:
        found: weight -> what each of the same cases got, `(C,)`.
        prior: the weight that was chosen before, one of these; None where there is none.
    """
    best = max(found, key=lambda weight: float(found[weight].mean()))
    if prior is None:
        return best
    return best if clearly_better(found[best], found[prior]) else prior


def clearly_better(scores: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether the same cases fare better by more than two standard errors of their differences, `(C,)` each.

    Of one case nothing is known.
    """
    gain = scores - others
    if len(gain) < 2:
        return False
    return bool(gain.mean() > _ERRORS * gain.std(ddof=1) / math.sqrt(len(gain)))


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
