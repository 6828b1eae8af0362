"""Sequence model: tables, the attention block and the ranking that the sequence networks share.

A network turns a history into a vector of its items' own space; an item's score is the product of the two
(the item table is also the output layer, as in SASRec). How networks learn is not known here.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from genrec.common.config import Settings
from genrec.data.histories import Histories
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.ranking import Ranking, rank_chunks
from genrec.evaluation.selection import top_k

__all__ = ["AttentionBlock", "SequenceConfig", "SequenceModel", "SequenceRanker", "pad"]


class SequenceConfig(Settings):
    """Shape of a sequence network."""

    width: int = Field(default=128, ge=2)
    """Size D of item vectors and hidden states; a multiple of `heads`."""
    layers: int = Field(default=2, ge=1)
    """Blocks."""
    heads: int = Field(default=2, ge=1)
    """Attention heads."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout of embeddings, attention and residual branches; small logs want much."""

    @model_validator(mode="after")
    def _whole_heads(self) -> SequenceConfig:
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} must be a multiple of heads = {self.heads}")
        return self


class SequenceModel(nn.Module):
    """A network over item sequences, padded on the right with -1.

    Args:
        n_items: catalog size N.
        max_items: longest history that is read.
        config: its shape.
    """

    def __init__(self, n_items: int, max_items: int, config: SequenceConfig) -> None:
        super().__init__()
        self.n_items, self.max_items = n_items, max_items
        self.items = nn.Embedding(n_items, config.width)
        self.positions = nn.Embedding(max_items + 1, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)

    @abstractmethod
    def forward(self, items: Tensor) -> Tensor:
        """Hidden states `(B, T, D)` of items `(B, T)`; at a padded place, anything."""

    def query(self, items: Tensor) -> Tensor:
        """The vector `(B, D)` whose products with `table` score what comes after histories `(B, T)`."""
        last = ((items >= 0).sum(1) - 1).clamp(min=0)
        states: Tensor = self(items)
        return states[torch.arange(len(items), device=items.device), last]

    @property
    def table(self) -> Tensor:
        """Vectors of all items, `(N, D)`."""
        return self.items.weight

    def embed(self, items: Tensor, positions: Tensor) -> Tensor:
        """Item and position vectors, summed, `(B, T, D)`; padding counts as item 0."""
        embedded: Tensor = self.dropout(self.items(items.clamp(min=0)) + self.positions(positions))
        return embedded

    def start_small(self) -> None:
        """Draw all tables and matrices from a normal distribution of deviation .02, as GPT-2 does."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)


class AttentionBlock(nn.Module):
    """Self-attention and a feed-forward network, each behind a norm and around a residual.

    Args:
        config: width, heads and dropout.
        causal: whether a place sees only itself and what is to its left.
    """

    def __init__(self, config: SequenceConfig, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.rate, self.causal = config.heads, config.dropout, causal
        D = config.width
        self.attention_norm, self.inner_norm = nn.LayerNorm(D), nn.LayerNorm(D)
        self.project, self.join = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.inner = nn.Sequential(nn.Linear(D, 4 * D), nn.GELU(), nn.Linear(4 * D, D))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`; `visible` `(B, 1, 1, T)` bool says which keys may be seen."""
        x = x + self.dropout(self.join(self._read(self.attention_norm(x), visible)))
        return x + torch.as_tensor(self.dropout(self.inner(self.inner_norm(x))))

    def _read(self, x: Tensor, visible: Tensor | None) -> Tensor:
        query, key, value = (split_heads(part, self.heads) for part in self.project(x).chunk(3, -1))
        rate = self.rate if self.training else 0.0
        read = F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, dropout_p=rate, is_causal=self.causal
        )
        return read.transpose(1, 2).flatten(2)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """View `(B, T, D)` as `(B, heads, T, D / heads)`."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


class SequenceRanker:
    """Rank the whole catalog by a network's scores; an empty history gets the most popular items.

    Equal scores go to the more popular item.

    Args:
        model: the network, on its device.
        popularity: of the training histories.
        name: for tables.
    """

    def __init__(self, model: SequenceModel, popularity: Popularity, name: str) -> None:
        self.model, self.popularity, self.name = model, popularity, name

    @property
    def tie_break(self) -> NDArray[np.int64]:
        """What decides between equal scores, `(N,)`: training events (see `Ranker`)."""
        return self.popularity.counts

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the k best-scored items for each history."""

        def best(chunk: Histories) -> Ranking:
            excluded = chunk if exclude_seen else None
            return top_k(self._scores(chunk), k, excluded=excluded, order=self.popularity.order)

        # Histories of like length side by side: little padding.
        order = np.argsort(histories.lengths, kind="stable")
        cost = self.model.n_items + self.model.max_items * self.model.table.shape[1]
        ranking = rank_chunks(best, histories.take(order), k, cost)
        back = np.argsort(order)
        return Ranking(ranking.items[back], ranking.scores[back])

    @torch.inference_mode()
    def _scores(self, histories: Histories) -> NDArray[np.float32]:
        """Scores of every item, `(C, N)`."""
        self.model.eval()
        items = pad(histories.last(self.model.max_items)).to(self.model.table.device)
        scores = self.model.query(items) @ self.model.table.T
        result: NDArray[np.float32] = scores.float().cpu().numpy()
        result[histories.lengths == 0] = self.popularity.counts
        return result

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs."""
        weights = {name: t.cpu().numpy() for name, t in self.model.state_dict().items()}
        return weights | {"counts": self.popularity.counts}

    @classmethod
    def restore(
        cls, state: dict[str, NDArray[Any]], model: SequenceModel, name: str
    ) -> SequenceRanker:
        """Put what was fitted into `model`, a network of the same shape."""
        weights = {key: torch.from_numpy(value) for key, value in state.items() if key != "counts"}
        model.load_state_dict(weights)
        return cls(model, Popularity.of_counts(state["counts"]), name)


def pad(histories: Histories) -> Tensor:
    """Stack C histories into `(C, T)` items, padded on the right with -1; T is at least 1."""
    lengths = histories.lengths
    padded = np.full((len(lengths), max(1, int(lengths.max(initial=0)))), -1, np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = histories.items
    return torch.from_numpy(padded)
