"""Words of a catalog that a text model knows, and each text as a weighted bag of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.data.words import any_word, tfidf_words
from genrec.recommender.tables import reading

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = ["KnownWords", "WordBags"]

VOCABULARY = "words.json"
_MOST_WORDS = 50_000
"""Most words that are known, the most frequent ones."""
_FEWEST_TEXTS = 2
"""A word in fewer texts tells nothing of any other item."""
_LEAST_STRENGTH = 1e-5
"""A direction whose singular value is smaller, beside the largest, is rounding."""


@dataclass(frozen=True, eq=False)
class KnownWords:
    """V words with their inverse document frequencies: texts to TF-IDF.

    Attributes:
        words: `V` of them, lower-cased.
        idf: `(V,)` float64.
    """

    words: list[str]
    idf: NDArray[np.float64]

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Self:
        """The words that two or more of the texts hold, the most frequent `_MOST_WORDS` of them."""
        if not any_word(texts):
            return cls([], np.empty(0))
        vectorizer = tfidf_words()
        counts = vectorizer.fit_transform(texts)
        texts_with = np.bincount(counts.indices, minlength=counts.shape[1])  # (V,)
        often = np.argsort(-texts_with, kind="stable")[:_MOST_WORDS]
        kept = np.sort(often[texts_with[often] >= _FEWEST_TEXTS])
        words = vectorizer.get_feature_names_out()[kept].tolist()
        return cls(words, np.ascontiguousarray(vectorizer.idf_[kept]))

    def __len__(self) -> int:
        return len(self.words)

    def rows(self, texts: Sequence[str]) -> csr_matrix:
        """TF-IDF of N texts, `(N, V)` float32: rows of length 1, or 0 without a known word."""
        from scipy.sparse import csr_matrix

        if not self.words or not len(texts):
            return csr_matrix((len(texts), len(self.words)), dtype=np.float32)
        found: csr_matrix = self._vectorizer.transform(texts).tocsr().astype(np.float32)
        return found

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer:
        vectorizer = tfidf_words()
        vectorizer.set_params(vocabulary={word: place for place, word in enumerate(self.words)})
        vectorizer.idf_ = self.idf
        return vectorizer

    def start(self, rows: csr_matrix, width: int, seed: int) -> Tensor:
        """Vectors of the words before training, `(V, width)`: latent semantic analysis of the texts.

        Directions that the texts do not have (fewer of them, or of words that tell them apart, than `width`)
        stay 0.
        """
        from sklearn.utils.extmath import randomized_svd

        start = torch.zeros(len(self.words), width)
        size = min(width, *rows.shape)
        if size and rows.nnz:
            _, strengths, components = randomized_svd(rows, size, random_state=seed)
            components[strengths < _LEAST_STRENGTH * strengths[0]] = 0.0
            start[:, :size] = torch.from_numpy(np.ascontiguousarray(components.T, np.float32))
        return start

    def save(self, folder: Path) -> None:
        """Write the words as JSON; their frequencies go with the network's weights."""
        text = json.dumps(self.words, ensure_ascii=False)
        (folder / VOCABULARY).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, idf: NDArray[np.float64]) -> Self:
        """Read what `save` wrote.

        Raises:
            RecommenderError: the file cannot be read, or does not hold a word for each frequency.
        """
        path = folder / VOCABULARY
        with reading(path):
            words = json.loads(path.read_text(encoding="utf-8"))
            distinct = {word for word in words if isinstance(word, str)}
            if not isinstance(words, list) or not len(words) == len(distinct) == len(idf):
                raise ValueError(f"it does not hold {len(idf)} words")
            return cls(words, idf)


@dataclass(frozen=True, eq=False)
class WordBags:
    """Texts as bags of word numbers and weights, one behind the other.

    Attributes:
        words: `(M,)` word of each entry. weights: `(M,)` its weight.
        starts: `(N + 1,)` where the bag of each text begins, and where the last one ends.
    """

    words: Tensor
    weights: Tensor
    starts: Tensor

    @classmethod
    def of(cls, rows: csr_matrix, device: torch.device) -> Self:
        """The bags of TF-IDF rows `(N, V)`."""
        words, starts = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
        parts = (words, rows.data.astype(np.float32), starts)
        return cls(*(torch.from_numpy(part).to(device) for part in parts))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, items: Tensor) -> WordBags:
        """The bags of those texts, in that order."""
        lengths = (self.starts[1:] - self.starts[:-1])[items]
        ends = lengths.cumsum(0)
        total = int(ends[-1]) if len(ends) else 0
        within = torch.arange(total, device=items.device) - (ends - lengths).repeat_interleave(
            lengths
        )
        chosen = self.starts[items].repeat_interleave(lengths) + within
        starts = torch.cat([ends.new_zeros(1), ends])
        return WordBags(self.words[chosen], self.weights[chosen], starts)
