"""Spectral paths: recursive clustering of the training log's co-occurrence graph.

Items bought together fall into one cluster and share its code (Hua et al. 2023, section 4.3, after
Ng, Jordan & Weiss 2001). Every cluster is cut again until it holds few enough items. Clusters have a
largest size, so that the depth is known beforehand; eigenvectors are sparse (Lanczos), so the cost
grows with the graph's edges and not with the square of its items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.semantic_ids.collaborative import cooccurrences, normalised
from genrec.semantic_ids.indexing.settings import CollaborativePathSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["spectral_paths"]

SLACK = 1.5
"""How much more room than items the tree has: clusters may be uneven by that much."""
DENSE = 256
"""Clusters of at most so many items take all eigenvectors of a dense matrix: faster, and exact."""


def spectral_paths(
    train: Histories, items: int, settings: CollaborativePathSettings
) -> tuple[NDArray[np.int32], tuple[int, ...]]:
    """Return a path `(N, P)` for each item, and the sizes of the P levels.

    Items that never occur beside another have the first level's last code to themselves, in
    catalog order, at most `group` of them on a path.
    """
    graph = cooccurrences(train, items, settings.window)
    warm = np.flatnonzero(np.diff(graph.indptr))
    cold = np.setdiff1d(np.arange(items), warm)
    depth = _depth(len(warm), len(cold), settings)
    paths = np.zeros((items, depth), np.int32)
    _cut(graph, warm, paths, 0, settings)
    paths[cold, 0] = paths[:, 0].max(initial=0) + 1
    if depth > 1:
        chunk = np.arange(len(cold)) // settings.group
        places = np.unravel_index(chunk, (settings.branches,) * (depth - 1))
        paths[cold, 1:] = np.stack(places, axis=1)
    first = int(paths[warm, 0].max(initial=0)) + 2
    return paths, (first, *(int(codes.max(initial=0)) + 1 for codes in paths[:, 1:].T))


def _depth(warm: int, cold: int, settings: CollaborativePathSettings) -> int:
    depth, room = 1, settings.group
    while room * settings.branches < SLACK * warm or room < cold:
        depth, room = depth + 1, room * settings.branches
    return depth


def _cut(
    graph: csr_matrix,
    members: NDArray[np.int64],
    paths: NDArray[np.int32],
    level: int,
    settings: CollaborativePathSettings,
) -> None:
    """Write the codes of `members` from `level` on; a small enough cluster stays whole."""
    if len(members) <= settings.group or level == paths.shape[1]:
        return
    wanted = int(np.ceil(SLACK * len(members) / settings.group))
    clusters = min(settings.branches, wanted, len(members))
    largest = settings.group * settings.branches ** (paths.shape[1] - 1 - level)
    points = _embedding(graph[members][:, members], clusters, settings.seed)
    paths[members, level] = _clusters(points, clusters, largest, settings.seed)
    for code in range(clusters):
        _cut(graph, members[paths[members, level] == code], paths, level + 1, settings)


def _embedding(graph: csr_matrix, dimension: int, seed: int) -> NDArray[np.float64]:
    """Return the items' rows `(n, d)` of the graph's first eigenvectors, scaled to length 1."""
    from scipy.sparse.linalg import eigsh

    matrix = normalised(graph).astype(np.float64)
    if len(matrix.indptr) - 1 <= max(DENSE, 3 * dimension):
        vectors = np.linalg.eigh(matrix.toarray())[1][:, ::-1][:, :dimension]
    else:
        start = np.random.default_rng(seed).uniform(-1, 1, matrix.shape[0])
        vectors = eigsh(matrix, dimension, which="LA", v0=start, tol=1e-6)[1]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12))


def _clusters(
    points: NDArray[np.float64], clusters: int, largest: int, seed: int
) -> NDArray[np.int32]:
    """Return a cluster `(n,)` for each point by k-means; no cluster holds more than `largest`.

    Points come in order of their distance to the nearest centre; one whose cluster is full takes
    the nearest with room.
    """
    from sklearn.cluster import KMeans

    clusters_found = KMeans(clusters, n_init=1, random_state=seed).fit(points)
    distances = clusters_found.transform(points)
    preference = np.argsort(distances, axis=1, kind="stable")
    chosen = preference[:, 0].astype(np.int32)
    if np.bincount(chosen).max() <= largest:
        return chosen
    room = [largest] * clusters
    for point in np.argsort(distances.min(axis=1), kind="stable"):
        chosen[point] = next(code for code in preference[point] if room[code])
        room[chosen[point]] -= 1
    return chosen
