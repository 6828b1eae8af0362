"""Readers of tables, from a file or from memory, and the report of what was read.

CSV, TSV and JSON lines may be compressed (``.gz``, ``.zst``); Parquet compresses within. Rows come
in file order, in batches, so that a log larger than memory's comfort never lives as Python objects.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from genrec.common.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

__all__ = ["ReadReport", "Rows", "Source", "nearest", "open_rows", "read_table"]

Source: TypeAlias = "str | Path | datasets.Dataset | pa.Table"

BATCH_ROWS = 1 << 20
_BATCH_BYTES = 256 << 20
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class ReadReport:
    """What a reader found.

    Attributes:
        source: the file, or a word for an in-memory table.
        rows: rows read (of a log: interactions, also where one row holds a user's whole list).
        kept: rows kept; ``rows == kept + sum(dropped.values())``.
        dropped: rows left out, counted by reason.
        notes: what else is worth knowing, one sentence each.
    """

    source: str
    rows: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        reasons = [
            f"{count:,} dropped ({reason})" for reason, count in self.dropped.items() if count
        ]
        counts = ", ".join([f"{self.rows:,} rows read", *reasons, f"{self.kept:,} kept"])
        return [f"{self.source}: {counts}", *self.notes]


@dataclass(frozen=True)
class Rows:
    """An opened table.

    Attributes:
        source: the file, or a word for an in-memory table.
        columns: the names of all columns of the source.
        batches: tables with the chosen columns, in file order; may be walked once.
    """

    source: str
    columns: tuple[str, ...]
    batches: Iterator[pa.Table]

    def require(self, name: str, setting: str) -> None:
        """Refuse a source without the column `name`.

        Raises:
            DataError: the column is missing; names those found, the nearest one, and the `setting`
                that chooses another.
        """
        if name in self.columns:
            return
        found = ", ".join(repr(column) for column in self.columns)
        hint = nearest(name, self.columns)
        if len(self.columns) == 1 and (mark := _other_delimiter(self.columns[0])):
            hint = f"; are the fields separated by {mark!r}? Use ',' in .csv and tabs in .tsv files"
        raise DataError(
            f"no such column; found {found}{hint}. Name it with --{setting.replace('_', '-')} "
            f"({setting}= in Python)",
            source=self.source,
            column=name,
        )

    def grouped(self, rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
        """Join batches until they hold `rows` rows or 256 MiB."""
        import pyarrow as pa

        waiting: list[pa.Table] = []
        for batch in self.batches:
            waiting.append(batch)
            size = sum(table.nbytes for table in waiting)
            if sum(map(len, waiting)) >= rows or size >= _BATCH_BYTES:
                yield pa.concat_tables(waiting)
                waiting = []
        if waiting:
            yield pa.concat_tables(waiting)


def open_rows(source: Source, columns: Sequence[str]) -> Rows:
    """Open a table to stream some of its columns.

    Args:
        source: a file by its path, a Hugging Face `datasets.Dataset` or a `pyarrow.Table`.
        columns: the columns wanted; those that the source lacks are passed over.

    Returns:
        The rows. Text formats give text only (lists in JSON lines as JSON text, as CSV holds them);
        the others give their own types.

    Raises:
        DataError: the source cannot be read; says where and why.
    """
    if not isinstance(source, (str, Path)):
        return _in_memory(source, columns)
    path, kind = _identify(Path(source))
    if kind == "json":
        from genrec.data.json_lines import read_json_texts

        names, batches = read_json_texts(path, columns)
    else:
        names, batches = _file_batches(path, kind, columns)
    return Rows(str(path), tuple(names), batches)


def read_table(source: Source, texts: Sequence[str] = ()) -> tuple[pa.Table, str]:
    """Read a whole table with all its columns.

    Args:
        source: a file by its path, a Hugging Face `datasets.Dataset` or a `pyarrow.Table`.
        texts: columns of JSON lines to read as text whatever they hold.

    Returns:
        The table, and the name of the source for messages.

    Raises:
        DataError: the source cannot be read or has no rows.
    """
    import pyarrow as pa

    if isinstance(source, (str, Path)):
        path, kind = _identify(Path(source))
        if kind == "json":
            from genrec.data.json_lines import read_json_table

            return read_json_table(path, texts), str(path)
        names, batches = _file_batches(path, kind, None)
        rows = Rows(str(path), tuple(names), batches)
    else:
        rows = _in_memory(source, None)
    tables = list(rows.batches)
    if not sum(map(len, tables)):
        raise DataError("no rows: the source holds only a header", source=rows.source)
    return pa.concat_tables(tables), rows.source


def nearest(name: str, known: Sequence[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or nothing if none is near."""
    by_lower = {other.lower(): other for other in reversed(known)}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def _identify(path: Path) -> tuple[Path, str]:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compressed = bool(suffixes) and suffixes[-1] in _COMPRESSED
    suffix = suffixes[-2] if compressed and len(suffixes) > 1 else (suffixes or [""])[-1]
    kind = _FORMATS.get(suffix)
    if path.is_dir():
        files = sorted(file.name for file in path.iterdir() if set(file.suffixes) & set(_FORMATS))
        inside = f": {', '.join(files[:5])}" if files else ""
        raise DataError(f"a folder; name one file in it{inside}", source=path)
    if not path.exists():
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"no such file{nearest(path.name, siblings)}", source=path)
    if kind is None or (compressed and kind == "parquet"):
        raise DataError(
            "the extension does not name a format that can be read; use .csv, .tsv, .jsonl, "
            ".ndjson or .json (each also with .gz or .zst after it), or .parquet",
            source=path,
        )
    return path, kind


