"""State of a baseline that is a sparse matrix and the items' popularity: named arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from genrec.evaluation.baselines.popularity import Popularity

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["sparse_of", "sparse_state"]


def sparse_state(matrix: csr_matrix, popularity: Popularity) -> dict[str, NDArray[Any]]:
    """What `sparse_of` needs."""
    return {
        "values": matrix.data,
        "columns": matrix.indices,
        "starts": matrix.indptr,
        "counts": popularity.counts,
    }


def sparse_of(state: dict[str, NDArray[Any]]) -> tuple[csr_matrix, Popularity]:
    """Give back the `(N, N)` matrix and the popularity."""
    from scipy.sparse import csr_matrix

    n_items = len(state["counts"])
    parts = (state["values"], state["columns"], state["starts"])
    return csr_matrix(parts, shape=(n_items, n_items)), Popularity.of_counts(state["counts"])
