"""Item tokenizer: what turns vectors `(N, D)` into codes `(N, L)` and back.

A subclass names its `kind`, fits in `_fit`, and gives its state as named arrays; checking of input,
drawing a sample, walking large tables, saving and loading are here, once, so that every item
tokenizer refuses and keeps the same things. A memory-mapped table is never held in memory as a whole.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from genrec.common.config import Settings, validate
from genrec.common.errors import InputError, RecommenderError
from genrec.common.progress import progress

__all__ = [
    "ItemTokenizer",
    "ItemTokenizerSettings",
    "as_codes",
    "as_table",
    "as_vectors",
    "read_config",
]

CONFIG, MODEL = "config.json", "model.safetensors"
BLOCK = 1 << 15
"""Rows of a table that are held in memory as float32 at once."""


class ItemTokenizerSettings(Settings):
    """What every item tokenizer of vectors can be told."""

    max_points: int = Field(default=1 << 18, ge=1)
    """Larger catalogs are fitted on this many vectors, drawn at random."""
    seed: int = 0
    """Fixes everything that is drawn at random."""


class ItemTokenizer(ABC):
    """Turns vectors into L codes each, `0 <= code < codebook_sizes[l]`, and codes into vectors.

    Attributes:
        kind: the name of this sort of item tokenizer in settings and saved folders.
        aligns: whether `fit` can use collaborative vectors.
        settings: what it was made with.
        dimension: D, the size of the vectors it was fitted on; 0 before `fit`.
    """

    kind: ClassVar[str]
    settings_class: ClassVar[type[ItemTokenizerSettings]]
    aligns: ClassVar[bool] = False

    def __init__(self, settings: ItemTokenizerSettings | None = None) -> None:
        self.settings = self.settings_class() if settings is None else settings
        self.dimension = 0

    def fit(self, vectors: ArrayLike, collaborative: ArrayLike | None = None) -> Self:
        """Learn the codebooks from `(N, D)` vectors, N >= 1; a second call starts over.

        Args:
            vectors: `(N, D)` of any float type; a `numpy.memmap` is read block by block.
            collaborative: `(N, C)`, what behaviour says of the same items, for codes to agree with
                (`aligns` says who can); a row of zeros is an item without behaviour. `encode` needs
                none of it.

        Raises:
            InputError: a table is not 2-D and finite, there are no vectors, the tables are not of
                the same items, or this item tokenizer cannot use collaborative vectors.
        """
        table = as_table(vectors)
        if not table.size:
            raise InputError(
                f"an item tokenizer needs at least one vector to fit, got {table.shape}"
            )
        rows = self._sample(len(table))
        behaviour = None if collaborative is None else self._alignment_of(collaborative, table)
        sample = _rows_of(table, rows)
        self._fit(sample, None if behaviour is None else _rows_of(behaviour, rows))
        self.dimension = table.shape[1]
        return self

    def encode(self, vectors: ArrayLike) -> NDArray[np.int32]:
        """Return the codes `(N, L)` int32 of `(N, D)` vectors, seen in `fit` or not.

        A `numpy.memmap` is read block by block.

        Raises:
            InputError: before `fit`, or the vectors are not finite, 2-D and of size `dimension`.
        """
        self._require_fitted()
        table = as_table(vectors)
        if table.shape[1] != self.dimension:
            raise InputError(
                f"vectors have {table.shape[1]} dimensions, the item tokenizer was fitted on "
                f"{self.dimension}: encode the items with the same encoder and settings"
            )
        codes = np.empty((len(table), len(self.codebook_sizes)), np.int32)
        with progress("Encoding vectors", len(table), shown=len(table) > BLOCK) as advance:
            for first, block in _blocks(table):
                codes[first : first + len(block)] = self._encode(block)
                advance(len(block))
        return codes

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
    def _fit(self, vectors: NDArray[np.float32], collaborative: NDArray[np.float32] | None) -> None:
        """Learn from at most `max_points` vectors; `collaborative` is None unless `aligns`."""

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
        config = read_config(folder)
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

    def _sample(self, count: int) -> NDArray[np.int64] | None:
        """Draw the rows to fit on, ascending; None means all."""
        if count <= self.settings.max_points:
            return None
        generator = np.random.default_rng(self.settings.seed)
        return np.sort(generator.choice(count, self.settings.max_points, replace=False))

    def _alignment_of(self, collaborative: ArrayLike, vectors: NDArray[Any]) -> NDArray[Any]:
        if not self.aligns:
            raise InputError(
                f"an item tokenizer of kind {self.kind!r} cannot align its codes with "
                f"collaborative vectors: join them with the vectors instead, or use rqvae, moe or fsq"
            )
        table = as_table(collaborative)
        if len(table) != len(vectors):
            raise InputError(
                f"collaborative vectors must be of the same items: got {len(table)} rows for "
                f"{len(vectors)} vectors"
            )
        return table

    def _require_fitted(self) -> None:
        if not self.dimension:
            raise InputError(
                f"this {type(self).__name__} is not fitted yet: call fit(vectors) first"
            )


def as_table(vectors: ArrayLike) -> NDArray[Any]:
    """Return `(N, D)` vectors as an array of numbers, uncopied if they are one already.

    Raises:
        InputError: not 2-D, or not numbers.
    """
    try:
        table = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"vectors must be a table of numbers (N, D): {error}") from None
    if table.dtype.kind not in "fiu":
        raise InputError(f"vectors must be a table of numbers (N, D), got {table.dtype}")
    if table.ndim != 2:
        raise InputError(f"vectors must be a table (N, D), got shape {table.shape}")
    return table


def as_vectors(vectors: ArrayLike) -> NDArray[np.float32]:
    """Return `(N, D)` vectors as contiguous float32, from any type of number.

    Raises:
        InputError: not 2-D, not numbers, or a value is NaN or infinite in float32.
    """
    table = as_table(vectors)
    with np.errstate(over="ignore"):
        table = np.ascontiguousarray(table, dtype=np.float32)
    _require_finite(table, table, np.arange(len(table)))
    return table


def _blocks(table: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the first row and the float32 values of block after block."""
    for first in range(0, len(table), BLOCK):
        yield first, _rows_of(table, np.arange(first, min(first + BLOCK, len(table))))


def _rows_of(table: NDArray[Any], rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Return some rows (None: all) as contiguous float32, each checked to be finite."""
    if rows is None:
        return as_vectors(table)
    chosen = np.empty((len(rows), table.shape[1]), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        whole = part[-1] - part[0] + 1 == len(part)
        with np.errstate(over="ignore"):
            chosen[start : start + BLOCK] = table[part[0] : part[-1] + 1] if whole else table[part]
        _require_finite(chosen[start : start + BLOCK], table, part)
    return chosen


def _require_finite(
    values: NDArray[np.float32], table: NDArray[Any], rows: NDArray[np.int64]
) -> None:
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise InputError(
            f"vectors must be finite: {int((~finite).sum())} of {len(rows)} rows hold NaN or "
            f"infinity, the first is row {int(rows[np.argmin(finite)])} of {len(table)}"
        )


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


def read_config(folder: Path) -> dict[str, Any]:
    """Return what `ItemTokenizer.save` wrote into ``config.json``.

    Raises:
        RecommenderError: the file is missing, no JSON object, or lacks a part.
    """
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
