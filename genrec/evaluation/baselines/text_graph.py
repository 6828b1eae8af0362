"""Text graph: items that are alike by their texts, extended by new items and rid of old ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.baselines.cooccurrence import strongest
from genrec.evaluation.selection import top_k

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["extended_graph", "nearest_graph", "nearest_only", "without_items"]

CELLS = 2**24
"""Cosines held at once: 64 MiB."""


def nearest_graph(vectors: NDArray[np.float32] | csr_matrix, neighbors: int) -> csr_matrix:
    """Each item's nearest others, `(N, N)` cosines above 0, at most `neighbors` a row.

    All items are compared with all, so time grows with the square of N; what is kept is bounded.

    Args:
        vectors: `(N, D)`, rows of length 1 or 0.
        neighbors: most entries of a row.
    """
    from scipy.sparse import vstack

    return vstack([_nearest_of(block, neighbors) for block in _compared(vectors, 0)]).tocsr()


def extended_graph(
    graph: csr_matrix, vectors: NDArray[np.float32] | csr_matrix, neighbors: int
) -> csr_matrix:
    """A graph of the first M items with the other N - M put in: these alone are compared with all.

    The row of a new item is that of a graph made afresh. In the row of an old item stand, behind what it
    had, the new ones that are nearer than the last of its `neighbors` nearest, at most so many. What they
    push out of the nearest stays behind, so that the row is as it was once they are gone again:
    `nearest_only` leaves it out.

    A graph made afresh differs between old items: their cosines are those of the words' weights as they
    were, and where items were removed, others do not move up.

    Args:
        graph: `(M, M)`.
        vectors: `(N, D)` of all items, rows of length 1 or 0.
        neighbors: as `graph` was made with.
    """
    from scipy.sparse import vstack

    M, N = graph.shape[0], vectors.shape[0]
    least = _least_near(graph, neighbors)
    rows, coming = [], []
    for likeness in _compared(vectors, M):
        rows.append(_nearest_of(likeness, neighbors))
        coming.append(_nearer_than(least, likeness[:, :M]))
    reverse = strongest(vstack(coming).T.tocsr(), neighbors, np.arange(N - M))
    return vstack([_beside(graph, reverse), *rows]).tocsr()


def nearest_only(graph: csr_matrix, neighbors: int) -> csr_matrix:
    """The strongest `neighbors` entries of each row of a graph; itself where no row has more."""
    if np.diff(graph.indptr).max(initial=0) <= neighbors:
        return graph
    return strongest(graph, neighbors, np.arange(graph.shape[0]))


def without_items(graph: csr_matrix, kept: NDArray[np.bool_]) -> csr_matrix:
    """Rows and columns of the items that stay, `(N,)` marks; what stays is in its old order."""
    from scipy.sparse import csr_matrix

    index = np.cumsum(kept) - 1
    row = np.repeat(np.arange(len(kept)), np.diff(graph.indptr))
    stays = kept[row] & kept[graph.indices]
    counts = np.bincount(row[stays], minlength=len(kept))[kept]
    starts = np.concatenate([[0], np.cumsum(counts)])
    size = int(kept.sum())
    parts = (graph.data[stays], index[graph.indices[stays]], starts)
    return csr_matrix(parts, shape=(size, size))


def _nearest_of(likeness: NDArray[np.float32], neighbors: int) -> csr_matrix:
    """The largest entries above 0 of each row; ties go to the lower index."""
    from scipy.sparse import csr_matrix

    rows, N = likeness.shape
    nearest = top_k(np.where(likeness > 0, likeness, -np.inf), min(neighbors, N - 1))
    row, place = np.nonzero(nearest.items >= 0)
    places = (row, nearest.items[row, place])
    return csr_matrix((nearest.scores[row, place], places), shape=(rows, N))


def _least_near(graph: csr_matrix, neighbors: int) -> NDArray[np.float32]:
    """What is to be nearer than to be among the nearest of each item, `(M,)`: 0 where there is room."""
    short = nearest_only(graph, neighbors)
    counts = np.diff(short.indptr)
    least = np.zeros(len(counts), np.float32)
    some = counts > 0
    least[some] = np.minimum.reduceat(short.data, short.indptr[:-1][some])
    return np.where(counts >= neighbors, least, np.float32(0))


def _compared(
    vectors: NDArray[np.float32] | csr_matrix, start: int
) -> Iterator[NDArray[np.float32]]:
    """Cosines of the items from `start` on with all, block by block; 0 with themselves."""
    N = vectors.shape[0]
    step = max(1, CELLS // N)
    for first in range(start, N, step):
        product = vectors[first : first + step] @ vectors.T
        dense = product.toarray() if hasattr(product, "toarray") else product
        likeness = np.round(dense, 6)  # as in `TextNeighbors.rank`
        rows = np.arange(len(likeness))
        likeness[rows, first + rows] = 0.0
        yield likeness


def _nearer_than(least: NDArray[np.float32], likeness: NDArray[np.float32]) -> csr_matrix:
    """Cosines of new items with old ones `(m, M)`, where they are above an old item's `least`."""
    from scipy.sparse import csr_matrix

    return csr_matrix(np.where(likeness > least, likeness, 0).astype(np.float32))


def _beside(graph: csr_matrix, reverse: csr_matrix) -> csr_matrix:
    """Each row of `(M, M)` followed by that of `(M, N - M)`, entries in their order: `(M, N)`."""
    from scipy.sparse import csr_matrix

    M = graph.shape[0]
    counts = [np.diff(part.indptr) for part in (graph, reverse)]
    row = np.concatenate([np.repeat(np.arange(M), count) for count in counts])
    order = np.argsort(row, kind="stable")
    data = np.concatenate([graph.data, reverse.data])[order]
    columns = np.concatenate([graph.indices, reverse.indices + M])[order]
    starts = np.concatenate([[0], np.cumsum(counts[0] + counts[1])])
    return csr_matrix((data, columns, starts), shape=(M, M + reverse.shape[1]))
