"""SASRec: a causal transformer over the history's items.

Kang and McAuley, Self-attentive sequential recommendation (ICDM 2018), with the norms in front of the
branches. Trained on the whole catalog's softmax instead of one negative an item, it stands above most of
what was published after it: Klenitskiy and Vasilev, Turning dross into gold loss (RecSys 2023).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from genrec.evaluation.baselines.sequence_model import (
    AttentionBlock,
    SequenceConfig,
    SequenceModel,
)

__all__ = ["SASRec", "SASRecConfig"]


class SASRecConfig(SequenceConfig):
    """Shape of SASRec."""

    kind: Literal["sasrec"] = "sasrec"
    positions: Literal["start", "end"] = "start"
    """Where positions are counted from: the oldest item of the history, or (the paper's left padding) the
    newest."""


class SASRec(SequenceModel):
    """See the module; a place's hidden state predicts the item after it."""

    def __init__(self, n_items: int, max_items: int, config: SASRecConfig) -> None:
        super().__init__(n_items, max_items, config)
        self.from_end = config.positions == "end"
        self.blocks = nn.ModuleList(
            AttentionBlock(config, causal=True) for _ in range(config.layers)
        )
        self.start_small()

    def forward(self, items: Tensor) -> Tensor:
        """Hidden states `(B, T, D)`; padding is on the right, where no real place looks."""
        x = self.embed(items, self._positions(items))
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states

    def _positions(self, items: Tensor) -> Tensor:
        places = torch.arange(items.shape[1], device=items.device)
        if not self.from_end:
            return places
        lengths = (items >= 0).sum(1, keepdim=True)
        return (lengths - 1 - places).clamp(min=0)
