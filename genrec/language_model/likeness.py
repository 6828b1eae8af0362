"""Likeness of a catalog's items: by their vectors, and by their words.

Each item i has a distribution over all items by each of the two,

    like(j | i) = k(i, j) / sum over all j' of k(i, j'),    k(i, j) = max(cos(i, j), 0) ** power

so that an item of a crowd, which is a little like everything, says no more than one with few of its kind.
Vectors of a sentence encoder know that a serum is a lotion; words know that this one is for red hair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.data.words import any_word, tfidf_words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Likeness", "unit_vectors"]

_VECTOR_POWER, _WORD_POWER = 3, 2
"""Chosen on validation users of Toys, with MiniLM: 4 and 5, 1.5 and 3 are as good within noise."""
_CELLS = 2**24
"""Cosines held at once."""
_PAIRS, _FEWEST = 2**28, 1024
"""Cosines that totals are computed from, and the fewest of one item."""


class Likeness:
    """Kernels between the N items of a catalog.

    Args:
        vectors: `(N, D_v)` of the items.
        words: `(N, V)` TF-IDF of their texts, rows of length 1 or 0.
        device: where kernels are wanted.

    """

    def __init__(
        self,
        vectors: NDArray[np.floating],
        words: csr_matrix,
        device: str | torch.device = "cpu",
    ) -> None:
        self.words, self._by_word = words.tocsr(), words.T.tocsr()
        self.vectors = torch.from_numpy(unit_vectors(vectors)).to(device)

    @classmethod
    def of_texts(
        cls, vectors: NDArray[np.floating], texts: Sequence[str], device: torch.device
    ) -> Likeness:
        """Likeness of N items by their vectors `(N, D_v)` and by the TF-IDF of their texts."""
        return cls(vectors, _words(texts), device)

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def rest(self) -> Tensor:
        """What each item, by vectors and by words, keeps of its distribution for itself, `(2, N)`.

        That is its likeness to itself, normalised. In a large catalog it is estimated, for training; `rows`
        are exact.
        """
        return 1 / self._totals()

    def between(self, items: Tensor) -> Tensor:
        """Normalised likeness `(2, B, n, n)` of items `(B, n)` of sequences to each other; 0 to itself."""
        vectors, rest = self.vectors[items], self.rest[:, items]  # (B, n, D_v), (2, B, n)
        cosines = torch.stack([vectors @ vectors.transpose(1, 2), self._words_between(items)])
        alike = _to_powers(cosines) * rest[..., None]
        return alike.masked_fill_(items[:, :, None] == items[:, None], 0)

    def rows(self, items: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Some of the different items `(U,)` at a time, their distributions, and what they keep.

        Args:
            items: catalog indices.

        Returns:
            Parts of `(u,)` items, `(2, u, N)` normalised likeness, 0 for the item itself, and `(2, u)` kept.
        """
        for block in torch.split(items, max(1, _CELLS // len(self))):
            kernels = self._kernels(block, self.vectors, self._by_word)
            kernels[:, torch.arange(len(block)), block] = 0
            rest = 1 / (1 + kernels.sum(-1))
            yield block, kernels.mul_(rest[..., None]), rest

    def _kernels(self, items: Tensor, vectors: Tensor, by_word: csr_matrix) -> Tensor:
        """Kernels `(2, u, M)` of items to M others, by their vectors `(M, D_v)` and their words `(V, M)`."""
        cosines = torch.empty(2, len(items), len(vectors), device=vectors.device)
        cosines[0] = self.vectors[items] @ vectors.T
        # Words are sparse, and their product is not: (u, V) @ (V, M) -> (u, M)
        cosines[1] = torch.from_numpy((self.words[items.cpu().numpy()] @ by_word).toarray())
        return _to_powers(cosines)

    def _totals(self) -> Tensor:
        """Sums of kernels `(2, N)`; of a large catalog estimated from items drawn evenly, the same each time.

        An item is wholly like itself, so they are 1 at least.
        """
        N, device = len(self), self.vectors.device
        size = min(N, max(_FEWEST, _PAIRS // N))
        drawn = np.sort(np.random.default_rng(0).permutation(N)[:size])
        others = torch.from_numpy(drawn).to(device)
        vectors, by_word = self.vectors[others], self.words[drawn].T.tocsr()
        totals = torch.ones(2, N, device=device)
        for block in torch.split(torch.arange(N, device=device), max(1, _CELLS // size)):
            itself = block[:, None] == others
            # (2, u, M) -> (2, u): a sample's sum, scaled up to all other items
            found = self._kernels(block, vectors, by_word).masked_fill_(itself, 0).sum(-1)
            stands_for = (N - 1) / (size - itself.sum(1)).clamp(min=1)
            totals[:, block] += found * stands_for
        return totals

    def _words_between(self, items: Tensor) -> Tensor:
        """Cosines `(B, n, n)` of words, a few sequences at a time: their words are far fewer than all."""
        from scipy.sparse import csr_matrix

        B, n = items.shape
        cosines = np.empty((B, n, n), np.float32)
        step = max(1, 512 // max(n, 1))
        for start in range(0, B, step):
            part = items[start : start + step].cpu().numpy()
            rows = self.words[part.ravel()]
            used, columns = np.unique(rows.indices, return_inverse=True)
            few = csr_matrix((rows.data, columns, rows.indptr), (rows.shape[0], len(used)))
            dense = few.toarray().reshape(*part.shape, len(used))
            cosines[start : start + step] = dense @ dense.transpose(0, 2, 1)
        return torch.from_numpy(cosines).to(self.vectors.device)


def _to_powers(cosines: Tensor) -> Tensor:
    """Turn cosines `(2, …)`, which are lost, into kernels."""
    cosines.clamp_(min=0)
    cosines[0].pow_(_VECTOR_POWER)
    cosines[1].pow_(_WORD_POWER)
    return cosines


def _words(texts: Sequence[str]) -> csr_matrix:
    """TF-IDF of texts, `(N, V)`; without a column where none holds a word."""
    from scipy.sparse import csr_matrix

    if not any_word(texts):
        return csr_matrix((len(texts), 0), dtype=np.float32)
    return tfidf_words().fit_transform(texts).astype(np.float32)


def unit_vectors(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """What cosines are computed from: a catalog's vectors `(N, D_v)` less their mean, of length 1.

    Texts of one shop have much in common, and what all have in common tells no item from another.
    """
    centred = vectors.astype(np.float32) - vectors.mean(0, dtype=np.float32)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-12))
