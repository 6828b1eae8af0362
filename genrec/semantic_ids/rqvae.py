"""RQ-VAE: an autoencoder whose latent is quantized by residual codebooks learned with it.

Zeghidour et al. 2021 ("SoundStream", arXiv:2107.03312), as used for semantic IDs by TIGER (Rajput
et al. 2023, arXiv:2305.05065). Settings take it to its successors: codebooks by moving averages, the
last level spread evenly over its codes (LC-Rec; Zheng et al. 2024, arXiv:2311.09049), codes that agree
with behaviour and keep apart from each other (LETTER; see `letter`). In place of the usual thousands
of epochs it starts from principal components and residual k-means (see `autoencoder`, `codebooks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from genrec.semantic_ids.autoencoder import AutoencoderTokenizer
from genrec.semantic_ids.balance import even_offsets
from genrec.semantic_ids.codebooks import CodebookAutoencoder, CodebookSettings

__all__ = ["RQVAE", "RQVAESettings", "ResidualAutoencoder"]

SINKHORN_STEPS = 10
"""Alternations between rows and columns of a batch's transport."""
TEMPERATURE = 0.1
"""Its entropy, in units of the mean extra cost of a wrong code."""


class RQVAESettings(CodebookSettings):
    """How RQ-VAE is built and trained."""

    kind: Literal["rqvae"] = "rqvae"
    """Names this item tokenizer among the others."""
    even_last: bool = False
    """Whether the last level's codes are given out evenly: by Sinkhorn's iterations in training,
    by a price on every code afterwards, so that new items follow the same rule."""


class RQVAE(AutoencoderTokenizer):
    """Item tokenizer by RQ-VAE; `decode` runs the decoder on the sum of the chosen code vectors."""

    kind = "rqvae"
    settings_class = RQVAESettings
    settings: RQVAESettings

    def _network(self, dimension: int, items: int) -> ResidualAutoencoder:
        return ResidualAutoencoder(dimension, min(self.settings.codes, items), self.settings)


class ResidualAutoencoder(CodebookAutoencoder):
    """The network: every level quantizes what the levels before left of the latent."""

    offsets: Tensor

    def __init__(self, dimension: int, codes: int, settings: RQVAESettings) -> None:
        super().__init__(dimension, codes, settings.latent, settings)
        self.even_last = settings.even_last
        self.register_buffer("offsets", torch.zeros(codes))

    def inputs(self, latents: Tensor, chosen: Sequence[Tensor]) -> Tensor:
        """Return what the code vectors chosen so far leave of the latents."""
        return latents - sum(chosen, latents.new_zeros(()))

    def combine(self, inputs: Sequence[Tensor], chosen: Sequence[Tensor]) -> Tensor:
        """Sum the code vectors; the gradient goes to the latents, the first level's input."""
        total = sum(chosen, inputs[0].new_zeros(()))
        return inputs[0] + (total - inputs[0]).detach()

    def unquantized(self, latents: Tensor) -> Tensor:
        """Return the latents themselves."""
        return latents

    def latents_of(self, codes: Tensor) -> Tensor:
        """Sum the chosen code vectors."""
        return self.codebooks[torch.arange(codes.shape[1], device=codes.device), codes].sum(dim=1)

    def choose(self, level: int, inputs: Tensor) -> Tensor:
        """Return each input's nearest code `(B,)`; at an even last level, an affordable one."""
        if not self.even_last or level < len(self.codebooks) - 1:
            return super().choose(level, inputs)
        cost = torch.cdist(inputs, self.codebooks[level].detach()).square() / 2
        return _spread(cost) if self.training else (cost + self.offsets).argmin(dim=1)

    @torch.no_grad()
    def after_training(self, vectors: Tensor) -> None:
        """Price the last level's codes, so that all are the choice of about equally many items."""
        if not self.even_last:
            return
        latents = self.encode(vectors)
        chosen: list[Tensor] = []
        for level, codebook in enumerate(self.codebooks[:-1]):
            chosen.append(codebook[self.choose(level, self.inputs(latents, chosen))])
        residual = self.inputs(latents, chosen).cpu().numpy()
        last = self.codebooks[-1].detach().cpu().numpy()
        self.offsets.copy_(torch.from_numpy(even_offsets(residual, last)))


def _spread(cost: Tensor) -> Tensor:
    """Return a code `(B,)` for each row of costs `(B, K)`, codes being given out evenly."""
    cost = cost - cost.min(dim=1, keepdim=True).values
    plan = torch.exp(-cost / (cost.mean() * TEMPERATURE).clamp(min=1e-12))
    rows = cost.new_ones(len(cost))
    for _ in range(SINKHORN_STEPS):
        columns = 1 / (rows @ plan).clamp(min=1e-20)
        rows = 1 / (plan @ columns).clamp(min=1e-20)
    return (plan * columns).argmax(dim=1)
