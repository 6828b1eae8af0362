"""Collisions: items with the same codes, and the two policies that tell them apart.

``extra_level`` (TIGER; Rajput et al. 2023) adds a level that numbers the items of each bucket:
nobody's codes change, but the last code means nothing. ``nearest_free`` keeps L levels and gives
every surplus item of a bucket a free tuple whose reconstruction is near its vector; the item
nearest to the bucket's own reconstruction stays. Both move exactly (bucket size - 1) items of every
bucket.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from genrec.errors import InputError
from genrec.semantic_ids.base import ItemTokenizer

__all__ = ["Policy", "Resolution", "nearest_free", "number_buckets", "resolve", "row_keys"]

Policy: TypeAlias = Literal["extra_level", "nearest_free"]
Codes: TypeAlias = NDArray[np.int32]
Decode: TypeAlias = Callable[[Codes], NDArray[np.float32]]

_NONE = np.empty(0, np.int64)
BLOCK = 1 << 17
"""Most tuples whose reconstructions are compared at once."""


@dataclass(frozen=True)
class Resolution:
    """What a policy did.

    Attributes:
        codes: `(N, L')` int32, unique rows; L' is L + 1 under ``extra_level``.
        codebook_sizes: the size of each of the L' levels.
        moved: `(S,)` int64, the surplus items, ascending.
    """

    codes: Codes
    codebook_sizes: tuple[int, ...]
    moved: NDArray[np.int64]


def resolve(
    codes: Codes, vectors: NDArray[np.float32], tokenizer: ItemTokenizer, policy: Policy
) -> Resolution:
    """Make the rows of `codes` `(N, L)` unique.

    Args:
        codes: what `tokenizer` gave for `vectors`.
        vectors: `(N, D)`, used by ``nearest_free`` only.
        tokenizer: gives the codebook sizes and the reconstructions.
        policy: ``extra_level`` or ``nearest_free``.

    Raises:
        InputError: there are fewer code tuples than items, or no such policy.
    """
    sizes = tokenizer.codebook_sizes
    if policy == "extra_level":
        rank = number_buckets(codes)
        extra = int(rank.max(initial=0)) + 1
        return Resolution(np.column_stack([codes, rank]), (*sizes, extra), np.flatnonzero(rank))
    if policy == "nearest_free":
        taken = np.empty((0, len(sizes)), np.int32)
        unique, moved = nearest_free(codes, vectors, tokenizer.decode, sizes, taken)
        return Resolution(unique, sizes, moved)
    raise InputError(f"no collision policy {policy!r}; known: extra_level, nearest_free")


def number_buckets(codes: Codes) -> NDArray[np.int32]:
    """Number the items that share codes 0, 1, 2 … in row order; `(N,)` int32."""
    _, bucket = np.unique(row_keys(codes), return_inverse=True)
    return _rank_within(bucket, np.arange(len(codes)))


def nearest_free(
    codes: Codes,
    vectors: NDArray[np.float32],
    decode: Decode,
    sizes: tuple[int, ...],
    taken: Codes,
) -> tuple[Codes, NDArray[np.int64]]:
    """Give every surplus item the nearest free tuple, trying to change as few levels as can be.

    First the last level alone is changed; where all those tuples are taken, the last two, and so
    on. Among the tuples tried together the nearest to the item's vector wins, and the lowest of
    equally near ones. More than `BLOCK` tuples are tried part by part, the nearest parts first.

    Args:
        codes: `(N, L)`, the tuples the items would have by themselves.
        vectors: `(N, D)`, the items' vectors.
        decode: turns `(M, L)` codes into `(M, D)` vectors.
        sizes: the size of each level.
        taken: `(M, L)`, unique tuples that others hold and keep.

    Returns:
        The unique codes `(N, L)` and the positions of the surplus items, ascending.

    Raises:
        InputError: there are fewer tuples than items.
    """
    _require_room(len(codes) + len(taken), sizes)
    surplus = _surplus(codes, vectors, decode, taken)
    codes = codes.copy()
    settled = np.concatenate([taken, np.delete(codes, surplus, axis=0)])
    waiting = surplus
    for depth in range(1, len(sizes) + 1):
        if not len(waiting):
            break
        search = _Search(decode, sizes, depth, settled)
        groups = _groups(codes[waiting, : len(sizes) - depth])
        unplaced = np.concatenate([search.place(waiting[g], codes, vectors) for g in groups])
        settled = np.concatenate([settled, codes[np.setdiff1d(waiting, unplaced)]])
        waiting = unplaced
    return codes, surplus


class _Search:
    """Looks for free tuples that keep the first L - depth codes."""

    def __init__(self, decode: Decode, sizes: tuple[int, ...], depth: int, settled: Codes) -> None:
        self.decode, self.sizes, self.depth = decode, sizes, depth
        self.settled = settled[np.argsort(row_keys(settled), kind="stable")]

    def place(
        self, items: NDArray[np.int64], codes: Codes, vectors: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Write new codes of `items`, which share a prefix, into `codes`; return who is left."""
        prefix = codes[items[0], : len(self.sizes) - self.depth]
        return self._fill(prefix, items, codes, vectors)

    def _fill(
        self,
        prefix: Codes,
        items: NDArray[np.int64],
        codes: Codes,
        vectors: NDArray[np.float32],
    ) -> NDArray[np.int64]:
        level = len(prefix)
        if math.prod(self.sizes[level:]) <= BLOCK or level == len(self.sizes) - 1:
            free = self._free(prefix)
            chosen = _nearest_distinct(vectors[items], self.decode(free)) if len(free) else _NONE
            codes[items[: len(chosen)]] = free[chosen]
            return items[len(chosen) :]
        for code in self._nearest_codes(prefix, codes[items[0]], vectors[items].mean(axis=0)):
            items = self._fill(np.append(prefix, code).astype(np.int32), items, codes, vectors)
            if not len(items):
                break
        return items

    def _free(self, prefix: Codes) -> Codes:
        """Return the tuples under `prefix` that nobody holds, `(F, L)`, in lexicographic order."""
        level = len(prefix)
        low, high = _range_of(self.settled, prefix)
        shape = self.sizes[level:]
        free = np.ones(math.prod(shape), dtype=bool)
        free[np.ravel_multi_index(tuple(self.settled[low:high, level:].T), shape)] = False
        tails = np.stack(np.unravel_index(np.flatnonzero(free), shape), axis=1).astype(np.int32)
        return np.concatenate([np.tile(prefix, (len(tails), 1)), tails], axis=1)

    def _nearest_codes(
        self, prefix: Codes, own: Codes, vector: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Order the codes that may follow `prefix` by how near they come, the rest being `own`."""
        level = len(prefix)
        tuples = np.tile(own, (self.sizes[level], 1))
        tuples[:, :level] = prefix
        tuples[:, level] = np.arange(self.sizes[level])
        distances = ((self.decode(tuples) - vector) ** 2).sum(axis=1)
        return np.argsort(distances, kind="stable")


def row_keys(codes: Codes) -> NDArray[np.bytes_]:
    """Return one comparable scalar a row, `(N,)`: equal for equal rows, ordered as the rows are.

    Big-endian bytes, not a mixed-radix integer: 8 levels of 256 codes already overflow int64.
    """
    width = codes.shape[1]
    if not width:
        return np.zeros(len(codes), "S1")
    return np.ascontiguousarray(codes, dtype=">i4").view(f"S{4 * width}")[:, 0]


def _surplus(
    codes: Codes, vectors: NDArray[np.float32], decode: Decode, taken: Codes
) -> NDArray[np.int64]:
    """Return the items that cannot keep their codes: taken already, or another item is nearer."""
    keys = row_keys(codes)
    held = np.isin(keys, row_keys(taken))
    _, bucket, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    contested = np.flatnonzero(sizes[bucket] > 1)
    rank = np.zeros(len(codes), np.int32)
    error = ((vectors[contested] - decode(codes[contested])) ** 2).sum(axis=1)
    rank[contested] = _rank_within(bucket[contested], np.lexsort((contested, error)))
    return np.flatnonzero(held | (rank > 0))


def _rank_within(groups: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int32]:
    """Number the members of each group 0, 1, … as they come in `order`; `(N,)` int32."""
    rank = np.empty(len(groups), np.int32)
    by_group = order[np.argsort(groups[order], kind="stable")]
    sorted_groups = groups[by_group]
    starts = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    lengths = np.diff(starts, append=len(groups))
    rank[by_group] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return rank


def _groups(prefixes: Codes) -> list[NDArray[np.int64]]:
    """Split row positions by equal rows."""
    _, group = np.unique(row_keys(prefixes), return_inverse=True)
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _range_of(rows: Codes, prefix: Codes) -> tuple[int, int]:
    """Return where the rows that begin with `prefix` start and end in the sorted `rows`."""
    heads = row_keys(rows[:, : len(prefix)])
    key = row_keys(prefix[None])[0]
    return int(np.searchsorted(heads, key)), int(np.searchsorted(heads, key, side="right"))


def _nearest_distinct(
    vectors: NDArray[np.float32], candidates: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Give each vector in turn its nearest candidate not given yet, while there are any.

    Returns:
        `(min(N, F),)` int64, positions in `candidates`; the remaining vectors get none.
    """
    chosen = np.empty(min(len(vectors), len(candidates)), np.int64)
    penalty = (candidates**2).sum(axis=1)
    rows_at_once = max(1, (1 << 24) // len(candidates))
    for start in range(0, len(chosen), rows_at_once):
        part = vectors[start : min(start + rows_at_once, len(chosen))]
        distances = -2.0 * (part @ candidates.T)
        for offset, row in enumerate(distances):
            best = int(np.argmin(row + penalty))
            chosen[start + offset] = best
            penalty[best] = np.inf
    return chosen


def _require_room(items: int, sizes: tuple[int, ...]) -> None:
    tuples = math.prod(sizes)
    if tuples < items:
        raise InputError(
            f"{items} items need {items} different semantic IDs, but codebooks of sizes "
            f"{list(sizes)} make only {tuples}: use more levels or more codes a level, or build "
            f"with the collision policy extra_level"
        )
