"""Last level: a crowded prefix's items spread over it.

LC-Rec (Zheng et al. 2024) maps colliding items to the codes of the last level by optimal transport
with equal shares for all codes, solved by Sinkhorn's iterations. Equal shares of at most one item
are an assignment problem, solved here exactly: different codes at the least total distance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.semantic_ids.rows import groups_of, read_blocks, row_keys

__all__ = ["spread_last_level"]

LARGEST = 1 << 20
"""Most pairs of item and code that one assignment looks at: about a second's work."""


def spread_last_level(
    codes: NDArray[np.int32],
    vectors: NDArray[Any],
    decode: Callable[[NDArray[np.int32]], NDArray[np.float32]],
    size: int,
) -> NDArray[np.int32]:
    """Assign the last codes anew under every prefix whose items collide.

    Items that did not collide may change their last code too, where that brings all of them nearer.
    A prefix of more items than codes keeps some collisions, one of over `LARGEST` pairs all.

    Args:
        codes: `(N, L)`.
        vectors: `(N, D)`, the items' vectors; only those of crowded prefixes are read.
        decode: turns `(M, L)` codes into `(M, D)` vectors.
        size: K of the last level.

    Returns:
        `(N, L)` codes; only the last column differs.
    """
    from scipy.optimize import linear_sum_assignment

    spread = codes.copy()
    for items in _crowded(codes):
        if len(items) * size > LARGEST:
            continue
        tuples = np.tile(codes[items[0]], (size, 1))
        tuples[:, -1] = np.arange(size)
        candidates = decode(tuples)
        blocks = read_blocks(vectors, items)
        products = np.concatenate([block @ candidates.T for _, block in blocks])
        cost = (candidates**2).sum(axis=1) - 2.0 * products
        placed, code = linear_sum_assignment(cost)
        spread[items[placed], -1] = code
    return spread


def _crowded(codes: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Return the items of every prefix of L - 1 codes under which two items share the last code."""
    _, bucket, counts = np.unique(row_keys(codes), return_inverse=True, return_counts=True)
    _, prefix = np.unique(row_keys(codes[:, :-1]), return_inverse=True)
    colliding = np.bincount(prefix, weights=counts[bucket] > 1) > 0
    members = np.flatnonzero(colliding[prefix])
    return [members[group] for group in groups_of(codes[members, :-1])]
