"""List metrics, whether or not the target is in it: novelty, cold items, diversity, concentration.

All are read from the list as it was returned; where scores tie, the ranker's own order counts here.

Sources: Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems (PNAS 2010),
for novelty; Ziegler et al., Improving recommendation lists through topic diversification (WWW 2005),
for diversity; Fleder and Hosanagar, Blockbuster culture's next rise or fall (Management Science 2009),
for the Gini coefficient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["category_diversity", "cold_share", "exposure", "gini", "novelty", "vector_diversity"]

CELLS = 2**22


def novelty(
    items: NDArray[np.integer[Any]], counts: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Return the mean surprise of each list in bits: ``-log2`` of its items' shares of training events.

    Every item counts one event more than it has, so that one never bought is finite.

    Args:
        items: `(C, k)` catalog indices; anything outside the catalog is left out.
        counts: `(N,)` training events of each item.

    Returns:
        `(C,)`, 0 for an empty list.

    >>> novelty(np.array([[0, 1], [1, -1], [-1, -1]]), np.array([3, 0, 2])).tolist()
    [2.0, 3.0, 0.0]
    """
    surprise = -np.log2((counts + 1) / (counts.sum() + len(counts)))
    valid = _valid(items, len(counts))
    total = np.where(valid, surprise[np.where(valid, items, 0)], 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(valid.sum(axis=1), 1), np.float64)


def cold_share(
    items: NDArray[np.integer[Any]], counts: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Return the share of each list's entries that are items without a training event.

    Args:
        items: `(C, k)` catalog indices; anything outside the catalog is left out.
        counts: `(N,)` training events of each item.

    Returns:
        `(C,)`, 0 for an empty list.

    >>> cold_share(np.array([[0, 1, 2], [1, -1, -1], [-1, -1, -1]]), np.array([3, 0, 2])).round(3).tolist()
    [0.333, 1.0, 0.0]
    """
    valid = _valid(items, len(counts))
    cold = valid & (counts[np.where(valid, items, 0)] == 0)
    return np.asarray(cold.sum(axis=1) / np.maximum(valid.sum(axis=1), 1), np.float64)


def category_diversity(
    items: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Return the share of each list's pairs of items that are of different categories, `(C,)`.

    Args:
        items: `(C, k)` catalog indices; anything outside the catalog is left out.
        labels: `(N,)` category of each item; one of -1 has none, and is left out.

    Returns:
        `(C,)`, 0 for a list with fewer than two items that count.

    >>> category_diversity(np.array([[0, 1, 2], [0, 3, -1]]), np.array([5, 5, 6, -1])).round(3).tolist()
    [0.667, 0.0]
    """
    valid = _valid(items, len(labels))
    label = np.where(valid, labels[np.where(valid, items, 0)], -1)
    known = (label >= 0).sum(axis=1)
    label = np.sort(label, axis=1)
    # Equal pairs: each label's place within its run of equal labels, summed.
    new = np.column_stack([np.ones(len(label), bool), label[:, 1:] != label[:, :-1]])
    place = np.arange(label.shape[1])
    run = place - np.maximum.accumulate(np.where(new, place, 0), axis=1)
    equal = np.where(label >= 0, run, 0).sum(axis=1)
    pairs = known * (known - 1) // 2
    return np.where(pairs > 0, 1 - equal / np.maximum(pairs, 1), 0.0)


def vector_diversity(
    items: NDArray[np.integer[Any]], vectors: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return the mean of ``1 - cosine`` over each list's pairs of items, `(C,)`, from 0 to 2.

    Args:
        items: `(C, k)` catalog indices; anything outside the catalog is left out.
        vectors: `(N, D)`; a vector of zeros is at right angles to all.

    Returns:
        `(C,)`, 0 for a list with fewer than two items.

    >>> plane = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    >>> vector_diversity(np.array([[0, 1, 2], [0, 2, -1]]), plane).round(3).tolist()
    [0.667, 0.0]
    """
    step = max(1, CELLS // max(1, items.shape[1] * vectors.shape[1]))
    parts = [
        _vector_diversity(items[start : start + step], vectors)
        for start in range(0, len(items), step)
    ]
    return np.concatenate([np.empty(0), *parts])


def _vector_diversity(
    items: NDArray[np.integer[Any]], vectors: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    valid = _valid(items, len(vectors))
    own = vectors[np.where(valid, items, 0)].astype(np.float64)
    norms = np.linalg.norm(own, axis=2, keepdims=True)
    unit = np.where(valid[..., None] & (norms > 0), own / np.where(norms > 0, norms, 1), 0.0)
    # The squared length of the sum holds every pair twice, and each vector with itself.
    alone = (unit**2).sum(axis=(1, 2))
    cosines = ((unit.sum(axis=1) ** 2).sum(axis=1) - alone) / 2
    many = valid.sum(axis=1)
    pairs = many * (many - 1) / 2
    return np.where(pairs > 0, np.maximum(1 - cosines / np.maximum(pairs, 1), 0.0), 0.0)


def exposure(items: NDArray[np.integer[Any]], n_items: int) -> NDArray[np.int64]:
    """Count how often each catalog item stands in the lists `(C, k)`, `(N,)`."""
    return np.bincount(items[_valid(items, n_items)], minlength=n_items)


def gini(exposures: NDArray[np.integer[Any]]) -> float:
    """Return how unevenly exposure is spread over the catalog: 0 all alike, near 1 one item has all.

    Args:
        exposures: `(N,)` counts; where all are 0, so is the result.

    >>> gini(np.array([2, 2, 2])), gini(np.array([0, 0, 0, 4]))
    (0.0, 0.75)
    """
    total, N = exposures.sum(), len(exposures)
    if not total:
        return 0.0
    weighted = (np.arange(1, N + 1) * np.sort(exposures)).sum()
    return float(2 * weighted / (N * total) - (N + 1) / N)


def _valid(items: NDArray[np.integer[Any]], n_items: int) -> NDArray[np.bool_]:
    return np.asarray((items >= 0) & (items < n_items))