def _file_batches(
    path: Path, kind: str, columns: Sequence[str] | None
) -> tuple[list[str], Iterator[pa.Table]]:
    if kind == "parquet":
        return _read_parquet(path, columns)
    from genrec.data.delimited import read_delimited

    return read_delimited(path, "\t" if kind == "tsv" else ",", columns)


def _read_parquet(
    path: Path, columns: Sequence[str] | None
) -> tuple[list[str], Iterator[pa.Table]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"not a readable Parquet file ({error})", source=path) from None
    names = list(file.schema_arrow.names)

    def batches() -> Iterator[pa.Table]:
        wanted = [name for name in names if columns is None or name in columns]
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
                yield _plain(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"the file is damaged ({error})", source=path) from None

    return names, batches()


def _in_memory(source: Any, columns: Sequence[str] | None) -> Rows:
    import pyarrow as pa

    if isinstance(source, pa.Table):
        chosen = [name for name in source.column_names if columns is None or name in columns]
        parts = source.select(chosen).to_batches(max_chunksize=BATCH_ROWS)
        batches = (_plain(pa.Table.from_batches([part])) for part in parts)
        return Rows("pyarrow.Table", tuple(source.column_names), batches)
    if isinstance(source, Mapping):
        splits = ", ".join(repr(name) for name in source)
        raise DataError(f"a DatasetDict; pass one of its splits: {splits}", source="datasets")
    if hasattr(source, "with_format") and hasattr(source, "iter"):
        return _read_dataset(source, columns)
    raise DataError(
        f"cannot read a {type(source).__name__}; pass a path, a datasets.Dataset or a pyarrow.Table"
    )


def _read_dataset(dataset: Any, columns: Sequence[str] | None) -> Rows:
    if dataset.column_names is None:
        message = "its columns are unknown; load the dataset without streaming"
        raise DataError(message, source="datasets.IterableDataset")
    names = list(dataset.column_names)
    chosen = [name for name in names if columns is None or name in columns]
    tables = dataset.select_columns(chosen).with_format("arrow").iter(batch_size=BATCH_ROWS)
    return Rows("datasets.Dataset", tuple(names), map(_plain, tables))


def _plain(table: pa.Table) -> pa.Table:
    """Replace dictionary-encoded columns by their values."""
    import pyarrow.types as types

    for i, column in enumerate(table.schema):
        if types.is_dictionary(column.type):
            table = table.set_column(i, column.name, table[i].cast(column.type.value_type))
    return table


def _other_delimiter(header: str) -> str | None:
    return next((mark for mark in ";\t|," if mark in header), None)
