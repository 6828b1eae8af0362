"""The item tokenizer: what turns vectors `(N, D)` into codes `(N, L)` and back.

A subclass names its `kind`, fits in `_fit`, and gives its state as named arrays; checking of input,
saving and loading are here, once, so that every item tokenizer refuses and keeps the same things.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.config import Settings, validate
from genrec.errors import InputError, RecommenderError

__all__ = [
    "ItemTokenizer",
    "as_codes",
    "as_vectors",
    "load_item_tokenizer",
    "make_item_tokenizer",
]

CONFIG, MODEL = "config.json", "model.safetensors"


class ItemTokenizer(ABC):
    """Turns vectors into L codes each, `0 <= code < codebook_sizes[l]`, and codes into vectors.

    Attributes:
        kind: the name of this sort of item tokenizer in settings and saved folders.
        settings: what it was made with.
        dimension: D, the size of the vectors it was fitted on; 0 before `fit`.
    """

    kind: ClassVar[str]
    settings_class: ClassVar[type[Settings]]

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = self.settings_class() if settings is None else settings
        self.dimension = 0

    def fit(self, vectors: ArrayLike) -> Self:
        """Learn the codebooks from `(N, D)` vectors, N >= 1; a second call starts over.

        Raises:
            InputError: the vectors are not a 2-D table of finite numbers, or there are none.
        """
        table = as_vectors(vectors)
        if not table.size:
            raise InputError(
                f"an item tokenizer needs at least one vector to fit, got {table.shape}"
            )
        self._fit(table)
        self.dimension = table.shape[1]
        return self

    def encode(self, vectors: ArrayLike) -> NDArray[np.int32]:
        """Return the codes `(N, L)` int32 of `(N, D)` vectors, seen in `fit` or not.

        Raises:
            InputError: before `fit`, or the vectors are not finite, 2-D and of size `dimension`.
        """
        self._require_fitted()
        table = as_vectors(vectors)
        if table.shape[1] != self.dimension:
            raise InputError(
                f"vectors have {table.shape[1]} dimensions, the item tokenizer was fitted on "
                f"{self.dimension}: encode the items with the same encoder and settings"
            )
        if not len(table):
            return np.empty((0, len(self.codebook_sizes)), np.int32)
        return self._encode(table)

    def decode(self, codes: ArrayLike) -> NDArray[np.float32]:
        """Return the vectors `(N, D)` float32 that codes `(N, L)` stand for.

        Raises:
            InputError: before `fit`, or a code is outside its codebook.
        """
        self._require_fitted()
        table = as_codes(codes, self.codebook_sizes)
        if not len(table):
            return np.empty((0, self.dimension), np.float32)
        return self._decode(table)

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """How many codes each level has, `(K_0, …, K_{L-1})`."""

    @abstractmethod
    def _fit(self, vectors: NDArray[np.float32]) -> None: ...

    @abstractmethod
    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]: ...

    @abstractmethod
    def _decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]: ...

    @abstractmethod
    def _state(self) -> dict[str, NDArray[Any]]:
        """Return everything that was learned, as named arrays."""

    @abstractmethod
    def _restore(self, state: dict[str, NDArray[Any]], dimension: int) -> None:
        """Take back what `_state` gave; `dimension` is D."""

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into `folder`, made if absent."""
        from safetensors.numpy import save_file

        self._require_fitted()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "kind": self.kind,
            "dimension": self.dimension,
            "codebook_sizes": list(self.codebook_sizes),
            "settings": self.settings.model_dump(mode="json"),
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(
            {name: np.ascontiguousarray(array) for name, array in self._state().items()},
            folder / MODEL,
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what `save` wrote.

        Raises:
            RecommenderError: the folder is incomplete, of another kind, or its two files disagree.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)
        config = _read_config(folder)
        if config["kind"] != cls.kind:
            raise RecommenderError(
                f"{folder}: holds an item tokenizer of kind {config['kind']!r}, not {cls.kind!r}"
            )
        settings = validate(cls.settings_class, config["settings"], source=str(folder / CONFIG))
        tokenizer = cls(settings)
        try:
            tokenizer._restore(load_file(folder / MODEL), config["dimension"])
        except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
            raise RecommenderError(f"{folder / MODEL}: cannot be read ({error})") from None
        tokenizer.dimension = config["dimension"]
        if list(tokenizer.codebook_sizes) != config["codebook_sizes"]:
            raise RecommenderError(
                f"{folder}: {MODEL} has codebooks of sizes {list(tokenizer.codebook_sizes)}, "
                f"{CONFIG} says {config['codebook_sizes']}: the files are not of one item tokenizer"
            )
        return tokenizer

    def _require_fitted(self) -> None:
        if not self.dimension:
            raise InputError(
                f"this {type(self).__name__} is not fitted yet: call fit(vectors) first"
            )


