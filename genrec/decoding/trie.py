"""The catalog's semantic IDs as a prefix tree, held in flat arrays.

Items are sorted by their codes once. A node of depth `d` is then a run of consecutive items that share
their first `d` codes, so three facts make every operation a look-up instead of a walk:

* nodes of a depth are numbered in sorted order, so the children of a node are consecutive numbers;
* the items below a node are consecutive *leaves* (positions in the sorted order);
* how many of them a filter leaves over is the difference of two counts at the ends of that run.

The layout follows the compressed-sparse-row idea of STATIC
(youtube/static-constraint-decoding). It differs in that a node's state is one integer and that filters are
answered exactly per request from leaf ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.errors import InputError

__all__ = ["Trie"]


@dataclass(frozen=True)
class Trie:
    """Prefix tree over N unique semantic IDs of L codes, one flat array a fact.

    Attributes:
        codebook_sizes: codes of each level, `K_0 … K_{L-1}`.
        code: for each depth `d` in 1..L (at position `d - 1`), the last code of every node, `(n_d,)`.
        child_start: for each depth `d` in 0..L-1, `(n_d + 1,)`: node `j` has the children
            ``child_start[d][j] … child_start[d][j + 1] - 1`` at depth `d + 1`.
        leaf_start: for each depth `d` in 0..L, `(n_d + 1,)`: node `j` covers the leaves
            ``leaf_start[d][j] … leaf_start[d][j + 1] - 1``.
        widest: for each depth `d` in 0..L-1, the largest number of children of one node.
        leaf_item: `(N,)` item at each leaf. item_leaf: `(N,)` its inverse.
    """

    codebook_sizes: tuple[int, ...]
    code: tuple[Tensor, ...]
    child_start: tuple[Tensor, ...]
    leaf_start: tuple[Tensor, ...]
    widest: tuple[int, ...]
    leaf_item: Tensor
    item_leaf: Tensor

    @classmethod
    def build(
        cls,
        codes: NDArray[np.integer],
        codebook_sizes: tuple[int, ...],
        device: torch.device | str = "cpu",
    ) -> Trie:
        """Build the tree of `codes` `(N, L)`; item `i` is row `i`.

        Raises:
            InputError: no items, a code outside its level's range, or two items with the same codes.
        """
        codes = np.asarray(codes)
        _check(codes, codebook_sizes)
        order = np.lexsort(codes.T[::-1])
        ranked = codes[order]
        first = _first_rows(ranked)
        if not first[:, -1].all():
            twin = int(np.flatnonzero(~first[:, -1])[0])
            raise InputError(
                f"items {int(order[twin - 1])} and {int(order[twin])} share the semantic ID "
                f"{tuple(int(c) for c in ranked[twin])}: resolve collisions before building a trie"
            )
        starts = [np.zeros(1, np.int64)] + [
            np.flatnonzero(first[:, d]) for d in range(codes.shape[1])
        ]
        leaf_start = [np.append(s, len(codes)) for s in starts]
        child_start = [np.searchsorted(starts[d + 1], leaf_start[d]) for d in range(codes.shape[1])]
        item_leaf = np.empty(len(codes), np.int64)
        item_leaf[order] = np.arange(len(codes))

        def place(array: NDArray[np.integer]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        return cls(
            codebook_sizes=tuple(codebook_sizes),
            code=tuple(
                place(ranked[starts[d + 1], d].astype(np.int64)) for d in range(codes.shape[1])
            ),
            child_start=tuple(place(c) for c in child_start),
            leaf_start=tuple(place(s) for s in leaf_start),
            widest=tuple(int(np.diff(c).max()) for c in child_start),
            leaf_item=place(order.astype(np.int64)),
            item_leaf=place(item_leaf),
        )

    @property
    def levels(self) -> int:
        """Number of codes in a semantic ID, L."""
        return len(self.codebook_sizes)

    def __len__(self) -> int:
        return len(self.leaf_item)

    def children(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """List the children of `nodes` (any shape `S`) of one depth, padded to the widest node.

        Returns:
            Child numbers `(*S, C)` at ``depth + 1`` and a mask `(*S, C)` that is False on padding, where
            `C` is ``widest[depth]``; padded entries hold an arbitrary valid number.
        """
        start = self.child_start[depth]
        first, end = start[nodes], start[nodes + 1]
        child = first[..., None] + torch.arange(self.widest[depth], device=first.device)
        real = child < end[..., None]
        return child.clamp(max=len(self.code[depth]) - 1), real

    def child_mask(self, depth: int, nodes: Tensor) -> Tensor:
        """Mask `(*S, K)` of the codes that may follow `nodes` (shape `S`) of `depth`."""
        child, real = self.children(depth, nodes)
        shape = (*nodes.shape, self.codebook_sizes[depth])
        mask = torch.zeros(shape, dtype=torch.bool, device=nodes.device)
        # Padding repeats a code of some other node: `any`-scatter keeps a real child from being erased.
        return mask.scatter_reduce(-1, self.code[depth][child], real, reduce="amax")

    def nodes_of(self, items: Tensor, depth: int) -> Tensor:
        """Node of `depth` above each of `items` (any shape)."""
        leaf = self.item_leaf[items]
        return torch.searchsorted(self.leaf_start[depth], leaf, right=True) - 1


def _check(codes: NDArray[np.integer], codebook_sizes: tuple[int, ...]) -> None:
    if codes.ndim != 2 or not len(codes) or codes.shape[1] != len(codebook_sizes):
        raise InputError(
            f"a trie needs codes of shape (items, {len(codebook_sizes)}) with at least one item, "
            f"got {codes.shape}"
        )
    low, high = codes.min(axis=0), codes.max(axis=0)
    for level, size in enumerate(codebook_sizes):
        if low[level] < 0 or high[level] >= size:
            raise InputError(
                f"level {level} has codes from {low[level]} to {high[level]}, allowed are 0 to {size - 1}"
            )


def _first_rows(ranked: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark `(N, L)` where a sorted row opens a new prefix of length 1 … L."""
    first = np.ones(ranked.shape, dtype=bool)
    first[1:] = np.logical_or.accumulate(ranked[1:] != ranked[:-1], axis=1)
    return first
