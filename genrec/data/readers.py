"""Readers of tables, from a file or from memory, and the report of what was read.

CSV, TSV and JSON lines may be compressed (``.gz``, ``.zst``); Parquet compresses within. Rows come
in file order, in batches, so that a log larger than memory's comfort never lives as Python objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from genrec.common.errors import DataError
from genrec.data.frames import open_frame, rows_of_dicts
from genrec.data.names import nearest, without_left_over
from genrec.data.part_files import delimited_rows, json_blocks, parquet_rows
from genrec.data.parts import Part, find_parts
from genrec.data.plain_columns import plain_table

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

    from genrec.data.json_lines import Block

__all__ = ["ReadReport", "Rows", "Source", "nearest", "open_rows", "read_table"]

Source: TypeAlias = "str | Path | datasets.Dataset | pa.Table | Sequence[Mapping[str, Any]] | Any"
"""A file, folder, glob or URL; a frame of pandas, polars or anything else with ``__arrow_c_stream__``; a
list of dicts; a `datasets.Dataset`; a `pyarrow.Table`."""

BATCH_ROWS = 1 << 20
_BATCH_BYTES = 256 << 20
_DICTS = "list of dicts"


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
        source: see `Source`.
        columns: the columns wanted; those that the source lacks are passed over.

    Returns:
        The rows. Text formats give text only (lists in JSON lines as JSON text, as CSV holds them);
        the others give their own types.

    Raises:
        DataError: the source cannot be read; says where and why.
    """
    name, blocks, parts = _take_apart(source)
    if blocks is not None:
        from genrec.data.json_lines import read_json_texts

        names, batches = read_json_texts(blocks, columns, name)
        rows = Rows(name, tuple(names), batches)
    else:
        rows = _typed_rows(source, name, parts, columns)
    return replace(rows, columns=tuple(without_left_over(rows.columns, columns)))


def read_table(source: Source, texts: Sequence[str] = ()) -> tuple[pa.Table, str]:
    """Read a whole table with all its columns, but for row numbers that pandas left over.

    Args:
        source: see `Source`.
        texts: columns to read, of JSON lines as text whatever they hold.

    Returns:
        The table, and the name of the source for messages.

    Raises:
        DataError: the source cannot be read or has no rows.
    """
    import pyarrow as pa

    name, blocks, parts = _take_apart(source)
    if blocks is not None:
        from genrec.data.json_lines import read_json_table

        table = read_json_table(blocks, texts, name)
    else:
        rows = _typed_rows(source, name, parts, None)
        name, tables = rows.source, list(rows.batches)
        if not sum(map(len, tables)):
            raise DataError("no rows: the source holds only a header", source=name)
        table = pa.concat_tables(tables)
    return table.select(without_left_over(table.column_names, texts)), name


def _take_apart(source: Source) -> tuple[str, Iterator[Block] | None, list[Part]]:
    """Name a source; give its lines if it is JSON or a list of dicts, and its files if it has some."""
    if isinstance(source, (str, Path)):
        name, parts = find_parts(source)
        return name, json_blocks(parts) if parts[0].kind == "json" else None, parts
    if (dicts := rows_of_dicts(source)) is not None:
        from genrec.data.json_lines import lines_of_rows

        return _DICTS, iter([(lines_of_rows(dicts, _DICTS), {})] if dicts else []), []
    return "", None, []


def _typed_rows(source: Any, name: str, parts: list[Part], columns: Sequence[str] | None) -> Rows:
    """Rows of what is not JSON."""
    if not parts:
        frame = open_frame(source, columns, BATCH_ROWS)
        plain = (plain_table(table, frame.source) for table in frame.batches)
        return Rows(frame.source, frame.columns, _counted(plain, frame.rows, frame.source))
    if parts[0].kind == "parquet":
        names, batches = parquet_rows(parts, columns, BATCH_ROWS)
        return Rows(name, tuple(names), batches)
    from genrec.data.delimited import read_delimited

    names, batches = delimited_rows(parts, columns, read_delimited)
    return Rows(name, tuple(names), batches)


def _counted(batches: Iterator[pa.Table], rows: int | None, source: str) -> Iterator[pa.Table]:
    """Pass batches on, and refuse in the end if they are not as many rows as the source says it has."""
    seen = 0
    for table in batches:
        seen += len(table) if table.num_columns else rows or 0  # without columns it knows no length
        yield table
    if rows is not None and seen != rows:
        raise DataError(f"{seen:,} rows were read of {rows:,} in the source", source=source)


def _other_delimiter(header: str) -> str | None:
    return next((mark for mark in ";\t|," if mark in header), None)
