"""Residual k-means: k-means on the vectors, then on what is left of them, level after level.

The plain form of residual vector quantization (Chen, Guan & Wang 2010, "Approximate Nearest
Neighbor Search by Residual Vector Quantization"). It fits in seconds and needs no tuning, and
others find its codes as good for recommendation as those of an RQ-VAE: the default item tokenizer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from genrec.config import Settings
from genrec.semantic_ids.base import ItemTokenizer

__all__ = ["RQKMeans", "RQKMeansSettings", "balanced", "kmeans", "nearest"]

START_POINTS = 32
"""Points per centroid among which k-means++ chooses the first centroids."""
BALANCE_POINTS = 256
"""Points per centroid, at most, that balancing looks at."""
SINKHORN_STEPS = 10
"""Alternations between rows and columns per round of balancing."""
TEMPERATURE = 0.1
"""Entropy of the transport, in units of the mean extra cost of a wrong centroid."""


class RQKMeansSettings(Settings):
    """How residual k-means is fitted."""

    kind: Literal["rqkmeans"] = "rqkmeans"
    """Names this item tokenizer among the others."""
    levels: int = Field(default=3, ge=1, le=32)
    """Codes per item (L)."""
    codes: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] = 256
    """Codes per level (K): one number for all, or one for each; fewer where items are fewer."""
    iterations: int = Field(default=25, ge=1)
    """Rounds of k-means at every level."""
    balance: int = Field(default=0, ge=0)
    """Rounds that then even out the clusters of every level (4 are enough); 0 is plain k-means,
    which on residuals grows one giant cluster and leaves most codes of a late level rare."""
    max_points: int = Field(default=1_000_000, ge=1)
    """Larger catalogs are fitted on this many vectors, drawn at random."""
    seed: int = 0
    """Fixes the drawing of the first centroids."""

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

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return tuple(len(codebook) for codebook in self.codebooks)

    def _fit(self, vectors: NDArray[np.float32]) -> None:
        settings = self.settings
        generator = np.random.default_rng(settings.seed)
        if len(vectors) > settings.max_points:
            vectors = vectors[generator.choice(len(vectors), settings.max_points, replace=False)]
        residual = vectors.copy()
        self.codebooks = []
        for size in settings.sizes:
            seed = int(generator.integers(2**31))
            codebook = kmeans(residual, size, settings.iterations, seed)
            codebook = balanced(residual, codebook, settings.balance, seed)
            residual -= codebook[nearest(residual, codebook)]
            self.codebooks.append(codebook)

    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        codes = np.empty((len(vectors), len(self.codebooks)), np.int32)
        residual = vectors.copy()
        for level, codebook in enumerate(self.codebooks):
            codes[:, level] = nearest(residual, codebook)
            residual -= codebook[codes[:, level]]
        return codes

    def _decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        total = self.codebooks[0][codes[:, 0]]
        for level, codebook in enumerate(self.codebooks[1:], start=1):
            total += codebook[codes[:, level]]
        return total

    def _state(self) -> dict[str, NDArray[Any]]:
        return {f"codebook.{level}": codebook for level, codebook in enumerate(self.codebooks)}

    def _restore(self, state: dict[str, NDArray[Any]], dimension: int) -> None:
        self.codebooks = [state[f"codebook.{level}"] for level in range(len(state))]
        if any(codebook.shape[1:] != (dimension,) for codebook in self.codebooks):
            raise ValueError(f"a codebook's vectors are not of size {dimension}")


def kmeans(points: NDArray[np.float32], k: int, iterations: int, seed: int) -> NDArray[np.float32]:
    """Return ``min(k, N)`` centroids `(K, D)` of `(N, D)` points, the same for the same seed.

    Lloyd's algorithm from a greedy k-means++ start (Arthur & Vassilvitskii 2007) on a sample: on
    residuals a start from random points leaves more items colliding.
    """
    import faiss
    from sklearn.cluster import kmeans_plusplus

    k = min(k, len(points))
    start, _ = kmeans_plusplus(_sample(points, START_POINTS * k, seed), k, random_state=seed)
    clustering = faiss.Kmeans(
        points.shape[1],
        k,
        niter=iterations,
        seed=seed,
        min_points_per_centroid=1,  # small catalogs are expected: faiss need not warn of them
        max_points_per_centroid=len(points),
    )
    clustering.train(points, init_centroids=start)
    return np.asarray(clustering.centroids, dtype=np.float32)


def balanced(
    points: NDArray[np.float32], centroids: NDArray[np.float32], rounds: int, seed: int
) -> NDArray[np.float32]:
    """Return centroids `(K, D)` moved to the means of about equally large clusters of the points.

    Each round assigns by entropic optimal transport with equal column sums (Sinkhorn; Cuturi 2013),
    as LC-Rec (Zheng et al. 2024) does for its last level, then takes means. The mean of many points
    lies near the centre and so near everything, the mean of few does not: with even clusters the
    plain nearest centroid, which `encode` takes, stays even too.
    """
    points, centroids = _sample(points, BALANCE_POINTS * len(centroids), seed), centroids.copy()
    for _ in range(rounds):
        cluster = _even_assignment(points, centroids)
        sums = np.zeros_like(centroids)
        np.add.at(sums, cluster, points)
        counts = np.bincount(cluster, minlength=len(centroids))
        filled = counts > 0
        centroids[filled] = sums[filled] / counts[filled, None]
    return centroids


def nearest(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the index `(N,)` of the centroid nearest to each point; ties go to the lowest."""
    import faiss

    return np.asarray(faiss.knn(points, centroids, 1)[1][:, 0])


def _even_assignment(
    points: NDArray[np.float32], centroids: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return a centroid `(N,)` for each point such that centroids get about equally many."""
    cost = (centroids**2).sum(axis=1) - 2 * points @ centroids.T
    cost -= cost.min(axis=1, keepdims=True)
    plan = np.exp(-cost / max(float(cost.mean()) * TEMPERATURE, 1e-12))
    rows = np.ones(len(points), np.float32)
    for _ in range(SINKHORN_STEPS):
        columns = 1 / np.maximum(plan.T @ rows, 1e-20)
        rows = 1 / np.maximum(plan @ columns, 1e-20)
    return np.asarray((plan * columns).argmax(axis=1))


def _sample(points: NDArray[np.float32], most: int, seed: int) -> NDArray[np.float32]:
    """Return at most `most` of the points, drawn at random."""
    if len(points) <= most:
        return points
    return points[np.random.default_rng(seed).choice(len(points), most, replace=False)]
