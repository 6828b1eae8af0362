"""What pointing costs: the likelihood of each next item under the language model's pointer.

The normaliser runs over the whole catalog. Where that is large it is estimated from items drawn evenly, each
of which stands for as many as were not drawn; the shares of the sequence's own items, which are the largest,
are exact.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.language_model.pointer import Pointer, unit_vectors

__all__ = ["PointerLoss"]

MOST_CANDIDATES = 2048
"""Items that the normaliser is computed from."""


class PointerLoss:
    """Negative log-likelihood of what follows the items of a sequence.

    Args:
        pointer: what learns; the states that it reads get gradients too.
        vectors: `(N, D_v)` of the catalog.
    """

    def __init__(self, pointer: Pointer, vectors: NDArray[np.floating]) -> None:
        self.pointer = pointer
        device = pointer.query.device
        self.vectors = torch.from_numpy(unit_vectors(vectors)).to(device)

    def __call__(self, states: Tensor, items: Tensor) -> Tensor:
        """Sum in nats over all items but the first of each sequence.

        Args:
            states: `(B, n, D)` in front of the items.
            items: `(B, n)` of them, padded on the right with -1.
        """
        weights = self.pointer(states[:, 1:])  # those behind the items before the last
        vectors = self.vectors[items.clamp(min=0)]
        cosines = vectors[:, :-1] @ vectors.transpose(1, 2)
        wanted = self._log_likely(weights, cosines[:, :, 1:])
        others = self._of_sequence(weights, cosines, items) + self._of_rest(weights, vectors, items)
        # Only what is far from everything can have a share that rounds to zero.
        loss = torch.logaddexp(wanted, others.clamp(min=math.exp(-80)).log()) - wanted
        return (loss * (items[:, 1:] >= 0)).sum()

    def _log_likely(self, weights: Tensor, cosines: Tensor) -> Tensor:
        """Unnormalised log-likelihood `(B, n - 1)` of each item but the first, after those before it."""
        likeness = self.pointer.sharpness * (cosines.float().transpose(1, 2) - 1)
        return (weights + likeness).logsumexp(-1)

    def _of_sequence(self, weights: Tensor, cosines: Tensor, items: Tensor) -> Tensor:
        """What the sequence's items share, each once and the target not at all, `(B, n - 1)`."""
        likely = weights.exp() @ self.pointer.kernel(cosines)
        counted = _first_time(items)[:, None] & (items[:, None] != items[:, 1:, None])
        return (likely * counted).sum(-1)

    def _of_rest(self, weights: Tensor, vectors: Tensor, items: Tensor) -> Tensor:
        """What all items that are not of the sequence share, `(B, n - 1)`."""
        N = len(self.vectors)
        drawn = torch.arange(N, device=items.device)
        if N > MOST_CANDIDATES:
            drawn = torch.randperm(N, device=items.device)[:MOST_CANDIDATES]
        rest = ~(items[..., None] == drawn).any(1)
        likely = weights.exp() @ self.pointer.kernel(vectors[:, :-1] @ self.vectors[drawn].T)
        stands_for = (N - _first_time(items).sum(1)) / rest.sum(1).clamp(min=1)
        return (likely * rest[:, None]).sum(-1) * stands_for[:, None]


def _first_time(items: Tensor) -> Tensor:
    """Whether an item of a sequence stands there for the first time, `(B, n)` bool; padding does not."""
    earlier = torch.ones(items.shape[1], items.shape[1], device=items.device).tril(-1).bool()
    again = ((items[:, :, None] == items[:, None]) & earlier).any(-1)
    return (items >= 0) & ~again
