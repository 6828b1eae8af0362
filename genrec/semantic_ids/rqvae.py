"""RQ-VAE: an autoencoder whose latent is quantized by residual codebooks learned with it.

Zeghidour et al. 2021 ("SoundStream", arXiv:2107.03312), as used for semantic IDs by TIGER (Rajput
et al. 2023, arXiv:2305.05065). Against collapse, and in place of the usual thousands of epochs: the
autoencoder first trains without the codebooks, these then start from residual k-means of all
latents, and codes that fell out of use are put back where the residuals are.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from genrec.semantic_ids.autoencoder import (
    AutoencoderSettings,
    Quantized,
    QuantizedAutoencoder,
    decode_codes,
    encode_vectors,
    load_state,
    state_of,
    train,
)
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.rqkmeans import kmeans, nearest

__all__ = ["RQVAE", "RQVAESettings"]

SAMPLE = 100_000
"""Most latents that the codebooks start from."""


class RQVAESettings(AutoencoderSettings):
    """How RQ-VAE is built and trained."""

    kind: Literal["rqvae"] = "rqvae"
    """Names this item tokenizer among the others."""
    levels: int = Field(default=3, ge=1, le=32)
    """Codes per item (L)."""
    codes: int = Field(default=256, ge=1)
    """Codes per level (K); fewer where the catalog has fewer items."""
    latent: int = Field(default=64, ge=1)
    """Size of the latent and of the codebooks' vectors."""
    commitment: float = Field(default=0.25, ge=0)
    """Weight of the loss that holds the encoder to its codes (beta)."""
    warmup: float = Field(default=0.25, ge=0, lt=1)
    """Share of the steps that train the autoencoder before the codebooks start."""
    revive_every: int = Field(default=100, ge=1)
    """Steps between looks for codes out of use."""


class RQVAE(ItemTokenizer):
    """Item tokenizer by RQ-VAE; `decode` runs the decoder on the sum of the chosen code vectors.

    Args:
        settings: network, codebooks and training.
        device: where torch trains and encodes.
    """

    kind = "rqvae"
    settings_class = RQVAESettings
    settings: RQVAESettings

    def __init__(self, settings: RQVAESettings | None = None, device: str = "cpu") -> None:
        super().__init__(settings)
        self.device = torch.device(device)
        self.model: ResidualAutoencoder | None = None

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return () if self.model is None else (self.model.codebooks.shape[1],) * self.settings.levels

    def _fit(self, vectors: NDArray[np.float32]) -> None:
        codes = min(self.settings.codes, len(vectors))
        model = ResidualAutoencoder(vectors.shape[1], codes, self.settings)
        self.model = train(model, vectors, self.settings, self.device)

    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        assert self.model is not None
        return encode_vectors(self.model, vectors)

    def _decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        assert self.model is not None
        return decode_codes(self.model, codes)

    def _state(self) -> dict[str, NDArray[Any]]:
        assert self.model is not None
        return state_of(self.model)

    def _restore(self, state: dict[str, NDArray[Any]], dimension: int) -> None:
        model = ResidualAutoencoder(dimension, state["codebooks"].shape[1], self.settings)
        self.model = load_state(model, state, self.device)


class ResidualAutoencoder(QuantizedAutoencoder):
    """The network: the latent is the sum of one vector from each of L codebooks `(L, K, Z)`."""

    used: Tensor

    def __init__(self, dimension: int, codes: int, settings: RQVAESettings) -> None:
        generator = torch.Generator().manual_seed(settings.seed)
        super().__init__(dimension, settings.latent, settings.hidden, generator)
        self.settings = settings
        self.start = int(settings.steps * settings.warmup)
        self.quantizing = True
        shape = (settings.levels, codes, settings.latent)
        self.codebooks = nn.Parameter(torch.zeros(shape))
        self.register_buffer("used", torch.zeros(shape[:2], dtype=torch.bool), persistent=False)

    def quantize(self, latents: Tensor) -> Quantized:
        """Choose the nearest code of every level for what the levels before left."""
        if not self.quantizing:
            return Quantized(latents, latents.new_empty(0), latents.new_zeros(()))
        residual, loss, codes = latents, latents.new_zeros(()), []
        for level, codebook in enumerate(self.codebooks):
            code = torch.cdist(residual.detach(), codebook.detach()).argmin(dim=1)
            chosen = codebook[code]
            loss = loss + (chosen - residual.detach()).square().mean()
            loss = loss + self.settings.commitment * (residual - chosen.detach()).square().mean()
            residual = residual - chosen.detach()
            codes.append(code)
            self.used[level, code] = True
        summed = latents - residual.detach()
        return Quantized(summed, torch.stack(codes, dim=1), loss)

    def latents_of(self, codes: Tensor) -> Tensor:
        """Sum the chosen code vectors."""
        return self.codebooks[torch.arange(codes.shape[1], device=codes.device), codes].sum(dim=1)

    @torch.no_grad()
    def before_step(self, step: int, vectors: Tensor, generator: torch.Generator) -> None:
        """Start the codebooks after the warm-up; from then on revive unused codes now and then."""
        self.quantizing = step >= self.start
        if step < self.start or (step - self.start) % self.settings.revive_every:
            return
        sample = torch.randperm(len(vectors), generator=generator)[:SAMPLE]
        latents = self.encoder(vectors[sample.to(vectors.device)])
        if step == self.start:
            self._start_codebooks(latents)
        else:
            self._revive(latents, generator)
        self.used.zero_()

    def _start_codebooks(self, latents: Tensor) -> None:
        residual = latents.cpu().numpy().copy()
        for level, codebook in enumerate(self.codebooks):
            centroids = kmeans(residual, len(codebook), 10, self.settings.seed + level)
            residual -= centroids[nearest(residual, centroids)]
            codebook.copy_(torch.from_numpy(centroids))

    def _revive(self, latents: Tensor, generator: torch.Generator) -> None:
        """Move every unused code onto a random item's residual at its level."""
        residual = latents
        for level, codebook in enumerate(self.codebooks):
            dead = torch.nonzero(~self.used[level])[:, 0]
            drawn = torch.randint(len(residual), (len(dead),), generator=generator)
            codebook[dead] = residual[drawn.to(residual.device)]
            residual = residual - codebook[torch.cdist(residual, codebook).argmin(dim=1)]
