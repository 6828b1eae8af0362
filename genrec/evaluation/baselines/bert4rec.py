"""BERT4Rec: a transformer that fills in masked items, seeing both sides.

Sun et al., BERT4Rec: Sequential recommendation with bidirectional encoder representations from transformer
(CIKM 2019). The next item is asked for as a mask behind the history.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from genrec.evaluation.baselines.sequence_model import (
    AttentionBlock,
    SequenceConfig,
    SequenceModel,
)

__all__ = ["BERT4Rec", "BERT4RecConfig"]


class BERT4RecConfig(SequenceConfig):
    """Shape of BERT4Rec, and how much it has to fill in while learning."""

    kind: Literal["bert4rec"] = "bert4rec"
    masked: float = Field(default=0.3, gt=0, lt=1)
    """Share of the items that are masked in training."""
    last_only: float = Field(default=0.2, ge=0, le=1)
    """Share of the training sequences of which only the last item is masked, as when recommending."""


class BERT4Rec(SequenceModel):
    """See the module; the hidden state of a mask predicts the item below it.

    The item `n_items` is the mask.
    """

    def __init__(self, n_items: int, max_items: int, config: BERT4RecConfig) -> None:
        super().__init__(n_items, max_items, config)
        D = config.width
        self.mask = nn.Parameter(torch.zeros(D))
        self.blocks = nn.ModuleList(
            AttentionBlock(config, causal=False) for _ in range(config.layers)
        )
        self.head = nn.Sequential(nn.Linear(D, D), nn.GELU(), nn.LayerNorm(D))
        self.start_small()

    def forward(self, items: Tensor) -> Tensor:
        """Hidden states `(B, T, D)`; padding is seen by nobody (a row needs an item, or a mask)."""
        visible = (items >= 0)[:, None, None, :]
        x = self.embed(items, torch.arange(items.shape[1], device=items.device))
        for block in self.blocks:
            x = block(x, visible)
        states: Tensor = self.head(self.norm(x))
        return states

    def embed(self, items: Tensor, positions: Tensor) -> Tensor:
        """As for any network, with a vector of its own for the mask."""
        masked = (items == self.n_items)[..., None]
        vectors = self.items(items.clamp(0, self.n_items - 1))
        x = torch.where(masked, self.mask, vectors) + self.positions(positions)
        embedded: Tensor = self.dropout(x)
        return embedded

    def query(self, items: Tensor) -> Tensor:
        """Hidden state of a mask behind each history, `(B, D)`."""
        end = (items >= 0).sum(1)
        row = torch.arange(len(items), device=items.device)
        asked = F.pad(items, (0, 1), value=-1)
        asked[row, end] = self.n_items
        states: Tensor = self(asked)
        return states[row, end]
