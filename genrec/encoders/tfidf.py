"""TF-IDF vectors: fitted on the catalog's own texts in seconds, without a download."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import ANY, Settings
from genrec.common.errors import InputError, RecommenderError
from genrec.encoders.base import read_settings, write_config

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = ["TfidfEncoder", "TfidfSettings"]

MODEL, VOCABULARY = "model.safetensors", "vocabulary.json"
_MOST_TERMS = 100_000
"""Most words and word pairs that are counted, the most frequent ones."""
_RETIRED = {"max_features": ANY}


class TfidfSettings(Settings):
    """How TF-IDF vectors are made."""

    dimension: int = Field(default=256, ge=1)
    """Size of the vectors; less for catalogs with fewer items or words."""
    seed: int = 0
    """Fixes the randomized SVD."""


class TfidfEncoder:
    """TF-IDF of words and word pairs, reduced by truncated SVD (latent semantic analysis).

    Deerwester et al. 1990, "Indexing by Latent Semantic Analysis"; term counts are damped to
    ``1 + log(count)``.
    """

    kind = "tfidf"

    def __init__(self, settings: TfidfSettings | None = None) -> None:
        self.settings = TfidfSettings() if settings is None else settings
        self._vectorizer: TfidfVectorizer | None = None
        self._components = np.empty((0, 0), np.float32)  # (F, D), features to dimensions

    @property
    def dimension(self) -> int:
        """D, the size of the vectors; 0 before `fit`."""
        return self._components.shape[1]

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn vocabulary, weights and dimensions from a catalog's texts.

        Raises:
            InputError: the texts hold no word at all.
        """
        from sklearn.utils.extmath import randomized_svd

        vectorizer = _vectorizer(max_features=_MOST_TERMS)
        try:
            counts = vectorizer.fit_transform(texts)
        except ValueError as error:
            if "empty vocabulary" not in str(error):
                raise
            raise InputError(
                f"none of the {len(texts)} texts holds a word: give items a title or other text"
            ) from None
        size = min(self.settings.dimension, *counts.shape)
        _, _, components = randomized_svd(counts, size, random_state=self.settings.seed)
        self._vectorizer = vectorizer
        self._components = np.ascontiguousarray(components.T, dtype=np.float32)
        return self

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors `(N, D)` of texts, seen in `fit` or not; unknown words count nothing.

        Raises:
            InputError: before `fit`.
        """
        vectorizer = self._fitted()
        if not len(texts):
            return np.empty((0, self.dimension), np.float32)
        vectors = np.asarray(vectorizer.transform(texts) @ self._components, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)

    def encode_parts(self, parts: Iterable[Sequence[str]]) -> Iterator[NDArray[np.float32]]:
        """Yield ``encode(part)`` for one part of the texts after another."""
        return map(self.encode, parts)

    def save(self, folder: str | Path) -> None:
        """Write settings and vocabulary as JSON, weights and components as safetensors."""
        from safetensors.numpy import save_file

        vectorizer, folder = self._fitted(), Path(folder)
        write_config(folder, self.kind, self.settings)
        terms = vectorizer.get_feature_names_out().tolist()
        vocabulary = json.dumps(terms, ensure_ascii=False)
        (folder / VOCABULARY).write_text(vocabulary, encoding="utf-8")
        save_file({"idf": vectorizer.idf_, "components": self._components}, folder / MODEL)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what `save` wrote; the vectors are equal bit for bit.

        Raises:
            RecommenderError: a file is missing, cannot be read or does not fit the others.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)
        encoder = cls(read_settings(folder, cls.kind, TfidfSettings, _RETIRED))
        try:
            terms = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
            state = load_file(folder / MODEL)
            encoder._components = state["components"]
            encoder._vectorizer = _vectorizer(vocabulary={t: i for i, t in enumerate(terms)})
            encoder._vectorizer.idf_ = state["idf"]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise RecommenderError(f"{folder}: not a TF-IDF encoder ({error})") from None
        return encoder

    def fingerprint(self) -> str:
        """Return a hash of vocabulary, weights and components."""
        vectorizer = self._fitted()
        digest = hashlib.sha256("\n".join(vectorizer.get_feature_names_out()).encode())
        digest.update(vectorizer.idf_.tobytes())
        digest.update(self._components.tobytes())
        return f"tfidf-{digest.hexdigest()}"

    def _fitted(self) -> TfidfVectorizer:
        if self._vectorizer is None:
            raise InputError("this TfidfEncoder is not fitted yet: call fit(texts) first")
        return self._vectorizer


def _vectorizer(**options: Any) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        token_pattern=r"(?u)\b\w+\b",  # noqa: S106
        dtype=np.float32,
        **options,
    )
