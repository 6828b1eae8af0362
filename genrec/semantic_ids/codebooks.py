"""Codebooks: an autoencoder whose latent is made of code vectors, one from each of L codebooks.

Codebooks learn by gradient (van den Oord et al. 2017, "Neural Discrete Representation Learning",
arXiv:1711.00937) or as moving averages of what chose them (the same, appendix; SoundStream, Zeghidour
et al. 2021, arXiv:2107.03312). Against collapse they start from k-means of the latents, and codes that
fell out of use are put back where the latents are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from genrec.semantic_ids.autoencoder import (
    AutoencoderSettings,
    Quantized,
    QuantizedAutoencoder,
)
from genrec.semantic_ids.kmeans import kmeans, nearest
from genrec.semantic_ids.letter import CodeGroups, diversity_loss

__all__ = ["CodebookAutoencoder", "CodebookSettings"]

SAMPLE = 100_000
"""Most latents that the codebooks start from."""
START_ITERATIONS = 25
"""Most rounds of the k-means they start from."""
GROUPS = 10
"""Groups of similar codes a level, for the diversity loss."""


class CodebookSettings(AutoencoderSettings):
    """How codebooks are sized, learned and kept in use."""

    levels: int = Field(default=3, ge=1, le=32)
    """Codes per item (L)."""
    codes: int = Field(default=256, ge=1)
    """Codes per level (K); fewer where the catalog has fewer items."""
    latent: int = Field(default=256, ge=1)
    """Size of the codebooks' vectors (Z)."""
    codebooks: Literal["gradient", "ema"] = "gradient"
    """Whether code vectors learn by gradient or are moving averages of what chose them."""
    decay: float = Field(default=0.99, gt=0, lt=1)
    """What moving averages keep at every step."""
    commitment: float = Field(default=0.25, ge=0)
    """Weight of the loss that holds the encoder to its codes (beta)."""
    diversity: float = Field(default=0.0, ge=0)
    """Weight of LETTER's diversity loss."""
    warmup: float = Field(default=0.25, ge=0, lt=1)
    """Share of the steps that train the autoencoder before the codebooks start."""
    revive_every: int = Field(default=100, ge=1)
    """Steps between looks for codes out of use."""

    @model_validator(mode="after")
    def _diversity_needs_gradients(self) -> CodebookSettings:
        if self.diversity and self.codebooks == "ema":
            raise ValueError("diversity moves code vectors by gradient: use codebooks = gradient")
        return self


