"""Users of a log: which of them have an interaction, and which are words for none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["said_none", "with_events"]

_WORDS = ("nan", "NaN", "None", "none", "null", "NULL", "NA", "N/A", "<NA>", r"\N")
"""What other programs write where there is no id."""


def said_none(ids: pa.Array, users: NDArray[np.int32], kind: str) -> list[str]:
    """Name the users that may be none, such as ``nan``, if they have more than one interaction.

    Args:
        ids: `(U,)` of all users.
        users: `(M,)` positions in it.
        kind: what the interactions are called.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    notes = []
    for word in _WORDS:
        user = pc.index(ids, pa.scalar(word, ids.type)).as_py()
        if user >= 0 and (count := int(np.count_nonzero(users == user))) > 1:
            notes.append(
                f"{count:,} {kind} have the user '{word}': if that means none, drop them before"
            )
    return notes


def with_events(
    ids: pa.Array, users: NDArray[np.int32], keeps_all: bool
) -> tuple[pa.Array, NDArray[np.int32], list[str]]:
    """Count the users without an event, and leave them out unless all are kept.

    Args:
        ids: `(U,)` of all users. users: `(M,)` positions in it, of the events that are left.
        keeps_all: whether users without an event stay.

    Returns:
        The ids, those left in order of their first event; the positions in these; what there is to say.
    """
    first = np.full(len(ids), len(users), np.int64)
    first[users[::-1]] = np.arange(len(users))[::-1]  # of equal places the last assignment holds
    order = np.argsort(first, kind="stable")
    order = order[: np.count_nonzero(first < len(users))]
    missing = len(ids) - len(order)
    become = "their histories are empty" if keeps_all else "they are left out"
    notes = [f"{missing:,} of {len(ids):,} users have no interaction left: {become}"]
    if keeps_all:
        return ids, users, notes if missing else []
    index = np.empty(len(ids), np.int32)
    index[order] = np.arange(len(order), dtype=np.int32)
    return ids.take(order), index[users], notes if missing else []
