"""Balance: even clusters by prices on centroids, each the cheapest for about equally many points.

Assigning N points to K centroids with equal shares at the least total distance is a transport
problem. Its dual has one number a centroid, an offset to the distances, and under the best offsets
the *cheapest* centroid of every point is the one it is assigned to (Kantorovich; Bertsekas 1988,
"The Auction Algorithm"). So a balanced assignment becomes a rule that also holds for points not seen:
nearest after adding the offset. Sinkhorn's iterations (Cuturi 2013) give a smooth first guess in a few
matrix–vector products; raising the offset of what is too full and lowering that of what is too empty,
in steps that grow while they go one way (Rprop; Riedmiller & Braun 1993), does the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genrec.semantic_ids.kmeans import cluster_means, nearest

__all__ = ["balanced_kmeans", "even_offsets"]

BALANCE_POINTS = 64
"""Points per centroid, at most, that balancing looks at; catalogs of fewer are looked at whole."""
MOST_COSTS = 1 << 26
"""Most distances held in memory (4 bytes each)."""
SINKHORN_STEPS = 10
"""Alternations between rows and columns."""
TEMPERATURES = (1.0, 0.3, 0.1)
"""Entropies of the transport one after the other, in units of the mean extra cost of a wrong
centroid: the warm ones find how far apart the offsets are, the cold one how they are exactly."""
PRICE_STEPS = 200
"""Most changes of the offsets by counting, at the end."""
ROUND_STEPS = 20
"""The same, in rounds that move the centroids again."""
GROW, SHRINK = 1.3, 0.5
"""Factors of a centroid's step when it goes on in one direction, and when it turns."""
EVEN = 1.25
"""Good enough: the largest cluster has at most this many times the mean, and none is empty."""


def balanced_kmeans(
    points: NDArray[np.float32], centroids: NDArray[np.float32], rounds: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Move centroids to the means of even clusters, and price them so that clusters stay even.

    Args:
        points: `(N, D)`.
        centroids: `(K, D)` to begin with.
        rounds: how often points are assigned evenly and centroids moved.
        seed: fixes which points are looked at, where there are too many.

    Returns:
        Centroids `(K, D)` and their offsets `(K,)`, for `nearest`.
    """
    points = _sample(points, len(centroids), seed)
    offsets = np.zeros(len(centroids), np.float32)
    for _ in range(rounds):
        offsets = even_offsets(points, centroids, ROUND_STEPS)
        centroids = cluster_means(points, nearest(points, centroids, offsets), centroids)
    return centroids, even_offsets(points, centroids) if rounds else offsets


def even_offsets(
    points: NDArray[np.float32], centroids: NDArray[np.float32], steps: int = PRICE_STEPS
) -> NDArray[np.float32]:
    """Return offsets `(K,)` under which `nearest` gives centroids about equally many points.

    Points that are equal cannot be parted: where one vector has more than its share of the points,
    its cluster stays larger than the others.

    Args:
        points: `(N, D)`; all N x K distances are held in memory.
        centroids: `(K, D)`.
        steps: most changes of the offsets after Sinkhorn's iterations.
    """
    gains = points @ centroids.T
    gains -= np.einsum("kd,kd->k", centroids, centroids) / 2
    gains -= gains.max(axis=1, keepdims=True)
    scale = -float(gains.mean())
    if scale <= 1e-12 or len(centroids) == 1:
        return np.zeros(len(centroids), np.float32)
    offsets = np.zeros(len(centroids), np.float32)
    for temperature in TEMPERATURES:
        offsets = _sinkhorn(gains, offsets, scale * temperature)
    return _priced(gains, offsets, scale * TEMPERATURES[-1], steps)


def _sinkhorn(
    gains: NDArray[np.float32], offsets: NDArray[np.float32], temperature: float
) -> NDArray[np.float32]:
    """Return the offsets of the entropic transport with equal column sums, going on from given ones."""
    affordable = gains - offsets
    affordable -= affordable.max(axis=1, keepdims=True)
    affordable /= np.float32(temperature)
    plan = np.exp(affordable, out=affordable)
    rows = 1 / plan.sum(axis=1)
    for _ in range(SINKHORN_STEPS):
        columns = 1 / np.maximum(plan.T @ rows, 1e-20)
        rows = 1 / np.maximum(plan @ columns, 1e-20)
    offsets = offsets - temperature * np.log(columns)
    return np.asarray(offsets - offsets.mean(), dtype=np.float32)


def _priced(
    gains: NDArray[np.float32], offsets: NDArray[np.float32], first_step: float, steps: int
) -> NDArray[np.float32]:
    """Raise offsets of crowded centroids and lower those of empty ones; return the evenest."""
    mean = len(gains) / gains.shape[1]
    step, before = np.full(gains.shape[1], first_step / 2), np.zeros(gains.shape[1])
    best, fewest = offsets, np.inf
    for _ in range(steps):
        counts = np.bincount((gains - offsets).argmax(axis=1), minlength=gains.shape[1])
        crowding = counts.max() / mean + (counts == 0).sum()
        if crowding < fewest:
            best, fewest = offsets, crowding
        if fewest <= EVEN or fewest * mean <= np.ceil(mean):
            break
        excess = np.clip(counts / mean - 1, -1, 1)
        step *= np.where(excess * before > 0, GROW, np.where(excess * before < 0, SHRINK, 1))
        offsets, before = (offsets + step * excess).astype(np.float32), excess
    return best


def _sample(points: NDArray[np.float32], centroids: int, seed: int) -> NDArray[np.float32]:
    """Return so many of the points that their distances fit into memory, drawn at random."""
    most = max(BALANCE_POINTS * centroids, MOST_COSTS // max(centroids, 1))
    if len(points) <= most:
        return points
    return points[np.sort(np.random.default_rng(seed).choice(len(points), most, replace=False))]
