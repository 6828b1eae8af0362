"""A pointer: the language model says which items of a history count, their vectors say what is like them.

    p(item | history)  ~  sum over the history's items i of  a_i * exp(sharpness * (cos(v_i, v_item) - 1))

`a` is the attention that the state behind the newest item pays to the states behind all of them, newer ones
first by a learned recency. So the model points, as a pointer network does (Vinyals et al. 2015; mixed with a
vocabulary, Merity et al. 2016, "Pointer Sentinel Mixture Models"), but at all items that are like the ones
pointed at. A sum of kernels can expect two unlike things at once, which one query vector between them cannot.

Codes are names, and those of a catalog that the model was never trained on tell it little. What is learned
here speaks of recency and likeness alone, and holds anywhere that vectors mean the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genrec.language_model.module_files import load_module, save_module

__all__ = ["Pointer", "unit_vectors"]

FILE = "pointer.safetensors"
_KEYS = 32
"""Size of queries and keys."""
_SHARPNESS, _DECAY = 8.0, 0.5
"""Where training starts: of the kernel, and of recency, in nats an item."""


class Pointer(nn.Module):
    """Attention over the items of a history, and the sharpness of likeness.

    It starts as recency alone: what the states say is learned.

    Args:
        width: D of the language model's states.
        max_items: longest history.
        seed: of the weights.
    """

    def __init__(self, width: int, max_items: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.recency = nn.Parameter(-_DECAY * torch.arange(max_items, dtype=torch.float32))
        self.log_sharpness = nn.Parameter(torch.tensor(_SHARPNESS).log())
        self.key = nn.Parameter(torch.randn(_KEYS, width, generator=generator) / width**0.5)
        self.query = nn.Parameter(torch.zeros(_KEYS, width))

    def forward(self, states: Tensor) -> Tensor:
        """How much each item counts for what follows each item.

        Args:
            states: `(B, n, D)` behind the items of sequences, oldest first.

        Returns:
            `(B, n, n)` float32 log-weights: row t is a distribution over the items up to t; -inf behind it.
        """
        n = states.shape[1]
        states = states.to(self.query.dtype)
        met = (states @ self.query.T) @ (states @ self.key.T).transpose(1, 2) / _KEYS**0.5
        place = torch.arange(n, device=states.device)
        age = place[:, None] - place
        oldest = len(self.recency) - 1
        scores = met + self.recency[age.clamp(0, oldest)]
        weights: Tensor = scores.float().masked_fill(age < 0, -torch.inf).log_softmax(-1)
        return weights

    @property
    def sharpness(self) -> Tensor:
        """Of the kernel: likeness 1/sharpness less makes an item e times less likely."""
        sharpness: Tensor = self.log_sharpness.float().exp()
        return sharpness

    def kernel(self, cosines: Tensor) -> Tensor:
        """Turn cosines into unnormalised likelihoods, 1 for a cosine of 1."""
        return torch.exp(self.sharpness * (cosines.float() - 1))

    def save(self, folder: Path) -> None:
        """Write the weights into a language model's folder."""
        save_module(self, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Pointer | None:
        """Read what `save` wrote; None where there is none.

        Raises:
            RecommenderError: the file cannot be read.
        """
        return load_module(
            folder / FILE, lambda state: cls(state["key"].shape[1], len(state["recency"]))
        )


def unit_vectors(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """What cosines are computed from: a catalog's vectors `(N, D_v)` less their mean, of length 1.

    Texts of one shop have much in common, and what all have in common tells no item from another.
    """
    centred = vectors.astype(np.float32) - vectors.mean(0, dtype=np.float32)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-12))
