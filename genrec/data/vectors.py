"""Item vectors of the user's own: of images, of audio, of another model, keyed by item id.

Parquet with an ``item_id`` column and the vectors in a list column or in numeric columns; or a NumPy
file of `(M, D)` with the ids beside it (``images.npy`` and ``images.ids.txt``, one id a line, or
``images.ids.json``, a list), or without them in the order of the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import DataError
from genrec.data.catalog import Catalog
from genrec.data.reading.readers import ReadReport, nearest, read_table
from genrec.data.values import Place, as_ids

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["VectorFile", "read_vectors", "split_weight", "unit_rows", "vectors_setting"]

CHUNK = 1 << 16
"""Rows converted at once."""


class VectorFile(Settings):
    """A file of item vectors, and how much they count."""

    path: Path
    """A .parquet or .npy file."""
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Length of these vectors beside others of weight 1."""
    ids: Path | None = None
    """Item ids of the rows of a .npy file; None looks beside it."""
    item_id: str = "item_id"
    """Column of item ids in a Parquet file."""
    column: str | None = None
    """List column with the vectors in a Parquet file; None takes the only one, or else all numeric
    columns."""


@dataclass(frozen=True)
class _Table:
    """What a file holds: ids `(M,)`, None where they are the catalog's, and vectors `(M, D)`."""

    ids: pa.Array | None
    vectors: NDArray[Any]


def vectors_setting(words: Sequence[str]) -> list[str]:
    """Return the ``vectors=[…]`` that options ``FILE`` and ``FILE:weight`` mean; nothing for none."""
    files: list[dict[str, str | float]] = []
    for word in words:
        path, weight = split_weight(word)
        files.append({"path": path} if weight is None else {"path": path, "weight": weight})
    return [f"vectors={json.dumps(files)}"] if files else []


def split_weight(word: str) -> tuple[str, float | None]:
    """Take ``PATH:weight`` apart; without a number behind it, a colon is the path's own."""
    path, colon, weight = word.rpartition(":")
    try:
        return (path, float(weight)) if colon else (word, None)
    except ValueError:
        return word, None


def read_vectors(file: VectorFile, catalog: Catalog) -> tuple[NDArray[np.float16], ReadReport]:
    """Read the vectors of a catalog's items, scaled to length 1.

    An item that the file lacks gets a vector of zeros, which is near to nobody; the report counts
    these items, and the ids that are not in the catalog.

    Args:
        file: what to read.
        catalog: N items.

    Returns:
        `(N, D)` in catalog order: half precision, so that a recommender can keep what it was fitted
        on; and the report.

    Raises:
        DataError: the file cannot be read, an id occurs twice, a vector is not finite, rows and ids
            differ in number, or no item has a vector.
    """
    source, suffix = str(file.path), file.path.suffix.lower()
    if suffix == ".npy":
        table = _read_npy(file, catalog)
    elif suffix in (".parquet", ".pq") or file.path.is_dir():
        table = _read_parquet(file)
    else:
        raise DataError("item vectors are read from .parquet and .npy files", source=source)
    row = np.arange(len(catalog))
    if table.ids is not None:
        row = _row_of_items(table.ids, catalog, source)
    found = np.flatnonzero(row >= 0)
    if not len(found):
        shown = ", ".join(map(repr, table.ids[:3].to_pylist() if table.ids is not None else []))
        message = f"none of its item ids is in the catalog; the first are {shown}"
        raise DataError(message, source=source)
    vectors = np.zeros((len(catalog), table.vectors.shape[1]), np.float16)
    for start in range(0, len(found), CHUNK):
        items = found[start : start + CHUNK]
        part = np.asarray(table.vectors[row[items]], np.float64)
        _require_finite(part, row[items], [catalog.item_ids[i] for i in items], source)
        vectors[items] = unit_rows(part)
    return vectors, _report(len(table.vectors), len(found), len(catalog), source)