def make_item_tokenizer(settings: Settings) -> ItemTokenizer:
    """Return the unfitted item tokenizer that `settings` (with its ``kind``) describes."""
    return _class_of(getattr(settings, "kind", type(settings).__name__), "settings")(settings)


def load_item_tokenizer(folder: str | Path) -> ItemTokenizer:
    """Read an item tokenizer of whichever kind `folder` holds.

    Raises:
        RecommenderError: the folder is incomplete or names a kind that does not exist.
    """
    folder = Path(folder)
    return _class_of(_read_config(folder)["kind"], str(folder / CONFIG)).load(folder)


def _class_of(kind: str, source: str) -> type[ItemTokenizer]:
    """Return the class of a kind; imported here because two of the three bring in torch."""
    match kind:
        case "rqkmeans":
            from genrec.semantic_ids.rqkmeans import RQKMeans

            return RQKMeans
        case "rqvae":
            from genrec.semantic_ids.rqvae import RQVAE

            return RQVAE
        case "fsq":
            from genrec.semantic_ids.fsq import FSQ

            return FSQ
    raise RecommenderError(
        f"{source}: unknown item tokenizer {kind!r}; known: rqkmeans, rqvae, fsq"
    )


def as_vectors(vectors: ArrayLike) -> NDArray[np.float32]:
    """Return `(N, D)` vectors as contiguous float32, from any float type.

    Raises:
        InputError: not 2-D, not numbers, or a value is NaN or infinite in float32.
    """
    try:
        with np.errstate(over="ignore"):
            table = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"vectors must be a table of numbers (N, D): {error}") from None
    if table.ndim != 2:
        raise InputError(f"vectors must be a table (N, D), got shape {table.shape}")
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        raise InputError(
            f"vectors must be finite: {int((~finite).sum())} of {len(table)} rows hold NaN or "
            f"infinity, the first is row {int(np.argmin(finite))}"
        )
    return table


def as_codes(codes: ArrayLike, sizes: tuple[int, ...]) -> NDArray[np.int32]:
    """Return `(N, L)` codes as contiguous int32, each checked to be in its codebook.

    Raises:
        InputError: the shape or type is wrong, or a code is outside ``[0, sizes[l])``.
    """
    table = np.asarray(codes)
    if table.ndim != 2 or table.shape[1] != len(sizes):
        raise InputError(f"codes must be a table (N, {len(sizes)}), got shape {table.shape}")
    if table.size and not np.issubdtype(table.dtype, np.integer):
        raise InputError(f"codes must be integers, got {table.dtype}")
    bad = (table < 0) | (table >= np.asarray(sizes, dtype=np.int64))
    if bad.any():
        row, level = (int(place) for place in np.argwhere(bad)[0])
        raise InputError(
            f"row {row}: code {table[row, level]} of level {level} is outside its codebook of "
            f"{sizes[level]} codes"
        )
    return np.ascontiguousarray(table, dtype=np.int32)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecommenderError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise RecommenderError(f"{path}: not a valid JSON file ({error})") from None
    if not isinstance(config, dict):
        raise RecommenderError(f"{path}: expected a JSON object, found {type(config).__name__}")
    missing = {"kind", "dimension", "codebook_sizes", "settings"} - set(config)
    if missing:
        raise RecommenderError(
            f"{path}: not an item tokenizer, {', '.join(sorted(missing))} missing"
        )
    return config
