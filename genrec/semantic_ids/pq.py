"""Product quantization: the vector is cut into L parts, and k-means quantizes each by itself.

Jégou, Douze & Schmid 2011, "Product Quantization for Nearest Neighbor Search"; with `rotate` the
vectors are rotated first so that the cuts lose least (optimised PQ; Ge et al. 2013), by faiss. RPG
(Hou et al. 2025, arXiv:2506.05781) uses such codes as semantic IDs, up to 64 an item, because they are
**parallel**: no code depends on another, and none comes first. A model may therefore predict them all
at once, as RPG does; the search of this library still goes code by code, and items that share a prefix
share some parts of their vectors, not a coarser topic as under residual quantization.

Unlike RPG, vectors are centred but not whitened, and distances are Euclidean.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.progress import progress
from genrec.semantic_ids.base import ItemTokenizer, ItemTokenizerSettings
from genrec.semantic_ids.kmeans import kmeans, nearest

__all__ = ["PQ", "PQSettings"]

ROTATION_POINTS = 1 << 16
"""Most vectors that the rotation is learned from."""


class PQSettings(ItemTokenizerSettings):
    """How product quantization is fitted."""

    kind: Literal["pq"] = "pq"
    """Names this item tokenizer among the others."""
    levels: int = Field(default=4, ge=1, le=32)
    """Codes per item (L), the parts into which a vector is cut."""
    codes: int = Field(default=256, ge=1)
    """Codes per level (K); fewer where items are fewer."""
    iterations: int = Field(default=25, ge=1)
    """Most rounds of k-means for every part."""
    rotate: bool = True
    """Whether a rotation is learned first (optimised PQ)."""
    rotations: int = Field(default=20, ge=1)
    """Rounds in which faiss alternates between rotation and codebooks."""


class PQ(ItemTokenizer):
    """Item tokenizer by (optimised) product quantization; its codes are independent of each other."""

    kind = "pq"
    settings_class = PQSettings
    settings: PQSettings

    def __init__(self, settings: PQSettings | None = None) -> None:
        super().__init__(settings)
        self.center = np.empty(0, np.float32)
        """`(D,)`, the mean vector."""
        self.rotation = np.empty((0, 0), np.float32)
        """`(L * P, D)`: what takes a centred vector to its L parts of P numbers."""
        self.codebooks = np.empty((0, 0, 0), np.float32)
        """`(L, K, P)` centroids."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return (self.codebooks.shape[1],) * self.codebooks.shape[0]

    def _fit(self, vectors: NDArray[np.float32], collaborative: NDArray[np.float32] | None) -> None:
        settings = self.settings
        self.center = vectors.mean(axis=0)
        self.rotation = self._learned_rotation(vectors - self.center)
        parts = self._parts(vectors, settings.levels)
        codebooks = []
        with progress("Fitting product quantization", settings.levels) as advance:
            for level in range(settings.levels):
                points, seed = np.ascontiguousarray(parts[:, level]), settings.seed + level
                codebooks.append(kmeans(points, settings.codes, settings.iterations, seed))
                advance(1)
        self.codebooks = np.stack(codebooks)

    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        parts = self._parts(vectors, len(self.codebooks))
        columns = [
            nearest(np.ascontiguousarray(parts[:, level]), codebook)
            for level, codebook in enumerate(self.codebooks)
        ]
        return np.stack(columns, axis=1).astype(np.int32)

    def _decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        chosen = self.codebooks[np.arange(codes.shape[1]), codes]
        return chosen.reshape(len(codes), -1) @ self.rotation + self.center

    def _state(self) -> dict[str, NDArray[Any]]:
        return {"center": self.center, "rotation": self.rotation, "codebooks": self.codebooks}

    def _restore(self, state: dict[str, NDArray[Any]], dimension: int) -> None:
        self.center, self.codebooks = state["center"], state["codebooks"]
        self.rotation = state["rotation"]
        levels, _, size = self.codebooks.shape
        if self.center.shape != (dimension,) or self.rotation.shape != (levels * size, dimension):
            raise ValueError(f"the rotation is not one of vectors of size {dimension}")

    def _parts(self, vectors: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
        """Cut vectors `(N, D)` into `(N, L, P)`."""
        rotated = (vectors - self.center) @ self.rotation.T
        return np.asarray(rotated.reshape(len(vectors), levels, -1))

    def _learned_rotation(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `(L * P, D)`: orthonormal columns; L * P is D rounded up to a multiple of L."""
        settings, (count, dimension) = self.settings, vectors.shape
        size = -(-dimension // settings.levels) * settings.levels
        bits = min(settings.codes, count).bit_length() - 1
        if not settings.rotate or not bits or settings.levels == 1:
            return np.eye(size, dimension, dtype=np.float32)
        some = vectors[:: -(-count // ROTATION_POINTS)]
        padded = np.zeros((len(some), size), np.float32)
        padded[:, :dimension] = some
        rotation = _optimised_rotation(padded, settings.levels, min(bits, 8), settings.rotations)
        return np.ascontiguousarray(rotation[:, :dimension])


def _optimised_rotation(
    vectors: NDArray[np.float32], levels: int, bits: int, rounds: int
) -> NDArray[np.float32]:
    """Return the orthonormal matrix `(D, D)` after which product quantization loses least."""
    import faiss

    size = vectors.shape[1]
    # Fewer vectors than dimensions make faiss write beyond its memory; repeating them changes nothing.
    vectors = np.tile(vectors, (-(-size // len(vectors)), 1))
    quantizer = faiss.ProductQuantizer(size, levels, bits)
    quantizer.cp.min_points_per_centroid = 1  # small catalogs are expected: no warning of them
    quantizer.cp.max_points_per_centroid = len(vectors)
    matrix = faiss.OPQMatrix(size, levels)
    matrix.niter, matrix.pq = rounds, quantizer
    matrix.train(vectors)
    return faiss.vector_to_array(matrix.A).reshape(size, size)
