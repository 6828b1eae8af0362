"""Residual k-means: k-means on the vectors, then on what is left of them, level after level.

The plain form of residual vector quantization (Chen, Guan & Wang 2010, "Approximate Nearest
Neighbor Search by Residual Vector Quantization"). It fits in seconds and needs no tuning, and
others find its codes as good for recommendation as those of an RQ-VAE: the default item tokenizer.

With `balance` the clusters of every level are about equally large, as in OneRec (Deng et al. 2025,
arXiv:2502.18965). Unlike there, items are not handed out to clusters one by one: every centroid gets
a price that evens the clusters out (see `balance`), so new items are encoded by the same rule.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from genrec.common.progress import progress
from genrec.semantic_ids.balance import balanced_kmeans
from genrec.semantic_ids.base import ItemTokenizer, ItemTokenizerSettings
from genrec.semantic_ids.kmeans import kmeans, nearest

__all__ = ["RQKMeans", "RQKMeansSettings"]


class RQKMeansSettings(ItemTokenizerSettings):
    """How residual k-means is fitted."""

    kind: Literal["rqkmeans"] = "rqkmeans"
    """Names this item tokenizer among the others."""
    levels: int = Field(default=3, ge=1, le=32)
    """Codes per item (L)."""
    codes: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] = 256
    """Codes per level (K): one number for all, or one for each; fewer where items are fewer."""
    iterations: int = Field(default=25, ge=1)
    """Most rounds of k-means at every level; it ends sooner once the error hardly falls."""
    balance: int = Field(default=0, ge=0)
    """Rounds that then even out the clusters of every level (4 are enough); 0 is plain k-means,
    which on residuals grows one giant cluster and leaves most codes of a late level rare."""

    @model_validator(mode="after")
    def _one_size_a_level(self) -> RQKMeansSettings:
        if isinstance(self.codes, tuple) and len(self.codes) != self.levels:
            raise ValueError(f"codes gives {len(self.codes)} sizes for levels = {self.levels}")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codes of each level, as asked for."""
        return self.codes if isinstance(self.codes, tuple) else (self.codes,) * self.levels


class RQKMeans(ItemTokenizer):
    """Item tokenizer by residual k-means; `decode` is the sum of the chosen centroids."""

    kind = "rqkmeans"
    settings_class = RQKMeansSettings
    settings: RQKMeansSettings

    def __init__(self, settings: RQKMeansSettings | None = None) -> None:
        super().__init__(settings)
        self.codebooks: list[NDArray[np.float32]] = []
        """One `(K_l, D)` float32 array of centroids a level."""
        self.offsets: list[NDArray[np.float32]] = []
        """One `(K_l,)` float32 array of prices a level; zeros without `balance`."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return tuple(len(codebook) for codebook in self.codebooks)

    def _fit(self, vectors: NDArray[np.float32], collaborative: NDArray[np.float32] | None) -> None:
        settings = self.settings
        generator = np.random.default_rng(settings.seed)
        residual = vectors.copy()
        self.codebooks, self.offsets = [], []
        with progress("Fitting residual k-means", settings.levels) as advance:
            for size in settings.sizes:
                seed = int(generator.integers(2**31))
                codebook = kmeans(residual, size, settings.iterations, seed)
                codebook, offsets = balanced_kmeans(residual, codebook, settings.balance, seed)
                residual -= codebook[nearest(residual, codebook, offsets)]
                self.codebooks.append(codebook)
                self.offsets.append(offsets)
                advance(1)

    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        codes = np.empty((len(vectors), len(self.codebooks)), np.int32)
        residual = vectors.copy()
        for level, codebook in enumerate(self.codebooks):
            codes[:, level] = nearest(residual, codebook, self.offsets[level])
            residual -= codebook[codes[:, level]]
        return codes

    def _decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        total = self.codebooks[0][codes[:, 0]]
        for level, codebook in enumerate(self.codebooks[1:], start=1):
            total += codebook[codes[:, level]]
        return total

    def _state(self) -> dict[str, NDArray[Any]]:
        state = {f"codebook.{level}": codebook for level, codebook in enumerate(self.codebooks)}
        return state | {f"offset.{level}": offsets for level, offsets in enumerate(self.offsets)}

    def _restore(self, state: dict[str, NDArray[Any]], dimension: int) -> None:
        levels = sum(name.startswith("codebook.") for name in state)
        self.codebooks = [state[f"codebook.{level}"] for level in range(levels)]
        if any(codebook.shape[1:] != (dimension,) for codebook in self.codebooks):
            raise ValueError(f"a codebook's vectors are not of size {dimension}")
        # Folders written before there were prices have none.
        none = [np.zeros(len(codebook), np.float32) for codebook in self.codebooks]
        self.offsets = [state.get(f"offset.{level}", none[level]) for level in range(levels)]
