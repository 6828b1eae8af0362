"""Text network: causal attention over items that are the sums of their words, and of a vector of their own.

    item = unit(sum of its words' vectors) + its own vector
    p(next = j | history) = softmax over j of  scale * cos(state after the history, item j)

The words' vectors are learned from what is clicked next, so a word comes to mean what it says of taste in
this shop. After UniSRec (Hou et al. 2022) and TASTE (Liu et al. 2023), which learn a map of a language
model's vectors or the language model itself; words of a catalog are few enough to be learned one by one. In
training an item's own vector is now and then left out, so that its words stand for it alone, as they do for a
new item.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from genrec.evaluation.baselines.sequence_model import AttentionBlock, SequenceConfig
from genrec.recommender.text_model.words import WordBags

__all__ = ["TextNetwork"]

_SMALL = 0.02
_TEMPERATURE = 0.07
"""Of the softmax over cosines at the start; it is learned."""


class TextNetwork(nn.Module):
    """What turns bags of words into item vectors, and histories of these into what comes next.

    Args:
        words: `(V, D)` vectors of the words to start from.
        max_items: newest items of a history that are read.
        shape: width D, layers, heads, dropout.
        seed: of the other weights.
    """

    def __init__(self, words: Tensor, max_items: int, shape: SequenceConfig, seed: int = 0) -> None:
        super().__init__()
        self.words = nn.Parameter(words)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.positions = nn.Parameter(torch.randn(max_items, shape.width) * _SMALL)
            self.blocks = nn.ModuleList(
                AttentionBlock(shape, causal=True) for _ in range(shape.layers)
            )
        self.enter, self.leave = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.log_scale = nn.Parameter(torch.full((1,), math.log(1 / _TEMPERATURE)))

    @property
    def max_items(self) -> int:
        """Newest items of a history that are read."""
        return len(self.positions)

    def texts(self, bags: WordBags) -> Tensor:
        """Vectors of N texts, `(N, D)`: of length 1, or 0 where no word is known."""
        if not len(self.words):
            return self.positions.new_zeros(len(bags), self.positions.shape[1])
        summed = F.embedding_bag(
            bags.words,
            self.words,
            bags.starts,
            mode="sum",
            per_sample_weights=bags.weights,
            include_last_offset=True,
        )
        return F.normalize(summed, dim=1)

    def forward(self, vectors: Tensor, items: Tensor) -> Tensor:
        """Queries `(B, T, D)` behind the items `(B, T)` of histories, oldest first, padded on the right.

        Args:
            vectors: `(M, D)` of items.
            items: rows of `vectors`; below 0 is padding.
        """
        entered = self.enter(vectors[items.clamp(min=0)])  # (B, T) -> (B, T, D)
        x = self.dropout(entered + self.positions[: items.shape[1]])
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.leave(x), dim=-1) * self.log_scale.exp()
