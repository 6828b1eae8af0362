"""Mixture of experts: parallel codebooks, every code another expert's view of the item.

REG4Rec (Xing et al. 2025, arXiv:2508.15308), its "MoE-based parallel quantization codebook" (MPQ).

Taken from there: M expert encoders read the same vector; each has a codebook of its own and chooses
the nearest code; a routing gate weighs the experts, and the decoder reads the weighted sum; a penalty
keeps the experts' code vectors orthogonal, so that they tell different things. Codes come in no order,
and none depends on another.

Different here: the gate reads the chosen code vectors, not the item's vector, so that codes alone can
be decoded. Experts start on disjoint sets of principal components, not at random, and codebooks start
from k-means and have unused codes revived (see `codebooks`). How REG4Rec reasons over unordered codes
is not part of an item tokenizer: the search of this library takes them in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from genrec.semantic_ids.autoencoder import AutoencoderTokenizer, linear, mlp
from genrec.semantic_ids.codebooks import CodebookAutoencoder, CodebookSettings

__all__ = ["ExpertAutoencoder", "MoE", "MoESettings"]


class MoESettings(CodebookSettings):
    """How the mixture of experts is built and trained; `levels` is the number of experts."""

    kind: Literal["moe"] = "moe"
    """Names this item tokenizer among the others."""
    orthogonality: float = Field(default=0.1, ge=0)
    """Weight of the penalty on code vectors of different experts that point the same way."""


class MoE(AutoencoderTokenizer):
    """Item tokenizer by parallel mixture-of-experts codebooks."""

    kind = "moe"
    settings_class = MoESettings
    settings: MoESettings

    def _network(self, dimension: int, items: int) -> ExpertAutoencoder:
        return ExpertAutoencoder(dimension, min(self.settings.codes, items), self.settings)


class ExpertAutoencoder(CodebookAutoencoder):
    """The network: level l quantizes the latent `(B, Z)` of expert l."""

    def __init__(self, dimension: int, codes: int, settings: MoESettings) -> None:
        super().__init__(dimension, codes, settings.levels * settings.latent, settings)
        generator = torch.Generator().manual_seed(settings.seed)
        widths = [dimension, *settings.hidden, settings.latent]
        self.encoder = Experts([mlp(widths, generator) for _ in range(settings.levels)])
        self.gate = linear(settings.levels * settings.latent, settings.levels, bias=True)
        self.levels, self.orthogonality = settings.levels, settings.orthogonality

    def start_linear(self, components: Tensor, deviations: Tensor) -> None:
        """Give expert l the principal components l, l + L, l + 2L …; their sum has them all."""
        self.into.weight.zero_()
        size = self.out.in_features
        for place in range(size):
            row = place % self.levels * size + place
            self.into.weight[row] = components[place]
        self.out.weight.copy_(components[:size].T)

    def inputs(self, latents: Tensor, chosen: Sequence[Tensor]) -> Tensor:
        """Return the latents of the expert whose turn it is."""
        return latents.view(len(latents), self.levels, -1)[:, len(chosen)]

    def combine(self, inputs: Sequence[Tensor], chosen: Sequence[Tensor]) -> Tensor:
        """Weigh and sum the experts' code vectors."""
        through = [
            given + (code - given).detach() for given, code in zip(inputs, chosen, strict=True)
        ]
        return self._mixed(torch.stack(through, dim=1))

    def unquantized(self, latents: Tensor) -> Tensor:
        """Weigh and sum the experts' latents."""
        return self._mixed(latents.view(len(latents), self.levels, -1))

    def latents_of(self, codes: Tensor) -> Tensor:
        """Weigh and sum the experts' code vectors."""
        return self._mixed(self.codebooks[torch.arange(self.levels, device=codes.device), codes])

    def _mixed(self, views: Tensor) -> Tensor:
        """Sum the experts' views `(B, L, Z)`, each weighed by the gate: 1 on average."""
        weights = self.levels * F.softmax(self.gate(views.flatten(1)), dim=1)
        return (weights[:, :, None] * views).sum(dim=1)

    def _loss(self, level: int, inputs: Tensor, vectors: Tensor, codes: Tensor) -> Tensor:
        """Add the penalty on the codebook's likeness with those before it."""
        loss = super()._loss(level, inputs, vectors, codes)
        if not self.orthogonality or not level:
            return loss
        directions = F.normalize(self.codebooks[: level + 1], dim=2)
        likeness = (directions[:level] @ directions[level].T).square().mean()
        return loss + self.orthogonality * likeness


class Experts(nn.Module):
    """Several networks over the same input, their outputs side by side."""

    def __init__(self, experts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return `(B, L * Z)`."""
        return torch.cat([expert(vectors) for expert in self.experts], dim=1)
