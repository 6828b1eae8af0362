"""Slices: the cases of one kind, since a mean over all hides who is served badly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Cases, Histories

__all__ = ["HEAD_SHARE", "SHORT", "head_items", "slices_of"]

HEAD_SHARE = 0.2
"""Share of the catalog that is the head: the items with the most training events."""
SHORT = 5
"""Most items of a short history."""


def slices_of(
    cases: Cases,
    train: Histories,
    n_items: int,
    same_time: NDArray[np.bool_] | None = None,
) -> dict[str, NDArray[np.bool_]]:
    """Mark the cases of every slice, `(C,)` each.

    ``head`` and ``tail``: the target is, or is not, among the most popular fifth of the catalog (see
    `head_items`). ``short_history`` and ``long_history``: up to five items, or more. ``cold_item``: the
    target has no training event. ``cold_user``: the user has none. ``same_time``: the target has the
    timestamp of the history's last event, so that which of the two came first is the file's word.

    Args:
        cases: C cases.
        train: training histories, one for every user that a case may name.
        n_items: catalog size N.
        same_time: `(C,)` where the log has times (see `genrec.data.split.same_time`).
    """
    counts = np.bincount(train.items, minlength=n_items)
    head = head_items(counts)[cases.targets]
    short = cases.histories.lengths <= SHORT
    marks = {
        "head": head,
        "tail": ~head,
        "short_history": short,
        "long_history": ~short,
        "cold_item": counts[cases.targets] == 0,
        "cold_user": train.lengths[cases.users] == 0,
    }
    return marks if same_time is None else marks | {"same_time": same_time}


def head_items(counts: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Mark the fifth of the catalog with the most training events, `(N,)`.

    Items with as many events as the last of them belong to it too, and items with none never do.

    >>> head_items(np.array([4, 9, 4, 1, 0])).tolist()
    [False, True, False, False, False]
    """
    place = max(1, round(HEAD_SHARE * len(counts)))
    least = np.sort(counts)[::-1][place - 1]
    return np.asarray(counts >= max(int(least), 1))
