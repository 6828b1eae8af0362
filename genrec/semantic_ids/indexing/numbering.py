"""Numbering: an order of the items, digits for each number, and free tuples for newcomers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.semantic_ids.indexing.settings import Order
from genrec.semantic_ids.rows import number_buckets

__all__ = ["FreeTuples", "digit_sizes", "digits", "first_appearance", "numbers"]


def first_appearance(train: Histories, items: int) -> NDArray[np.int64]:
    """Return the `(N,)` items as they first appear in the histories, then the others by index."""
    seen, position = np.unique(train.items, return_index=True)
    unseen = np.setdiff1d(np.arange(items), seen)
    return np.concatenate([seen[np.argsort(position)], unseen]).astype(np.int64)


def numbers(
    paths: NDArray[np.int32], order: Order, train: Histories, seed: int
) -> NDArray[np.int64]:
    """Number the items of each path 0, 1, 2 … in the given order.

    Args:
        paths: `(N, P)`; items with equal rows are numbered together, all of them where P is 0.
        order: which item comes first.
        train: training histories, for ``sequential``.
        seed: for ``random``.

    Returns:
        `(N,)` int64.
    """
    count = len(paths)
    if order == "sequential":
        chosen = first_appearance(train, count)
    elif order == "random":
        chosen = np.random.default_rng(seed).permutation(count)
    else:
        chosen = np.arange(count)
    found = np.empty(count, np.int64)
    found[chosen] = number_buckets(paths[chosen])
    return found


def digit_sizes(capacity: int, codes: int) -> tuple[int, ...]:
    """Return the sizes of the digits that write `capacity` numbers; all but the first are `codes`."""
    length = 1
    while codes**length < capacity:
        length += 1
    return (math.ceil(capacity / codes ** (length - 1)),) + (codes,) * (length - 1)


def digits(values: NDArray[np.int64], sizes: tuple[int, ...]) -> NDArray[np.int32]:
    """Write numbers `(N,)` as digits `(N, T)`, the first the most significant."""
    return np.stack(np.unravel_index(values, sizes), axis=1).astype(np.int32)


class FreeTuples:
    """Gives newcomers tuples that nobody holds, the lowest free one of their path first.

    Args:
        sizes: codes of each of the L levels.
        taken: `(M, L)` tuples that are held.
    """

    def __init__(self, sizes: tuple[int, ...], taken: NDArray[np.int32]) -> None:
        self.sizes = sizes
        # Python's integers: the tuples of ten levels of 256 codes do not fit into 64 bits.
        self.places = [math.prod(sizes[level + 1 :]) for level in range(len(sizes))]
        self.taken = {self._value(row) for row in taken.tolist()}
        self._next: dict[tuple[int, int], int] = {}

    def take(self, path: list[int]) -> list[int]:
        """Return a free tuple that keeps as many of the path's first codes as can be, and hold it.

        Raises:
            InputError: no tuple is free.
        """
        for length in range(len(path), -1, -1):
            low = self._value(path[:length])
            size = math.prod(self.sizes[length:])
            value = self._next.get((low, size), low)
            while value in self.taken:
                value += 1
            self._next[low, size] = value
            if value < low + size:
                self.taken.add(value)
                return [(value // p) % k for p, k in zip(self.places, self.sizes, strict=True)]
        raise InputError(
            f"all {math.prod(self.sizes)} tuples of codes {list(self.sizes)} are held: fit again on "
            "the grown catalog, or fit with more room (item_tokenizer.spare)"
        )

    def _value(self, codes: list[int]) -> int:
        return sum(c * p for c, p in zip(codes, self.places[: len(codes)], strict=True))
