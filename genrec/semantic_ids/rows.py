"""Rows of codes as keys: which are equal, in which order, who shares a prefix; and rows of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "groups_of",
    "number_buckets",
    "prefix_bounds",
    "rank_within",
    "read_blocks",
    "read_rows",
    "row_keys",
]

BLOCK = 1 << 15
"""Most vectors that are read at once."""


def row_keys(codes: NDArray[np.int32]) -> NDArray[np.bytes_]:
    """Return one comparable scalar a row, `(N,)`: equal for equal rows, ordered as the rows are.

    Big-endian bytes, not a mixed-radix integer: 8 levels of 256 codes already overflow int64.
    """
    width = codes.shape[1]
    if not width:
        return np.zeros(len(codes), "S1")
    return np.ascontiguousarray(codes, dtype=">i4").view(f"S{4 * width}")[:, 0]


def prefix_bounds(sorted_keys: NDArray[np.bytes_], prefix: NDArray[np.int32]) -> tuple[int, int]:
    """Return where the rows that begin with `prefix` start and end in ascending row keys."""
    low = np.ascontiguousarray(prefix, dtype=">i4").tobytes()
    high = low.ljust(sorted_keys.itemsize, b"\xff")  # above every code: those stay below 2**31
    first, last = np.array([low, high], sorted_keys.dtype)
    start, end = np.searchsorted(sorted_keys, first), np.searchsorted(sorted_keys, last, "right")
    return int(start), int(end)


def number_buckets(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the items that share codes 0, 1, 2 … in row order; `(N,)` int32."""
    _, bucket = np.unique(row_keys(codes), return_inverse=True)
    return rank_within(bucket, np.arange(len(codes)))


def rank_within(groups: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int32]:
    """Number the members of each group 0, 1, … as they come in `order`; `(N,)` int32."""
    rank = np.empty(len(groups), np.int32)
    by_group = order[np.argsort(groups[order], kind="stable")]
    sorted_groups = groups[by_group]
    starts = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    lengths = np.diff(starts, append=len(groups))
    rank[by_group] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return rank


def groups_of(rows: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Return the positions of equal rows together, one array a distinct row, in row order."""
    if not len(rows):
        return []
    _, group = np.unique(row_keys(rows), return_inverse=True)
    order: NDArray[Any] = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def read_rows(vectors: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return some rows of a table `(N, D)` of numbers, in memory or mapped, as float32 `(M, D)`."""
    return np.asarray(vectors[rows], dtype=np.float32)


def read_blocks(
    vectors: NDArray[Any], rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield `rows` part by part and their vectors; one empty part where there are none."""
    for start in range(0, max(len(rows), 1), BLOCK):
        part = rows[start : start + BLOCK]
        yield part, read_rows(vectors, part)
