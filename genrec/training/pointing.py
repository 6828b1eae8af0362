"""What pointing costs: the likelihood of each next item under the language model's pointer.

The normaliser runs over the whole catalog. Where that is large it is estimated from items drawn evenly, each
of which stands for as many as were not drawn; the target's own share is exact.
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
        pointer: what learns; also its states get gradients.
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
        history, target = items[:, :-1].clamp(min=0), items[:, 1:]
        vectors = self.vectors[history]
        wanted = self._log_likely(weights, vectors, target.clamp(min=0))
        others = self._others(weights, vectors, target)
        loss = torch.logaddexp(wanted, others) - wanted
        return (loss * (target >= 0)).sum()

    def _log_likely(self, weights: Tensor, vectors: Tensor, target: Tensor) -> Tensor:
        """Unnormalised log-likelihood `(B, n)` of one item each."""
        cosines = self.vectors[target] @ vectors.transpose(1, 2)
        return (weights + self.pointer.sharpness * (cosines.float() - 1)).logsumexp(-1)

    def _others(self, weights: Tensor, vectors: Tensor, target: Tensor) -> Tensor:
        """Logarithm of what all items but the target share, `(B, n)`."""
        N = len(self.vectors)
        drawn = torch.arange(N, device=weights.device)
        if N > MOST_CANDIDATES:
            drawn = torch.randperm(N, device=weights.device)[:MOST_CANDIDATES]
        kernel = self.pointer.kernel(vectors @ self.vectors[drawn].T)
        likely = weights.exp() @ kernel
        own = target[..., None] == drawn
        found = likely.masked_fill(own, 0.0).sum(-1)
        stands_for = (N - 1) / (len(drawn) - own.sum(-1)).clamp(min=1)
        return (found * stands_for).clamp(min=math.exp(-80)).log()
