"""Collisions: items with the same codes, and the policies that tell them apart.

``nearest_free`` keeps L levels and gives every surplus item of a bucket a free tuple whose
reconstruction is near its vector. ``sinkhorn`` first spreads the items of a crowded prefix over its
last level (LC-Rec; Zheng et al. 2024): more items move, each less far. ``extra_level`` (TIGER;
Rajput et al. 2023) adds a level that numbers the items of each bucket: nobody's codes change, but
the last code means nothing. ``refuse`` is for those who would rather change the item tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.last_level import spread_last_level
from genrec.semantic_ids.nearest_free import nearest_free, require_room
from genrec.semantic_ids.rows import number_buckets, row_keys

__all__ = ["POLICIES", "Policy", "Resolution", "require_distinct", "resolve"]

Policy: TypeAlias = Literal["nearest_free", "sinkhorn", "extra_level", "refuse"]
POLICIES: tuple[str, ...] = get_args(Policy)
"""Their names, the default first."""


@dataclass(frozen=True)
class Resolution:
    """What a policy did.

    Attributes:
        codes: `(N, L')` int32, unique rows; L' is L + 1 under ``extra_level``.
        codebook_sizes: the size of each of the L' levels.
        moved: `(S,)` int64, the items whose tuple another item kept or whose last code changed,
            ascending.
    """

    codes: NDArray[np.int32]
    codebook_sizes: tuple[int, ...]
    moved: NDArray[np.int64]


def resolve(
    codes: NDArray[np.int32],
    vectors: NDArray[Any],
    tokenizer: ItemTokenizer,
    policy: Policy,
    names: Sequence[str] | None = None,
) -> Resolution:
    """Make the rows of `codes` `(N, L)` unique.

    Args:
        codes: what `tokenizer` gave for `vectors`.
        vectors: `(N, D)`; ``nearest_free`` and ``sinkhorn`` measure distances to those of items that
            collide, and read no others.
        tokenizer: gives the codebook sizes and the reconstructions.
        policy: one of `POLICIES`.
        names: N names of the items, for the message of ``refuse``.

    Raises:
        InputError: there are fewer code tuples than items, items collide under ``refuse``, or there
            is no such policy.
    """
    sizes = tokenizer.codebook_sizes
    if policy == "extra_level":
        rank = number_buckets(codes)
        extra = int(rank.max(initial=0)) + 1
        return Resolution(np.column_stack([codes, rank]), (*sizes, extra), np.flatnonzero(rank))
    if policy == "refuse":
        require_distinct(codes, names)
        return Resolution(codes, sizes, np.empty(0, np.int64))
    if policy not in POLICIES:
        raise InputError(f"no collision policy {policy!r}; known: {', '.join(POLICIES)}")
    require_room(len(codes), sizes)
    own = codes
    if policy == "sinkhorn":
        own = spread_last_level(codes, vectors, tokenizer.decode, sizes[-1])
    nobody = np.empty((0, len(sizes)), np.int32)
    unique, _ = nearest_free(own, vectors, tokenizer.decode, sizes, nobody)
    return Resolution(unique, sizes, np.flatnonzero((unique != codes).any(axis=1)))


def require_distinct(codes: NDArray[np.int32], names: Sequence[str] | None = None) -> None:
    """Refuse codes `(N, L)` of which two rows are equal.

    Raises:
        InputError: says how many items collide, names the most crowded tuple's, and what to change.
    """
    _, bucket, counts = np.unique(row_keys(codes), return_inverse=True, return_counts=True)
    colliding = int(counts[counts > 1].sum())
    if not colliding:
        return
    rows = np.flatnonzero(bucket == counts.argmax())
    shown = [repr(names[row]) if names is not None else f"row {row}" for row in rows[:3]]
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    raise InputError(
        f"{colliding} of {len(codes)} items share their codes with another, and the collision policy "
        f"is 'refuse'; the most crowded tuple, {codes[rows[0]].tolist()}, is that of {len(rows)}: "
        f"{', '.join(shown)}{more}. Use more levels or more codes a level, give these items more "
        f"text, or choose a policy that tells them apart, such as nearest_free"
    )
