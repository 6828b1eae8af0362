"""Item inputs: items' vectors beside their codes.

Codes say where about in the space of items a history has been; the vector of an item says exactly where.
With the last code of every item of a prompt its vector enters as well, through one learned linear map, added
to that code's own embedding (the auxiliary input of RecGPT, "A Foundation Model for Sequential
Recommendation", 2025). What is predicted stays codes, and none is predicted from a vector of its own item.

Which tokens are an item is read off the tokens: a run of codes of all levels, in order, that is somebody's
semantic ID. So histories, packed rows and prompts in words take the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genrec.language_model.module_files import load_module, save_module

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["ItemInputs", "ItemProjection", "TokenInputs", "item_starts", "plain_inputs"]

TokenInputs: TypeAlias = Callable[[Tensor], dict[str, Tensor]]
"""From LM tokens `(B, T)` to what the model is called with in their place."""

FILE = "item_projection.safetensors"
_SPREAD = 4 * 0.02
"""Spread of what vectors add to embeddings at the start: felt beside them, which start at .02."""


def item_starts(levels: Tensor, of: int) -> Tensor:
    """Where runs of codes of all levels, in order, begin: `(B, T - of + 1)` bool.

    Args:
        levels: `(B, T)` level of each token, -1 for words; T is at least `of`.
        of: the number of levels.
    """
    width = levels.shape[1] - of + 1
    whole = torch.ones_like(levels[:, :width], dtype=torch.bool)
    for level in range(of):
        whole &= levels[:, level : level + width] == level
    return whole


def plain_inputs(tokens: Tensor) -> dict[str, Tensor]:
    """Tokens as they are (see `TokenInputs`)."""
    return {"input_ids": tokens}


class ItemProjection(nn.Module):
    """The linear map from item vectors `(…, D_v)` to the language model's width.

    Args:
        size: D_v. width: of the language model, D.
        scale: typical size of a vector's values, by which they are divided.
        seed: of the weights.
    """

    def __init__(self, size: int, width: int, scale: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(width, size, generator=generator) * _SPREAD / size**0.5
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(float(scale)))

    @classmethod
    def of(cls, vectors: NDArray[np.float32], width: int, seed: int) -> ItemProjection:
        """Make one for vectors `(N, D_v)`."""
        return cls(vectors.shape[1], width, float(vectors.std()) or 1.0, seed)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map `(…, D_v)` to `(…, D)`."""
        return nn.functional.linear(
            vectors.to(self.weight.dtype) / self.scale, self.weight, self.bias
        )

    def save(self, folder: Path) -> None:
        """Write the weights into a language model's folder."""
        save_module(self, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> ItemProjection | None:
        """Read what `save` wrote; None where there is none.

        Raises:
            RecommenderError: the file cannot be read.
        """
        return load_module(folder / FILE, lambda state: cls(*reversed(state["weight"].shape)))


class ItemInputs:
    """Embeddings of tokens, with the vectors of a catalog's items added (see `TokenInputs`).

    Args:
        model: whose embeddings.
        vocabulary: the codes' tokens.
        codes: `(N, L)` of the catalog; of items with the same codes the first lends its vector.
        vectors: `(N, D_v)` of any float type; rows are read as they are needed.
        projection: vectors to embeddings.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: CodeVocabulary,
        codes: NDArray[np.integer],
        vectors: NDArray[np.floating],
        projection: ItemProjection,
    ) -> None:
        self.model, self.projection = model, projection
        sizes = vocabulary.codebook_sizes
        device = model.get_input_embeddings().weight.device
        self.vectors = torch.from_numpy(np.ascontiguousarray(vectors)).to(device)
        rows = model.get_input_embeddings().weight.shape[0]
        self.levels = torch.from_numpy(vocabulary.levels_of(rows)).to(device)
        code_of = np.zeros(rows, np.int64)
        for own in vocabulary.tokens:
            code_of[own] = np.arange(len(own))
        self.code_of = torch.from_numpy(code_of).to(device)
        self.strides = _strides(sizes)
        keys = codes.astype(np.int64) @ self.strides
        order = np.argsort(keys, kind="stable")
        self.keys = torch.from_numpy(keys[order]).to(device)
        self.order = torch.from_numpy(order).to(device)

    def __call__(self, tokens: Tensor) -> dict[str, Tensor]:
        """Embeddings `(B, T, D)` of tokens `(B, T)`."""
        embedded: Tensor = self.model.get_input_embeddings()(tokens)
        ends, items = self.items(tokens)
        added = self.projection(self.vectors[items]).to(embedded.dtype)
        places = ends.nonzero(as_tuple=True)
        return {"inputs_embeds": embedded.index_put(places, added, accumulate=True)}

    def items(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Where items end, `(B, T)` bool, and which they are, in the order of these places."""
        L = len(self.strides)
        ends = torch.zeros_like(tokens, dtype=torch.bool)
        if tokens.shape[1] < L:
            return ends, tokens.new_empty(0)
        levels, codes = self.levels[tokens], self.code_of[tokens]
        whole = item_starts(levels, L)
        width = whole.shape[1]
        key = torch.zeros_like(tokens[:, :width])
        for level, stride in enumerate(self.strides.tolist()):
            key += codes[:, level : level + width] * stride
        place = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        ends[:, L - 1 :] = whole & (self.keys[place] == key)
        return ends, self.order[place[ends[:, L - 1 :]]]


def _strides(sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """Factors `(L,)` that make one number of a tuple of codes: distinct ones while they fit 63 bits.

    Beyond, they are odd random numbers, and sums that overflow: equal by chance once in 2^64 pairs of items.
    """
    if math.prod(sizes) < 2**63:
        return np.array([math.prod(sizes[level + 1 :]) for level in range(len(sizes))], np.int64)
    drawn = np.random.default_rng(0).integers(0, 2**62, len(sizes), np.int64)
    return 2 * drawn + 1
