"""k-means on one machine's cores: matrix products only, so it runs at the speed of the BLAS.

Lloyd's algorithm from a k-means|| start (Bahmani et al. 2012, "Scalable K-Means++"): a few rounds
each draw many points, the far ones more often, and a greedy k-means++ (Arthur & Vassilvitskii 2007)
chooses the centroids among those. It finds centroids as good as drawing them one after the other,
which costs a pass over the points for every centroid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cluster_means", "kmeans", "nearest"]

START_POINTS = 32
"""Points per centroid among which the first centroids are drawn."""
ROUNDS = 5
"""Rounds of drawing at the start; each draws half as many points as there are centroids."""
TRIALS = 4
"""Candidates compared for every first centroid."""
TOLERANCE = 3e-4
"""Lloyd's algorithm ends when an iteration lowers the error by less than this share."""
ROUNDING = 1e-5
"""Squared distances below this share of the points' mean square may be rounding."""
ROWS = 4096
"""Points whose distances are held at once: few enough for the processor's cache."""


def kmeans(points: NDArray[np.float32], k: int, iterations: int, seed: int) -> NDArray[np.float32]:
    """Return ``min(k, N)`` centroids `(K, D)` of `(N, D)` points, the same for the same seed.

    Args:
        points: `(N, D)`, N >= 1.
        k: centroids wanted.
        iterations: at most; fewer once the error hardly falls.
        seed: fixes the drawing.
    """
    k = min(k, len(points))
    generator = np.random.default_rng(seed)
    centroids = _start(_sample(points, START_POINTS * k, generator), k, generator)
    norms = np.einsum("nd,nd->n", points, points)
    error = np.inf
    for _ in range(iterations):
        cluster, gains = _assign(points, centroids)
        squared = norms - 2 * gains
        if error - squared.sum() <= TOLERANCE * error < np.inf:
            break
        error = float(squared.sum())
        centroids = _moved(points, cluster, centroids, squared)
    return centroids


def nearest(
    points: NDArray[np.float32],
    centroids: NDArray[np.float32],
    offsets: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Return the index `(N,)` of the centroid nearest to each point; ties go to the lowest.

    Args:
        points: `(N, D)`.
        centroids: `(K, D)`.
        offsets: `(K,)` added to half of each squared distance: a price for choosing the centroid.
    """
    return _assign(points, centroids, offsets)[0]


def cluster_means(
    points: NDArray[np.float32], cluster: NDArray[np.int64], otherwise: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the means `(K, D)` of the points of each cluster; an empty one keeps `otherwise`."""
    from scipy.sparse import csr_matrix

    count = len(points)
    ones = np.ones(count, np.float32)
    members = csr_matrix((ones, cluster, np.arange(count + 1)), shape=(count, len(otherwise)))
    sizes = np.bincount(cluster, minlength=len(otherwise))[:, None]
    means = (members.T @ points) / np.maximum(sizes, 1)
    return np.where(sizes > 0, means, otherwise).astype(np.float32)


def _assign(
    points: NDArray[np.float32],
    centroids: NDArray[np.float32],
    offsets: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each point's centroid and its gain, `(N,)` each: ``x·c - |c|²/2 - offset``."""
    cluster = np.empty(len(points), np.int64)
    gains = np.empty(len(points), np.float32)
    charge = np.einsum("kd,kd->k", centroids, centroids) / 2
    if offsets is not None:
        charge = charge + offsets
    for start in range(0, len(points), ROWS):
        gain = points[start : start + ROWS] @ centroids.T
        gain -= charge
        best = gain.argmax(axis=1)
        cluster[start : start + ROWS] = best
        gains[start : start + ROWS] = np.take_along_axis(gain, best[:, None], axis=1)[:, 0]
    return _first_copies(np.column_stack([centroids, charge]))[cluster], gains


def _first_copies(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return for each row the first one equal to it, `(K,)`.

    The rounding of a matrix product depends on a row's place in it: between equal centroids chance
    would choose, and equal points would get different ones.
    """
    rows = np.ascontiguousarray(rows + np.float32(0))  # no negative zeros
    keys = rows.view(f"V{rows.itemsize * rows.shape[1]}")[:, 0]
    _, first, key = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[key])


def _moved(
    points: NDArray[np.float32],
    cluster: NDArray[np.int64],
    centroids: NDArray[np.float32],
    squared: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the clusters' means; an empty one moves onto one of the points worst off.

    Where all points are met already, it becomes a copy of another.
    """
    moved = cluster_means(points, cluster, centroids)
    empty = np.flatnonzero(np.bincount(cluster, minlength=len(centroids)) == 0)
    if len(empty):
        worst = np.argsort(-squared, kind="stable")[: len(empty)]
        apart = squared[worst] > ROUNDING * float(np.einsum("nd,nd->", points, points)) / len(
            points
        )
        moved[empty] = np.where(apart[:, None], points[worst], moved[cluster[worst]])
    return moved


def _start(
    points: NDArray[np.float32], k: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Draw `k` of the points that lie far apart."""
    if len(points) == k:
        return points.copy()
    drawn = generator.integers(len(points), size=1)
    distance = _squared_distances(points, points[drawn])[:, 0]
    for _ in range(ROUNDS):
        if not distance.any():
            break  # every point is one of those drawn
        more = np.flatnonzero(
            generator.random(len(points)) < distance * (max(k / 2, 2) / distance.sum())
        )
        if len(more):
            nearer = _nearest_squared(points, points[more])
            drawn, distance = np.append(drawn, more), np.minimum(distance, nearer)
    if len(drawn) < k:
        rest = np.setdiff1d(np.arange(len(points)), drawn)
        drawn = np.append(drawn, generator.choice(rest, k - len(drawn), replace=False))
    weights = np.bincount(nearest(points, points[drawn]), minlength=len(drawn))
    return points[drawn[_greedy(points[drawn], weights.astype(np.float64), k, generator)]]


def _greedy(
    points: NDArray[np.float32],
    weights: NDArray[np.float64],
    k: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose `k` of few weighted points, one after the other, by greedy k-means++."""
    squared = _squared_distances(points, points)
    chosen = [int(generator.choice(len(points), p=weights / weights.sum()))]
    open_ = np.ones(len(points), dtype=bool)
    open_[chosen] = False
    distance = squared[chosen[0]]
    for _ in range(k - 1):
        chances = np.cumsum(np.where(open_, weights * distance + 1e-30, 0.0))
        trials = np.searchsorted(chances, generator.random(TRIALS) * chances[-1], side="right")
        shorter = np.minimum(squared[trials], distance)
        best = int((shorter @ weights).argmin())
        distance, code = shorter[best], int(trials[best])
        chosen.append(code)
        open_[code] = False
    return np.array(chosen)


def _squared_distances(
    points: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    squared = np.einsum("nd,nd->n", points, points)[:, None] - 2 * (points @ others.T)
    squared += np.einsum("nd,nd->n", others, others)
    return np.asarray(np.maximum(squared, 0))


def _nearest_squared(
    points: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return each point's squared distance `(N,)` to the nearest of the others."""
    parts = [points[start : start + ROWS] for start in range(0, len(points), ROWS)]
    return np.concatenate([_squared_distances(part, others).min(axis=1) for part in parts])


def _sample(
    points: NDArray[np.float32], most: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return at most `most` of the points, drawn at random."""
    if len(points) <= most:
        return points
    return points[np.sort(generator.choice(len(points), most, replace=False))]
