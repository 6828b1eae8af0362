"""Nearest free tuple, for every item whose own is held by another.

Exactly the surplus moves: (bucket size - 1) items of every bucket, no scheme can move fewer. The
item nearest to its bucket's reconstruction stays; the others go, one after the other, to the free
tuple whose reconstruction is nearest to their vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.semantic_ids.rows import (
    groups_of,
    prefix_bounds,
    rank_within,
    read_blocks,
    read_rows,
    row_keys,
)

__all__ = ["nearest_free", "require_room"]

Codes: TypeAlias = NDArray[np.int32]
Decode: TypeAlias = Callable[[Codes], NDArray[np.float32]]

_NONE = np.empty(0, np.int64)
BLOCK = 1 << 17
"""Most tuples whose reconstructions are looked at together."""
PAIRS = 1 << 28
"""Most pairs of item and tuple that are, some seconds' work: a larger crowd is placed by parts."""
AT_ONCE = 1 << 24
"""Most distances in memory."""


def nearest_free(
    codes: Codes,
    vectors: NDArray[Any],
    decode: Decode,
    sizes: tuple[int, ...],
    taken: Codes,
) -> tuple[Codes, NDArray[np.int64]]:
    """Give every surplus item the nearest free tuple, trying to change as few levels as can be.

    First the last level alone is changed; where all those tuples are taken, the last two, and so
    on. Among the tuples tried together the nearest to the item's vector wins, and the lowest of
    equally near ones. More than `BLOCK` tuples, or `PAIRS` of items and tuples, are tried part by
    part, the nearest parts first, so that time grows with the items and not with their square.

    Args:
        codes: `(N, L)`, the tuples the items would have by themselves.
        vectors: `(N, D)`, the items' vectors, finite; only those of items whose tuple is not theirs
            alone are read, and not all at once.
        decode: turns `(M, L)` codes into `(M, D)` vectors.
        sizes: the size of each level.
        taken: `(M, L)`, unique tuples that others hold and keep.

    Returns:
        The unique codes `(N, L)` and the positions of the surplus items, ascending.

    Raises:
        InputError: there are fewer tuples than items.
    """
    require_room(len(codes) + len(taken), sizes)
    surplus = _surplus(codes, vectors, decode, taken)
    codes = codes.copy()
    settled = np.concatenate([taken, np.delete(codes, surplus, axis=0)])
    waiting = surplus
    for depth in range(1, len(sizes) + 1):
        if not len(waiting):
            break
        search = _Search(decode, sizes, depth, settled)
        groups = groups_of(codes[waiting, : len(sizes) - depth])
        unplaced = np.concatenate([search.place(waiting[g], codes, vectors) for g in groups])
        settled = np.concatenate([settled, codes[np.setdiff1d(waiting, unplaced)]])
        waiting = unplaced
    return codes, surplus


def require_room(items: int, sizes: tuple[int, ...]) -> None:
    """Refuse more items than there are tuples.

    Raises:
        InputError: says how many tuples are needed and how many there are.
    """
    tuples = math.prod(sizes)
    if tuples < items:
        raise InputError(
            f"{items} items need {items} different semantic IDs, but codebooks of sizes "
            f"{list(sizes)} make only {tuples}: use more levels or more codes a level, or build "
            f"with the collision policy extra_level"
        )


class _Search:
    """Looks for free tuples that keep the first L - depth codes."""

    def __init__(self, decode: Decode, sizes: tuple[int, ...], depth: int, settled: Codes) -> None:
        self.decode, self.sizes, self.depth = decode, sizes, depth
        keys = row_keys(settled)
        order = np.argsort(keys, kind="stable")
        self.settled, self.keys = settled[order], keys[order]

    def place(
        self, items: NDArray[np.int64], codes: Codes, vectors: NDArray[Any]
    ) -> NDArray[np.int64]:
        """Write new codes of `items`, which share a prefix, into `codes`; return who is left."""
        prefix = codes[items[0], : len(self.sizes) - self.depth]
        return self._fill(prefix, items, codes, vectors)

    def _fill(
        self,
        prefix: Codes,
        items: NDArray[np.int64],
        codes: Codes,
        vectors: NDArray[Any],
    ) -> NDArray[np.int64]:
        level = len(prefix)
        tuples = math.prod(self.sizes[level:])
        small = tuples <= BLOCK and tuples * len(items) <= PAIRS
        if small or level == len(self.sizes) - 1:
            free = self._free(prefix)
            chosen = _NONE
            if len(free):
                chosen = _nearest_distinct(vectors, items, self.decode(free))
            codes[items[: len(chosen)]] = free[chosen]
            return items[len(chosen) :]
        for code in self._nearest_codes(prefix, codes[items[0]], _mean(vectors, items)):
            items = self._fill(np.append(prefix, code).astype(np.int32), items, codes, vectors)
            if not len(items):
                break
        return items

    def _free(self, prefix: Codes) -> Codes:
        """Return the tuples under `prefix` that nobody holds, `(F, L)`, in lexicographic order."""
        level = len(prefix)
        low, high = prefix_bounds(self.keys, prefix)
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


def _surplus(
    codes: Codes, vectors: NDArray[Any], decode: Decode, taken: Codes
) -> NDArray[np.int64]:
    """Return the items that cannot keep their codes: taken already, or another item is nearer."""
    keys = row_keys(codes)
    held = np.isin(keys, row_keys(taken))
    _, bucket, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    contested = np.flatnonzero(sizes[bucket] > 1)
    rank = np.zeros(len(codes), np.int32)
    blocks = read_blocks(vectors, contested)
    errors = [((block - decode(codes[part])) ** 2).sum(axis=1) for part, block in blocks]
    error = np.concatenate(errors)
    rank[contested] = rank_within(bucket[contested], np.lexsort((contested, error)))
    return np.flatnonzero(held | (rank > 0))


def _mean(vectors: NDArray[Any], items: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean vector `(D,)` of some items."""
    sums = [block.sum(axis=0) for _, block in read_blocks(vectors, items)]
    return np.asarray(np.sum(sums, axis=0) / np.float32(len(items)), np.float32)


def _nearest_distinct(
    vectors: NDArray[Any], items: NDArray[np.int64], candidates: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Give each of the items in turn its nearest candidate not given yet, while there are any.

    Returns:
        `(min(I, F),)` int64, positions in `candidates`; the remaining items get none.
    """
    chosen = np.empty(min(len(items), len(candidates)), np.int64)
    penalty = (candidates**2).sum(axis=1)
    rows_at_once = max(1, AT_ONCE // len(candidates))
    for start in range(0, len(chosen), rows_at_once):
        part = read_rows(vectors, items[start : min(start + rows_at_once, len(chosen))])
        distances = -2.0 * (part @ candidates.T)
        for offset, row in enumerate(distances):
            best = int(np.argmin(row + penalty))
            chosen[start + offset] = best
            penalty[best] = np.inf
    return chosen