class CodebookAutoencoder(QuantizedAutoencoder):
    """A network with codebooks `(L, K, Z)`; a subclass says what each level quantizes.

    Args:
        dimension: D.
        codes: K.
        encoded: size of what the encoder gives, Z or a multiple.
        settings: codebooks and training.
    """

    used: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self, dimension: int, codes: int, encoded: int, settings: CodebookSettings
    ) -> None:
        generator = torch.Generator().manual_seed(settings.seed)
        super().__init__(dimension, encoded, settings.latent, settings.hidden, generator)
        self.settings = settings
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.start = int(settings.steps * settings.warmup)
        self.quantizing = True
        self.groups: list[CodeGroups] = []
        shape = (settings.levels, codes, settings.latent)
        by_gradient = settings.codebooks == "gradient"
        self.codebooks = nn.Parameter(torch.zeros(shape), requires_grad=by_gradient)
        self.register_buffer("used", torch.zeros(shape[:2], dtype=torch.bool), persistent=False)
        self.register_buffer("counts", torch.ones(shape[:2]), persistent=False)
        self.register_buffer("sums", torch.zeros(shape), persistent=False)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return (self.codebooks.shape[1],) * self.codebooks.shape[0]

    @abstractmethod
    def inputs(self, latents: Tensor, chosen: Sequence[Tensor]) -> Tensor:
        """Return what the next level quantizes, `(B, Z)`.

        Args:
            latents: of the encoder.
            chosen: the code vectors `(B, Z)` of the levels before, without gradients.
        """

    @abstractmethod
    def combine(self, inputs: Sequence[Tensor], chosen: Sequence[Tensor]) -> Tensor:
        """Return what the decoder reads, gradients going straight through to the inputs.

        Args:
            inputs: of each level, `(B, Z)`.
            chosen: each level's code vectors.
        """

    @abstractmethod
    def unquantized(self, latents: Tensor) -> Tensor:
        """Return what the decoder reads before there are codebooks."""

    def choose(self, level: int, inputs: Tensor) -> Tensor:
        """Return each input's code `(B,)`: that of the nearest vector."""
        return torch.cdist(inputs, self.codebooks[level].detach()).argmin(dim=1)

    def quantize(self, latents: Tensor) -> Quantized:
        """Choose a code of every level, and in training let the codebooks learn from it."""
        loss = latents.new_zeros(())
        if not self.quantizing:
            return Quantized(self.unquantized(latents), latents.new_empty(0), loss)
        inputs: list[Tensor] = []
        chosen: list[Tensor] = []
        codes: list[Tensor] = []
        for level in range(len(self.codebooks)):
            inputs.append(self.inputs(latents, chosen))
            codes.append(self.choose(level, inputs[-1].detach()))
            vectors = self.codebooks[level][codes[-1]]
            chosen.append(vectors.detach())
            if self.training:
                loss = loss + self._loss(level, inputs[-1], vectors, codes[-1])
                self._observe(level, inputs[-1].detach(), codes[-1])
        return Quantized(self.combine(inputs, chosen), torch.stack(codes, dim=1), loss)

    @torch.no_grad()
    def before_step(self, step: int, vectors: Tensor, generator: torch.Generator) -> None:
        """Start the codebooks after the warm-up; from then on revive unused codes now and then."""
        self.quantizing = step >= self.start
        if step < self.start or (step - self.start) % self.settings.revive_every:
            return
        sample = torch.randperm(len(vectors), generator=generator)[:SAMPLE]
        latents = self.encode(vectors[sample.to(vectors.device)])
        if step == self.start:
            self._start(latents)
        else:
            self._revive(latents, generator)
        self.used.zero_()
        if self.settings.diversity:
            seed = self.settings.seed
            self.groups = [CodeGroups(codebook, GROUPS, seed) for codebook in self.codebooks]

    def _loss(self, level: int, inputs: Tensor, vectors: Tensor, codes: Tensor) -> Tensor:
        """Return what holds encoder and code vectors together and the codes apart."""
        settings = self.settings
        loss = settings.commitment * (inputs - vectors.detach()).square().mean()
        if settings.codebooks == "gradient":
            loss = loss + (vectors - inputs.detach()).square().mean()
        if settings.diversity:
            partners = self.groups[level].partners(codes, self.generator).to(codes.device)
            crowding = diversity_loss(vectors, self.codebooks[level], codes, partners)
            loss = loss + settings.diversity * crowding
        return loss

    @torch.no_grad()
    def _observe(self, level: int, inputs: Tensor, codes: Tensor) -> None:
        """Note which codes are in use; move averages, if these are what codebooks are."""
        self.used[level, codes] = True
        if self.settings.codebooks == "gradient":
            return
        decay, size = self.settings.decay, self.codebooks.shape[1]
        counts = torch.bincount(codes, minlength=size).to(inputs.dtype)
        sums = torch.zeros_like(self.sums[level]).index_add_(0, codes, inputs)
        self.counts[level].mul_(decay).add_(counts, alpha=1 - decay)
        self.sums[level].mul_(decay).add_(sums, alpha=1 - decay)
        self.codebooks[level].copy_(self.sums[level] / self.counts[level].clamp(min=1e-6)[:, None])

    def _start(self, latents: Tensor) -> None:
        """Start every level from k-means of what it quantizes."""
        chosen: list[Tensor] = []
        for level, codebook in enumerate(self.codebooks):
            inputs = self.inputs(latents, chosen).cpu().numpy()
            seed = self.settings.seed + level
            centroids = kmeans(inputs, len(codebook), START_ITERATIONS, seed)
            code = torch.from_numpy(nearest(inputs, centroids)).to(latents.device)
            codebook.copy_(torch.from_numpy(centroids))
            chosen.append(codebook[code])
        self.sums.copy_(self.codebooks)
        self.counts.fill_(1)

    def _revive(self, latents: Tensor, generator: torch.Generator) -> None:
        """Move every unused code onto what a random item has for its level to quantize."""
        chosen: list[Tensor] = []
        for level, codebook in enumerate(self.codebooks):
            inputs = self.inputs(latents, chosen)
            dead = torch.nonzero(~self.used[level])[:, 0]
            drawn = torch.randint(len(inputs), (len(dead),), generator=generator)
            codebook[dead] = inputs[drawn.to(inputs.device)]
            self.sums[level, dead], self.counts[level, dead] = codebook[dead], 1.0
            chosen.append(codebook[torch.cdist(inputs, codebook).argmin(dim=1)])
