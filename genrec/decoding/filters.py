"""Request filters, answered exactly at every node of the trie.

A filter never waits for the leaves: a node is dead when no item below it may be returned. Because the
items below a node are consecutive leaves, that is a count over a range, and a count is two binary searches
in a sorted list of leaves: one list for what all requests may return (items in stock), one a request for
what it must not (items already seen). So a beam of width W >= k always ends with k distinct allowed items
when k exist, and a filter costs what its lists are long, not what the catalog is large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.decoding.trie import Trie

__all__ = ["LeafFilter"]


@dataclass(frozen=True)
class LeafFilter:
    """Which leaves each of R requests may return.

    Attributes:
        allowed: `(A,)` sorted leaves that any request may return; None for all.
        denied: `(R, S)` each request's forbidden leaves among those, sorted and padded with N; None when no
            request has any.
    """

    allowed: Tensor | None
    denied: Tensor | None

    @classmethod
    def build(
        cls,
        trie: Trie,
        allow: NDArray[np.integer] | None = None,
        deny: Sequence[NDArray[np.integer]] | None = None,
    ) -> LeafFilter | None:
        """Make the filter of R requests; None when nothing is filtered.

        Args:
            trie: the catalog's tree.
            allow: items that any request may return; None for all.
            deny: for each request, the items it must not return.
        """
        shared = None if allow is None else cls(_leaves_of(trie, np.asarray(allow, np.int64)), None)
        return cls.denying(trie, shared, deny)

    @classmethod
    def denying(
        cls,
        trie: Trie,
        shared: LeafFilter | None,
        deny: Sequence[NDArray[np.integer]] | None,
    ) -> LeafFilter | None:
        """Add to what all requests share what each of some requests must not return."""
        if deny is None or not any(len(items) for items in deny):
            return shared
        allowed = None if shared is None else shared.allowed
        return cls(allowed, _denied_leaves(trie, allowed, deny))

    def alive(self, trie: Trie, depth: int, nodes: Tensor) -> Tensor:
        """Whether each node `(R, …)` of `depth` (L + 1: a leaf) has an allowed leaf below it."""
        first, end = (nodes, nodes + 1) if depth > trie.levels else trie.leaves(depth, nodes)
        count = end - first
        if self.allowed is not None:
            count = torch.searchsorted(self.allowed, end) - torch.searchsorted(self.allowed, first)
        if self.denied is not None:
            rows = len(first)
            low = torch.searchsorted(self.denied, first.reshape(rows, -1).contiguous())
            high = torch.searchsorted(self.denied, end.reshape(rows, -1).contiguous())
            count = count - (high - low).view(first.shape)
        return count > 0


def _leaves_of(trie: Trie, items: NDArray[np.int64]) -> Tensor:
    leaves = trie.item_leaf[torch.from_numpy(items).to(trie.item_leaf.device)]
    sorted_leaves: Tensor = torch.unique(leaves)
    return sorted_leaves.long()


def _denied_leaves(
    trie: Trie, allowed: Tensor | None, deny: Sequence[NDArray[np.integer]]
) -> Tensor:
    unique = [np.unique(np.asarray(items, np.int64)) for items in deny]
    padded = np.full((len(unique), max(map(len, unique))), -1, np.int64)
    for row, items in zip(padded, unique, strict=True):
        row[: len(items)] = items
    item = torch.from_numpy(padded).to(trie.item_leaf.device)
    leaf = trie.item_leaf[item.clamp(min=0)].long()
    counts = item >= 0
    if allowed is not None:  # a leaf outside the shared set must not be subtracted twice
        counts &= torch.isin(leaf, allowed)
    return torch.where(counts, leaf, len(trie)).sort(dim=1).values
