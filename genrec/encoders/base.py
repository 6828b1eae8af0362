"""Text encoder: the protocol, and the file that tells a saved one's kind and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from genrec.common.config import Settings, validate, without_retired
from genrec.common.errors import RecommenderError

__all__ = ["CONFIG", "TextEncoder", "read_config", "read_settings", "write_config"]

S = TypeVar("S", bound=Settings)
CONFIG = "config.json"


class TextEncoder(Protocol):
    """Turns texts into vectors of length 1 (0 for a text without a known word)."""

    @property
    def dimension(self) -> int:
        """D, the size of the vectors."""

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn from a catalog's texts; nothing to do for a pretrained model."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors `(N, D)` of any texts."""

    def encode_parts(self, parts: Iterable[Sequence[str]]) -> Iterator[NDArray[np.float32]]:
        """Yield ``encode(part)``, `(M, D)`, for one part of a large catalog's texts after another."""

    def save(self, folder: str | Path) -> None:
        """Write what `load_encoder` needs into `folder`, made if absent."""

    def fingerprint(self) -> str:
        """Return a name that changes whenever the vectors would."""


def write_config(folder: Path, kind: str, settings: Settings) -> None:
    """Write an encoder's kind and settings into `folder`, made if absent."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"kind": kind, "settings": settings.model_dump(mode="json")}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """Return what `write_config` wrote.

    Raises:
        RecommenderError: the file is missing or not JSON.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecommenderError(f"{path}: cannot be read ({error})") from None
    return dict(config) if isinstance(config, dict) else {}


def read_settings(
    folder: Path, kind: str, settings: type[S], retired: Mapping[str, Any] | None = None
) -> S:
    """Return the settings that `write_config` wrote, less those that are `retired`.

    Raises:
        RecommenderError: the folder holds another kind.
    """
    config = read_config(folder)
    if config.get("kind") != kind:
        raise RecommenderError(f"{folder}: holds an encoder {config.get('kind')!r}, not {kind!r}")
    source = str(folder / CONFIG)
    kept = without_retired(config.get("settings", {}), retired or {}, source)
    return validate(settings, kept, source=source)
