"""Histories written with the codes of near neighbours now and then, so that codes mean neighbourhoods.

A language model that sees an item always by the same codes can learn it as a name. With `code_noise` p an
item of a history is written, with probability p, as another item of the catalog from its nearest
neighbourhood in code space: one that shares as many of its first codes as any other does, and at least one.
It is augmentation by substitution, as in CoSeRec (Liu et al. 2021, arXiv:2108.06479), with likeness read
off the codes. Targets are never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.decoding.scores import Normalization
from genrec.decoding.trie import Trie
from genrec.errors import ConfigError

__all__ = ["CodeNeighbors", "stands_apart"]


def stands_apart(levels: int, normalization: Normalization) -> bool:
    """Whether targets must be written apart from histories with noise, in a second stream.

    In one stream the codes in front of a target's own are a neighbour's. Those that the two share, at least
    the first, are right. Behind them the target is alone among the items of the catalog, since neighbours
    share as much as any do: where the softmax runs over these, nothing is left to predict.
    """
    return levels > 2 and normalization != "catalog"


@dataclass(frozen=True)
class CodeNeighbors:
    """The neighbourhood of each of N items: a run of leaves of the trie around its own semantic ID.

    Attributes:
        first: `(N,)` first leaf of the neighbourhood. own: `(N,)` first leaf of the item's semantic ID.
        same: `(N,)` leaves of its semantic ID, which other items may share; they are no neighbours.
        count: `(N,)` leaves of the neighbourhood without these; 0 for an item that shares its first code
            with no other.
        leaf_item: `(N,)` item at each leaf.
    """

    first: NDArray[np.int64]
    own: NDArray[np.int64]
    same: NDArray[np.int64]
    count: NDArray[np.int64]
    leaf_item: NDArray[np.int64]

    @classmethod
    def of(cls, trie: Trie) -> Self:
        """Find the neighbourhoods of a catalog.

        Raises:
            ConfigError: semantic IDs have a single code, so that none shares a prefix with another.
        """
        if trie.levels < 2:
            raise ConfigError(
                "training.code_noise takes neighbours that share first codes, and semantic IDs of one level "
                "share none: leave it out, or give item_tokenizer.levels"
            )
        trie = trie.to("cpu")
        items = torch.arange(len(trie))
        own, end = trie.leaves(trie.levels, trie.nodes_of(items, trie.levels))
        same = end - own
        first, count = own.clone(), torch.zeros_like(own)
        for depth in range(1, trie.levels):  # deeper neighbourhoods take the place of wider ones
            start, end = trie.leaves(depth, trie.nodes_of(items, depth))
            others = end - start - same
            first = torch.where(others > 0, start, first)
            count = torch.where(others > 0, others, count)
        return cls(*(part.long().numpy() for part in (first, own, same, count, trie.leaf_item)))

    def draw(
        self, items: NDArray[np.integer], share: float, generator: np.random.Generator
    ) -> NDArray[np.int32]:
        """Write each of `items` (any shape) as a neighbour of its own with probability `share`.

        An item without neighbours stays itself.
        """
        count = self.count[items]
        rank = (generator.random(items.shape) * count).astype(np.int64)
        leaf = self.first[items] + rank
        leaf += np.where(leaf >= self.own[items], self.same[items], 0)
        changed = (generator.random(items.shape) < share) & (count > 0)
        return np.where(changed, self.leaf_item[np.where(changed, leaf, 0)], items).astype(np.int32)
