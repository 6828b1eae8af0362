"""Ties: the group of equal scores that a target shares its place with, counted by expectation.

A ranker that gives several items one score has not said which comes first; the order in which it lists
them is that of a sort. So a target in a tied group counts what it would count on average over all orders
of the group (McSherry and Najork, Computing information retrieval performance measures efficiently in
the presence of tied scores, ECIR 2008). A group that goes on behind the last place that counts is
followed until it ends, or for `WIDEST` places: beyond, a recall@k is off by at most ``k / WIDEST``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.ranking import CHUNK_CELLS, Ranking

__all__ = ["WIDEST", "Ask", "expected", "place_targets", "tied_groups"]

WIDEST = 2**14
"""Most places that are looked at to find the end of a tied group."""
GROWTH = 4

Ask = Callable[[NDArray[np.int64], int], Ranking]
"""Ranks the cases at the given positions again, with so many columns."""


def expected(
    metric: Callable[[NDArray[np.int64], int], NDArray[np.float64]],
    ranks: NDArray[np.int64],
    tied: NDArray[np.int64],
    k: int,
) -> NDArray[np.float64]:
    """Return a metric's mean over the places of each target's tied group, `(C,)`.

    Args:
        metric: a function of 0-based ranks and k that is 0 from rank k on.
        ranks: `(C,)` first place of the group, k or more where the target is absent.
        tied: `(C,)` size of the group, 1 where the target stands alone.
        k: the cut-off.

    >>> from genrec.evaluation.metrics import recall
    >>> expected(recall, np.array([0, 1, 9]), np.array([1, 4, 1]), k=3).tolist()
    [1.0, 0.5, 0.0]
    """
    gains = metric(np.arange(k), k)
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    first, end = np.minimum(ranks, k), np.minimum(ranks + tied, k)
    # A target that stands alone is not taken from sums: its gain stays exact.
    alone = np.append(gains, 0.0)[first]
    return np.where(tied == 1, alone, (sums[end] - sums[first]) / tied)


def place_targets(
    ask: Ask,
    ranking: Ranking,
    targets: NDArray[np.integer[Any]],
    k: int,
    tie_break: NDArray[Any] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the tied group of each target.

    Args:
        ask: ranks some of the cases again, wider, where a group is cut at the end of the ranking.
        ranking: `(C, > k)` of the cases, at least one place wider than what counts.
        targets: `(C,)` catalog indices.
        k: the largest cut-off.
        tie_break: `(N,)` by what the ranker orders items of one score; None for nothing that means
            anything (see `genrec.evaluation.ranking.Ranker`).

    Returns:
        `(C,)` first place of the group, k where the target cannot be among the first k; `(C,)` its size,
        1 there.
    """
    first, size, cut = tied_groups(ranking, targets, k, tie_break)
    rows, width = np.flatnonzero(cut), ranking.k
    while len(rows) and width < WIDEST:
        width = min(width * GROWTH, WIDEST)
        step = max(1, CHUNK_CELLS // width)
        for part in np.split(rows, range(step, len(rows), step)):
            wider = ask(part, width)
            first[part], size[part], cut[part] = tied_groups(wider, targets[part], k, tie_break)
        rows = rows[cut[rows]]
    absent = first >= k
    return np.where(absent, k, first), np.where(absent, 1, size)


def tied_groups(
    ranking: Ranking, targets: NDArray[np.integer[Any]], k: int, tie_break: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Read each target's group from one ranking.

    Returns:
        `(C,)` first place, the ranking's width where the target is absent; `(C,)` size; `(C,)` whether
        the group may go on behind the ranking's end and decides what is counted at k.
    """
    items, width = ranking.items, ranking.k
    same = (ranking.scores[:, 1:] == ranking.scores[:, :-1]) & (items[:, 1:] != -1)
    if tie_break is not None:
        inside = (items >= 0) & (items < len(tie_break))
        second = np.where(inside, tie_break[np.where(inside, items, 0)], np.nan)
        same &= second[:, 1:] == second[:, :-1]
    opens = np.column_stack([np.ones(len(items), bool), ~same])
    start = np.maximum.accumulate(np.where(opens, np.arange(width), 0), axis=1)
    hits = items == np.asarray(targets)[:, None]
    found, place = hits.any(axis=1), hits.argmax(axis=1)
    rows = np.arange(len(items))
    first = np.where(found, start[rows, place], width)
    size = np.where(found, (start == first[:, None]).sum(axis=1), 1)
    last = start[:, -1]
    reaches = (items[:, -1] != -1) & (last < k)
    return first, size, reaches & (~found | (first == last))
