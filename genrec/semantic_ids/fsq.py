"""FSQ: an autoencoder whose latent is rounded to a fixed grid; there is no codebook to collapse.

Mentzer et al. 2023 ("Finite Scalar Quantization: VQ-VAE Made Simple", arXiv:2309.15505); the latent
is cut into several chunks, each rounded to a code, as in RecGPT (Jiang et al. 2025, arXiv:2506.06270:
four chunks of the grid 8, 8, 8, 6, 5, so 15,360 codes each). The grid is the same for every catalog,
and so may be the language model's tokens. Unlike there, codes are ordered: in training the decoder
sees only a random number of an item's first codes (nested dropout, Rippel, Gelbart & Adams 2014), so
early codes carry the most and a prefix means something, which a search that goes level by level needs.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from genrec.semantic_ids.autoencoder import (
    AutoencoderSettings,
    AutoencoderTokenizer,
    Quantized,
    QuantizedAutoencoder,
)

__all__ = ["FSQ", "FSQSettings", "GridAutoencoder"]


class FSQSettings(AutoencoderSettings):
    """How FSQ is built and trained."""

    kind: Literal["fsq"] = "fsq"
    """Names this item tokenizer among the others."""
    levels: int = Field(default=4, ge=1, le=32)
    """Codes per item (L), the chunks into which the latent is cut."""
    grid: tuple[Annotated[int, Field(ge=2)], ...] = Field(default=(8, 6, 5), min_length=1)
    """Values that each scalar of a chunk may take; their product is the codes per level (K)."""
    nested_dropout: float = Field(default=0.5, ge=0, le=1)
    """Share of training items whose last codes are hidden from the decoder."""


class FSQ(AutoencoderTokenizer):
    """Item tokenizer by finite scalar quantization."""

    kind = "fsq"
    settings_class = FSQSettings
    settings: FSQSettings

    def _network(self, dimension: int, items: int) -> GridAutoencoder:
        return GridAutoencoder(dimension, self.settings)


class GridAutoencoder(QuantizedAutoencoder):
    """The network: the latent is L × G scalars, scalar g of a code one of grid[g] values."""

    grid: Tensor
    place: Tensor

    def __init__(self, dimension: int, settings: FSQSettings) -> None:
        generator = torch.Generator().manual_seed(settings.seed)
        self.levels, self.nested_dropout = settings.levels, settings.nested_dropout
        size = settings.levels * len(settings.grid)
        super().__init__(dimension, size, size, settings.hidden, generator)
        self.generator = torch.Generator().manual_seed(settings.seed)
        grid = torch.tensor(settings.grid)
        self.register_buffer("grid", grid, persistent=False)
        place = torch.cumprod(torch.cat([torch.ones(1, dtype=torch.long), grid[:-1]]), dim=0)
        self.register_buffer("place", place, persistent=False)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return (math.prod(self.grid.tolist()),) * self.levels

    def start_linear(self, components: Tensor, deviations: Tensor) -> None:
        """Start with principal components of deviation 1, which is what fills the grid."""
        self.into.weight.copy_(components / deviations.clamp(min=1e-3)[:, None])
        self.out.weight.copy_(components.T * deviations)

    def quantize(self, latents: Tensor) -> Quantized:
        """Bound every scalar to its grid, round it, and read the digits of each code off it."""
        scalars = latents.view(len(latents), self.levels, len(self.grid))
        rounded = self._round(scalars)
        digits = rounded.detach().round().long() + self.grid // 2
        codes = (digits * self.place).sum(dim=2)
        grid_points = rounded / (self.grid // 2)
        if self.training:
            grid_points = self._hide_last(grid_points)
        return Quantized(grid_points.flatten(1), codes, latents.new_zeros(()))

    def latents_of(self, codes: Tensor) -> Tensor:
        """Return the grid points of the codes' digits, each scalar within [-1, 1]."""
        half = self.grid // 2
        digits = codes.unsqueeze(2) // self.place % self.grid
        return ((digits - half) / half).flatten(1)

    def _round(self, scalars: Tensor) -> Tensor:
        """Squash `(B, L, G)` into the grid by tanh and round, gradients straight through."""
        half = (self.grid - 1) * (1 + 1e-3) / 2
        offset = (self.grid % 2 == 0) / 2
        bounded = torch.tanh(scalars + torch.atanh(offset / half)) * half - offset
        return bounded + (bounded.round() - bounded).detach()

    def _hide_last(self, grid_points: Tensor) -> Tensor:
        """Zero the last codes of some rows of `(B, L, G)`; the first code always stays."""
        count, levels, _ = grid_points.shape
        kept = torch.randint(1, levels + 1, (count,), generator=self.generator)
        kept[torch.rand(count, generator=self.generator) >= self.nested_dropout] = levels
        shown: Tensor = torch.arange(levels) < kept[:, None]
        return grid_points * shown[:, :, None].to(grid_points.device)
