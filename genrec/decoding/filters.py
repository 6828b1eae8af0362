"""Request filters, answered exactly at every node of the trie.

A filter never waits for the leaves: a node is dead when no item below it may be returned. Because the
items below a node are consecutive leaves, that is a count over a range: a prefix sum for what all
requests share (items in stock), a binary search in each request's own sorted leaves (items already
seen). So a beam of width W >= k always ends with k distinct allowed items when k exist.
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
        shared: `(N + 1,)` prefix sum over leaves of "all requests may return this".
        denied: `(R, S)` each request's own forbidden leaves among the shared ones, sorted and padded
            with N; None when no request has any.
    """

    shared: Tensor
    denied: Tensor | None

    @classmethod
    def build(
        cls,
        trie: Trie,
        allow: NDArray[np.integer] | None = None,
        deny: Sequence[NDArray[np.integer]] | None = None,
    ) -> LeafFilter | None:
        """Make the filter of a batch; None when nothing is filtered.

        Args:
            trie: the catalog's tree.
            allow: items that any request may return; None for all.
            deny: for each request, the items it must not return.
        """
        deny = deny if deny is not None and any(len(items) for items in deny) else None
        if allow is None and deny is None:
            return None
        device = trie.item_leaf.device
        allowed = torch.full((len(trie),), allow is None, device=device)
        if allow is not None:
            allowed[trie.item_leaf[torch.as_tensor(np.asarray(allow, np.int64), device=device)]] = (
                True
            )
        shared = torch.cat([allowed.new_zeros(1, dtype=torch.int64), allowed.long().cumsum(0)])
        return cls(shared, None if deny is None else _denied_leaves(trie, allowed, deny))

    def alive(self, first: Tensor, end: Tensor) -> Tensor:
        """Whether any allowed leaf lies in ``first <= leaf < end``; all `(R, …)`, row r for request r."""
        count = self.shared[end] - self.shared[first]
        if self.denied is not None:
            rows = len(first)
            low = torch.searchsorted(self.denied, first.reshape(rows, -1).contiguous())
            high = torch.searchsorted(self.denied, end.reshape(rows, -1).contiguous())
            count = count - (high - low).view(first.shape)
        return count > 0

    def rows(self, index: Tensor) -> LeafFilter:
        """The filter of a part of the batch."""
        return self if self.denied is None else LeafFilter(self.shared, self.denied[index])


def _denied_leaves(trie: Trie, allowed: Tensor, deny: Sequence[NDArray[np.integer]]) -> Tensor:
    unique = [np.unique(np.asarray(items, np.int64)) for items in deny]
    width = max(len(items) for items in unique)
    padded = np.full((len(unique), width), -1, np.int64)
    for row, items in zip(padded, unique, strict=True):
        row[: len(items)] = items
    item = torch.from_numpy(padded).to(allowed.device)
    leaf = trie.item_leaf[item.clamp(min=0)]
    counts = (item >= 0) & allowed[
        leaf
    ]  # a leaf outside the shared set must not be subtracted twice
    return torch.where(counts, leaf, len(trie)).sort(dim=1).values
