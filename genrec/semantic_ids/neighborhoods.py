"""Neighbourhoods: do near vectors have near codes? Neighbours by prefix beside neighbours by cosine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.semantic_ids.base import as_vectors

__all__ = ["Neighborhoods", "neighborhoods"]


@dataclass(frozen=True)
class Neighborhoods:
    """How much of an item's neighbourhood its codes keep.

    Attributes:
        k: how many neighbours are compared.
        items: how many items were looked at, drawn at random.
        overlap: mean share of the k nearest items by cosine that are also among the k that share
            the longest prefix, in [0, 1]; where a tie is cut at k, its expectation.
        chance: the same for k items drawn at random.
    """

    k: int
    items: int
    overlap: float
    chance: float


def neighborhoods(
    codes: NDArray[np.int32], vectors: ArrayLike, k: int = 10, sample: int = 500, seed: int = 0
) -> Neighborhoods:
    """Compare neighbours in code space with neighbours in vector space on a sample of items.

    Args:
        codes: `(N, L)`, any level order in which prefixes mean something.
        vectors: `(N, D)`.
        k: neighbours an item; fewer in a smaller catalog.
        sample: most items to look at.
        seed: of the sample.
    """
    table = as_vectors(vectors)
    k, others = min(k, len(table) - 1), len(table) - 1
    if k < 1:
        return Neighborhoods(0, 0, 0.0, 0.0)
    unit = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    drawn = np.random.default_rng(seed).permutation(len(table))[:sample]
    kept = [_kept(item, codes, unit, k) for item in drawn]
    return Neighborhoods(k, len(drawn), float(np.mean(kept)), k / others)


def _kept(item: int, codes: NDArray[np.int32], unit: NDArray[np.float32], k: int) -> float:
    """Expected share of the item's k nearest vectors among its k nearest codes."""
    similarity = unit @ unit[item]
    similarity[item] = -np.inf
    nearest = np.argpartition(-similarity, k - 1)[:k]
    shared = np.cumprod(codes == codes[item], axis=1).sum(axis=1)
    shared[item] = -1
    shortest = np.sort(shared)[-k]
    above, tied = int((shared > shortest).sum()), int((shared == shortest).sum())
    found = (shared[nearest] > shortest) + (shared[nearest] == shortest) * ((k - above) / tied)
    return float(found.sum()) / k
