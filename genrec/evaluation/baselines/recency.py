"""Recency: how a baseline weights a history's items, the newest most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from genrec.common.config import Settings
from genrec.data.histories import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Recency", "recency_weights"]


class Recency(Settings):
    """Which items of a history are used, and with what weight."""

    max_history: int = Field(default=20, ge=1)
    """Newest items of the history that are used; 1 is the last item alone."""
    decay: float = Field(default=0.5, gt=0, le=1)
    """Weight of an item relative to the next newer one; 1 weighs all alike."""


def recency_weights(histories: Histories, n_items: int, recency: Recency) -> csr_matrix:
    """Weigh the newest items of C histories by ``decay ** age``, the newest of age 0.

    Returns:
        `(C, N)` sparse float32; a row sums to 1, or is empty for an empty history. The occurrences
        of a repeated item stay separate entries, which add up in every product.
    """
    from scipy.sparse import csr_matrix

    newest = histories.last(recency.max_history)
    age = np.repeat(newest.offsets[1:], newest.lengths) - 1 - np.arange(len(newest.items))
    weights = recency.decay**age
    row = newest.rows
    weights /= np.bincount(row, weights, len(newest))[row]
    shape = (len(newest), n_items)
    return csr_matrix((weights.astype(np.float32), newest.items, newest.offsets), shape=shape)
