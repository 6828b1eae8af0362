"""HSTU: attention without a softmax, gated, over the history's items.

Zhai et al., Actions speak louder than words: Trillion-parameter sequential transducers for generative
recommendations (ICML 2024). Each pair of places is weighed by a SiLU of its own, so that how often something
was bought is not normalised away. Unlike the paper, the bias knows distances in items and none in time: a
history here is a sequence without clock.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from genrec.evaluation.baselines.sequence_model import (
    SequenceConfig,
    SequenceModel,
    split_heads,
)

__all__ = ["HSTU", "HSTUConfig"]


class HSTUConfig(SequenceConfig):
    """Shape of HSTU."""

    kind: Literal["hstu"] = "hstu"


class HSTU(SequenceModel):
    """See the module; a place's hidden state predicts the item after it."""

    def __init__(self, n_items: int, max_items: int, config: HSTUConfig) -> None:
        super().__init__(n_items, max_items, config)
        self.blocks = nn.ModuleList(HSTUBlock(max_items, config) for _ in range(config.layers))
        self.start_small()

    def forward(self, items: Tensor) -> Tensor:
        """Hidden states `(B, T, D)`; padding is on the right, where no real place looks."""
        x = self.embed(items, torch.arange(items.shape[1], device=items.device))
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states


class HSTUBlock(nn.Module):
    """One layer: ``x + W(norm(SiLU(QKᵀ + bias) V) ⊙ U)``, where U, V, Q, K are SiLUs of one product."""

    def __init__(self, max_items: int, config: HSTUConfig) -> None:
        super().__init__()
        D = config.width
        self.heads = config.heads
        self.norm, self.read_norm = nn.LayerNorm(D), nn.LayerNorm(D)
        self.project, self.join = nn.Linear(D, 4 * D), nn.Linear(D, D)
        self.distance = nn.Embedding(max_items, config.heads)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`; a place sees itself and what is to its left."""
        gate, *parts = F.silu(self.project(self.norm(x))).chunk(4, -1)
        value, query, key = (split_heads(part, self.heads) for part in parts)
        weights = F.silu(query @ key.transpose(-1, -2) + self._bias(x.shape[1])).tril()
        seen = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        read = ((weights / seen) @ value).transpose(1, 2).flatten(2)
        return x + torch.as_tensor(self.join(self.dropout(self.read_norm(read) * gate)))

    def _bias(self, T: int) -> Tensor:
        """What the distance between two places adds, `(heads, T, T)`."""
        places = torch.arange(T, device=self.distance.weight.device)
        distances = (places[:, None] - places).clamp(min=0)
        bias: Tensor = self.distance(distances)
        return bias.permute(2, 0, 1)
