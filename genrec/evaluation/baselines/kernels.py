"""Kernels: how weights fall from the nearest place of a sequence to the farthest.

One says what a pair of items counts by the steps between them, another what an item of a history weighs by
its age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.data.histories import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "Exponential",
    "Head",
    "HistoryKernel",
    "Logarithmic",
    "PairKernel",
    "Power",
    "kernel_weights",
    "step_weights",
]


class Power(Settings):
    """Weight ``place ** -power``."""

    kind: Literal["power"] = "power"
    power: float = Field(default=1.0, ge=0)
    """0 weighs all places alike, 1 by their inverse, 2 by their inverse square."""

    def weights(self, place: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weights of places counted from 1, of as many places as `length` says, `(M,)`."""
        return np.asarray(place.astype(np.float64) ** -self.power)


class Exponential(Settings):
    """Weight ``decay ** (place - 1)``."""

    kind: Literal["exponential"] = "exponential"
    decay: float = Field(default=0.6, gt=0, le=1)
    """Weight of a place relative to the one before it."""

    def weights(self, place: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `Power.weights`."""
        return np.asarray(self.decay ** (place - 1.0))


class Logarithmic(Settings):
    """Weight ``1 / log10(place + 1.7)``: falls slowest of all."""

    kind: Literal["logarithmic"] = "logarithmic"

    def weights(self, place: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `Power.weights`."""
        return np.asarray(1 / np.log10(place + 1.7))


class Head(Settings):
    """The newest items share most of the weight, and all older ones the rest, each alike."""

    kind: Literal["head"] = "head"
    items: int = Field(default=7, ge=1)
    """How many are the newest."""
    share: float = Field(default=0.8, gt=0, le=1)
    """Of the weight that is theirs; all of it where no item is older."""
    decay: float = Field(default=0.6, gt=0, le=1)
    """Weight of one of them relative to the next newer one."""

    def weights(self, place: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `Power.weights`."""
        newest = np.minimum(length, self.items)
        of_all = self.decay ** np.arange(self.items, dtype=np.float64)
        near = self.share * self.decay ** (place - 1.0) / np.cumsum(of_all)[newest - 1]
        far = (1 - self.share) / np.maximum(length - newest, 1)
        return np.where(place <= newest, near, far)


PairKernel = Annotated[Power | Exponential | Logarithmic, Field(discriminator="kind")]
"""By steps between two items."""
HistoryKernel = Annotated[Power | Exponential | Logarithmic | Head, Field(discriminator="kind")]
"""By age of an item, the newest at place 1."""


def step_weights(kernel: PairKernel, window: int) -> NDArray[np.float64]:
    """What a pair counts 1, 2 … `window` steps apart, `(window,)`."""
    return kernel.weights(np.arange(1, window + 1), np.full(window, window))


def kernel_weights(
    histories: Histories, n_items: int, kernel: HistoryKernel, max_history: int
) -> csr_matrix:
    """Weigh the newest `max_history` items of C histories, as `recency_weights` does with another kernel.

    Returns:
        `(C, N)` sparse float32; a row sums to 1, or is empty for an empty history. The occurrences
        of a repeated item stay separate entries, which add up in every product.
    """
    from scipy.sparse import csr_matrix

    newest = histories.last(max_history)
    row = newest.rows
    place = newest.offsets[1:][row] - np.arange(len(newest.items))
    weights = kernel.weights(place, newest.lengths[row])
    weights /= np.bincount(row, weights, len(newest))[row]
    shape = (len(newest), n_items)
    return csr_matrix((weights.astype(np.float32), newest.items, newest.offsets), shape=shape)