def unit_rows(vectors: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Scale rows to length 1; rows of zeros stay."""
    # Divided by the largest entry first, so that squares neither overflow nor vanish.
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    vectors = vectors / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


def _read_npy(file: VectorFile, catalog: Catalog) -> _Table:
    source = str(file.path)
    try:
        vectors = np.load(file.path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        siblings = [p.name for p in file.path.parent.glob("*")]
        raise DataError(f"no such file{nearest(file.path.name, siblings)}", source=source) from None
    except (OSError, ValueError, EOFError) as error:
        objects = any(word in str(error) for word in ("pickle", "Python objects"))
        reason = "pickled objects are never loaded" if objects else str(error)
        raise DataError(f"not a NumPy file of numbers ({reason})", source=source) from None
    numeric = np.issubdtype(vectors.dtype, np.floating) or np.issubdtype(vectors.dtype, np.integer)
    if vectors.ndim != 2 or not vectors.size or not numeric:
        message = f"expected a table of numbers (items, D), found {vectors.dtype} {vectors.shape}"
        raise DataError(message, source=source)
    ids = _ids_beside(file)
    expected = len(catalog) if ids is None else len(ids)
    if len(vectors) != expected:
        whose = "items in the catalog" if ids is None else "item ids beside it"
        advice = f": give the ids of its rows in {file.path.stem}.ids.txt" if ids is None else ""
        message = f"{len(vectors):,} vectors for {expected:,} {whose}{advice}"
        raise DataError(message, source=source)
    return _Table(ids, vectors)


def _ids_beside(file: VectorFile) -> pa.Array | None:
    """Read the ids of a NumPy file's rows; None if there is no file of ids."""
    import pyarrow as pa

    beside = [file.path.with_suffix(suffix) for suffix in (".ids.txt", ".ids.json")]
    path = file.ids or next((path for path in beside if path.exists()), None)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")  # as Windows writes it, or without its mark
        ids = json.loads(text) if path.suffix == ".json" else _lines(text)
    except (OSError, ValueError) as error:
        raise DataError(f"the item ids cannot be read ({error})", source=path) from None
    if not isinstance(ids, list) or not all(isinstance(item_id, (str, int)) for item_id in ids):
        raise DataError("expected a JSON list of item ids", source=path)
    place = Place(str(path), "item_id", np.arange(1, len(ids) + 1))
    return as_ids(pa.array([str(item_id) for item_id in ids], pa.string()), place)


def _lines(text: str) -> list[str]:
    """Lines as editors count them: an id may hold any other character that Unicode calls a line's end."""
    lines = text.split("\n")  # read_text has made \r\n and \r that already
    return lines[:-1] if lines[-1] == "" else lines


def _read_parquet(file: VectorFile) -> _Table:
    table, source = read_table(file.path, texts=[file.item_id, file.column or file.item_id])
    names = table.column_names
    for name in (file.item_id, file.column or file.item_id):
        if name not in names:
            message = f"no such column; found {', '.join(map(repr, names))}{nearest(name, names)}"
            raise DataError(message, source=source, column=name)
    place = Place(source, file.item_id, np.arange(1, table.num_rows + 1))
    ids = as_ids(table[file.item_id].combine_chunks(), place)
    column = file.column or _only_list(table, source)
    if column is not None:
        return _Table(ids, _list_vectors(table[column], ids, source, column))
    numeric = [name for name in names if name != file.item_id and _is_numeric(table[name].type)]
    if not numeric:
        message = "no vectors: neither a column of lists nor numeric columns beside the ids"
        raise DataError(message, source=source)
    columns = [table[name].to_numpy().astype(np.float64) for name in numeric]
    return _Table(ids, np.stack(columns, axis=1))


def _only_list(table: pa.Table, source: str) -> str | None:
    lists = [field.name for field in table.schema if _is_list(field.type)]
    if len(lists) > 1:
        message = f"several columns of lists: {', '.join(lists)}; name one with vectors.column"
        raise DataError(message, source=source)
    return lists[0] if lists else None


def _list_vectors(
    column: pa.ChunkedArray, ids: pa.Array, source: str, name: str
) -> NDArray[np.float64] | NDArray[np.float32]:
    """Return a column of lists as `(M, D)`; missing numbers become NaN.

    Raises:
        DataError: not lists of numbers, a list is missing, or lengths differ.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_list(column.type) or not _is_numeric(column.type.value_type):
        message = f"expected lists of numbers, found {column.type}"
        raise DataError(message, source=source, column=name)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    if len(wrong := np.flatnonzero((lengths != lengths[0]) | (lengths == 0))):
        row = int(wrong[0])
        message = f"the vector has {lengths[row]} numbers, that of row 1 has {lengths[0]}"
        item_id = ids[row].as_py()
        raise DataError(message, source=source, row=row + 1, column=name, value=item_id)
    kind = pa.float64() if pa.types.is_float64(column.type.value_type) else pa.float32()
    parts = [chunk.flatten().cast(kind, safe=False) for chunk in column.chunks]
    values = np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts])
    return values.reshape(len(lengths), -1)


def _row_of_items(ids: pa.Array, catalog: Catalog, source: str) -> NDArray[np.int64]:
    """Return the file's row `(N,)` of each item of the catalog, -1 where it has none."""
    items = catalog.lookup(ids)
    known = np.flatnonzero(items >= 0)
    row = np.full(len(catalog), -1, np.int64)
    row[items[known]] = known
    if len(repeats := known[row[items[known]] != known]):
        first = int(repeats[0])
        raise DataError(
            f"the item has another vector in row {row[items[first]] + 1}; keep one of the two",
            source=source,
            row=first + 1,
            value=ids[first].as_py(),
        )
    return row


def _require_finite(
    vectors: NDArray[np.float64], rows: NDArray[np.int64], item_ids: Sequence[str], source: str
) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(
            "the item's vector holds NaN, infinity or a gap; leave the item out instead",
            source=source,
            row=int(rows[bad[0]]) + 1,
            value=item_ids[bad[0]],
        )


def _report(rows: int, found: int, items: int, source: str) -> ReadReport:
    dropped = {"not in the catalog": rows - found} if rows > found else {}
    missing = f"{items - found:,} of {items:,} items have no vector in it: zeros there"
    return ReadReport(source, rows, found, dropped, (missing,) if items > found else ())


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_numeric(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_floating(kind) or types.is_integer(kind))
