"""Selection of the best k items, exact, with every tie broken in a stated order.

`top_k` chooses from dense scores, `top_k_sparse` from a few scored candidates per case, and `fill`
completes short rows from one common order of the items. Equal scores go by a preference order (the
lower catalog index unless told otherwise): a metric must not depend on the moods of a sort.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["best_first", "fill", "pairs", "top_k", "top_k_sparse"]

LOW_BITS = np.uint64(0xFFFFFFFF)


def top_k(
    scores: NDArray[np.floating[Any]],
    k: int,
    *,
    excluded: Histories | NDArray[np.bool_] | None = None,
    order: NDArray[np.integer[Any]] | None = None,
) -> Ranking:
    """Pick the best k items of every row of dense scores.

    Args:
        scores: `(C, N)`, compared as float32; an item scored -inf is never returned.
        k: columns of the result; a row with fewer candidates ends in -1.
        excluded: items not to return, as C sequences or as a `(C, N)` mask.
        order: `(N,)` all items, of two with equal scores the one to prefer first; None prefers the
            lower index.

    Raises:
        InputError: a score is NaN.
    """
    scores = scores.astype(np.float32)
    unusable = np.isnan(scores).any(axis=1)
    if unusable.any():
        raise InputError(f"case {unusable.argmax()}: its scores hold NaN and cannot be ranked")
    if isinstance(excluded, Histories):
        scores[excluded.rows, excluded.items] = -np.inf
    elif excluded is not None:
        scores[excluded] = -np.inf
    items = _best_columns(scores, min(k, scores.shape[1]), order)
    result = Ranking.empty(len(scores), k)
    best = np.take_along_axis(scores, items, axis=1)
    result.items[:, : items.shape[1]] = np.where(best > -np.inf, items, -1)
    result.scores[:, : items.shape[1]] = best
    return result


def top_k_sparse(
    scores: csr_matrix,
    k: int,
    *,
    excluded: Histories | None = None,
    order: NDArray[np.integer[Any]] | None = None,
) -> Ranking:
    """Pick the best k stored entries of every row of a `(C, N)` sparse matrix.

    Only stored entries are candidates, whatever their value but -inf: time and memory go with their
    number, not with N. The other arguments and the ties are those of `top_k`.
    """
    C, N = scores.shape
    entries = scores.tocoo()
    case, item = entries.row.astype(np.int64), entries.col.astype(np.int64)
    score = entries.data.astype(np.float32)
    keep = score > -np.inf
    if excluded is not None:
        keep &= ~np.isin(case * N + item, pairs(excluded, N))
    case, item, score = case[keep], item[keep], score[keep]
    best = best_first(case, item, score, np.arange(N) if order is None else order)
    return Ranking.of_entries((case[best], item[best], score[best]), C, k)


def best_first(
    case: NDArray[np.int64],
    item: NDArray[np.int64],
    score: NDArray[np.float32],
    order: NDArray[np.integer[Any]],
) -> NDArray[np.int64]:
    """Return what sorts E entries by case, the best first, equal ones by `order`, `(E,)`."""
    keys = ~_keys(score, _positions(order)[item], len(order))
    # Few bits let numpy sort the cases by radix.
    return np.lexsort((keys, case.astype(np.min_scalar_type(int(case.max(initial=0))))))


def fill(
    ranking: Ranking,
    order: NDArray[np.integer[Any]],
    scores: NDArray[np.float32],
    excluded: Histories | None = None,
) -> Ranking:
    """Complete rows that have fewer than k items with the first free items of one common order.

    Args:
        ranking: `(C, k)`; full rows come back unchanged, and no item is repeated in a row.
        order: `(N,)` all items, the first to use first.
        scores: `(N,)` the score that an item gets where it fills.
        excluded: C sequences of items not to use.
    """
    short = np.flatnonzero(ranking.items[:, -1] == -1)
    if not len(short):
        return ranking
    N, k = len(order), ranking.k
    items = ranking.items[short]
    barred = excluded.take(short) if excluded is not None else Histories.of([()] * len(short))
    first_pair = np.arange(len(short))[:, None] * N
    taken = np.concatenate([(first_pair + items)[items != -1], pairs(barred, N)])
    # A row lacks k - have items, and at most have + barred of the first ones are not free.
    candidates = order[: k + int(barred.lengths.max())]
    free = ~np.isin(first_pair + candidates, taken)
    place = (items != -1).sum(axis=1, keepdims=True) + np.cumsum(free, axis=1) - 1
    case, column = np.nonzero(free & (place < k))
    result = Ranking(ranking.items.copy(), ranking.scores.copy())
    result.items[short[case], place[case, column]] = candidates[column]
    result.scores[short[case], place[case, column]] = scores[candidates[column]]
    return result


def pairs(histories: Histories, n_items: int) -> NDArray[np.int64]:
    """Number every (case, item) of C histories as ``case * n_items + item``, `(M,)`."""
    return histories.rows * n_items + histories.items


def _positions(order: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Invert a permutation: where each item stands in `order`, `(N,)`."""
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order))
    return positions


def _best_columns(
    scores: NDArray[np.float32], width: int, order: NDArray[np.integer[Any]] | None
) -> NDArray[np.int64]:
    """Return the best columns of each row, best first, `(C, width)`."""
    N = scores.shape[1]
    order = np.arange(N) if order is None else np.asarray(order, np.int64)
    keys = _keys(scores, _positions(order), N)
    if 0 < width < N:
        keys.partition(N - width, axis=1)
    best = np.sort(keys[:, N - width :], axis=1)[:, ::-1]
    best_columns: NDArray[np.int64] = order[N - 1 - (best & LOW_BITS).astype(np.int64)]
    return best_columns


def _keys(
    scores: NDArray[np.float32], preference: NDArray[np.int64], n_items: int
) -> NDArray[np.uint64]:
    """Pack score and preference into one integer each, the greater the better.

    The keys of a row all differ, so that a partition, which would keep an arbitrary one of two
    equal scores, is exact.
    """
    return _ascending_bits(scores) << np.uint64(32) | (n_items - 1 - preference).astype(np.uint64)


def _ascending_bits(scores: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Map floats to integers of the same order: flip the sign bit, or all bits of a negative."""
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes one zero of -0.0 and 0.0
    flip = np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    return (bits ^ flip).astype(np.uint64)
