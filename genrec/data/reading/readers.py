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
from genrec.data.reading.frames import open_frame, rows_of_dicts
from genrec.data.reading.names import nearest, without_left_over
from genrec.data.reading.part_files import delimited_rows, json_blocks, parquet_rows
from genrec.data.reading.parts import Part, find_parts
from genrec.data.reading.plain_columns import plain_table
from genrec.data.reading.text_format import TextFormat, looks_like_rows

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

    from genrec.data.reading.json_lines import Block
    from genrec.data.reading.layout import Layout

__all__ = ["ReadReport", "Rows", "Source", "nearest", "open_rows", "read_rows", "read_table"]

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
        in_file: rows that the source holds, counted on their own; None where nobody counted.
    """

    source: str
    rows: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    in_file: int | None = None

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        reasons = [
            f"{count:,} dropped ({reason})" for reason, count in self.dropped.items() if count
        ]
        read = f"{self.rows:,} rows read"
        if self.in_file == self.rows:
            read = f"{self.rows:,} of {self.in_file:,} rows read"
        elif self.in_file is not None:
            read = f"{self.in_file:,} rows in the file, {self.rows:,} interactions read"
        counts = ", ".join([read, *reasons, f"{self.kept:,} kept"])
        return [f"{self.source}: {counts}", *self.notes]


@dataclass
class _Tally:
    """What is known of a source once its rows are read; filled while they are.

    Attributes:
        rows: rows that it holds, counted on their own; None where nobody counts.
        notes: what the report should say of how they were read, each once.
    """

    rows: int | None = None
    notes: list[str] = field(default_factory=list)

    def add(self, rows: int, notes: Sequence[str] = ()) -> None:
        """Add a file."""
        self.rows = (self.rows or 0) + rows
        self.notes += [note for note in notes if note not in self.notes]


@dataclass(frozen=True)
class Rows:
    """An opened table.

    Attributes:
        source: the file, or a word for an in-memory table.
        columns: the names of all columns of the source.
        batches: tables with the chosen columns, in file order; may be walked once.
        text: whether it is delimited text, which may lack a header row.
        tally: what is known of it once its batches are walked.
    """

    source: str
    columns: tuple[str, ...]
    batches: Iterator[pa.Table]
    text: bool = False
    tally: _Tally = field(default_factory=_Tally)

    @property
    def in_file(self) -> int | None:
        """Rows that the source holds, counted on their own; None where nobody counts."""
        return self.tally.rows

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report should say of how the rows were read."""
        return tuple(self.tally.notes)

    def require(
        self, name: str, setting: str, header: str = "--log-columns", option: str | None = None
    ) -> None:
        """Refuse a source without the column `name`.

        Args:
            name: of the column.
            setting: what chooses another name.
            header: the option that names all columns of a file without a header row.
            option: what the command calls the `setting`; None: the same.

        Raises:
            DataError: the column is missing; names those found, the nearest one, and the `setting`
                that chooses another.
        """
        if name in self.columns:
            return
        found = ", ".join(repr(column) for column in self.columns)
        if self.text and looks_like_rows(self.columns):
            raise DataError(
                f"no such column; found {found}: the file has no header row? Name its columns in order "
                f"with {header} NAME,NAME,… (format=TextFormat(columns=[…]) in Python), _ for one that "
                "is not wanted",
                source=self.source,
                column=name,
            )
        hint = nearest(name, self.columns)
        if len(self.columns) == 1 and (mark := _other_delimiter(self.columns[0])):
            hint = (
                f"; are the fields separated by {mark!r}? Say so with --separator {_word(mark)!r}"
            )
        option = option or f"--{setting.replace('_', '-')}"
        stop = "" if hint.endswith("?") else "."
        raise DataError(
            f"no such column; found {found}{hint}{stop} Name it with {option} ({setting}= in Python)",
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


def open_rows(source: Source, columns: Sequence[str], format: TextFormat | None = None) -> Rows:
    """Open a table to stream some of its columns.

    Args:
        source: see `Source`.
        columns: the columns wanted; those that the source lacks are passed over.
        format: how a text file is written; None finds out.

    Returns:
        The rows. Text formats give text only (lists in JSON lines as JSON text, as CSV holds them);
        the others give their own types.

    Raises:
        DataError: the source cannot be read; says where and why.
    """
    tally = _Tally()
    name, blocks, parts = _take_apart(source, format, tally)
    if blocks is not None:
        from genrec.data.reading.json_lines import read_json_texts

        names, batches = read_json_texts(blocks, columns, name)
        rows = Rows(name, tuple(names), batches, tally=tally)
    else:
        rows = _typed_rows(source, name, parts, columns, format)
    return replace(rows, columns=tuple(without_left_over(rows.columns, columns)))


def read_table(
    source: Source, texts: Sequence[str] = (), format: TextFormat | None = None
) -> tuple[pa.Table, str]:
    """Read a whole table with all its columns: `read_rows`, with the source's name alone."""
    table, rows = read_rows(source, texts, format)
    return table, rows.source


def read_rows(
    source: Source, texts: Sequence[str] = (), format: TextFormat | None = None
) -> tuple[pa.Table, Rows]:
    """Read a whole table with all its columns, but for row numbers that pandas left over.

    Args:
        source: see `Source`.
        texts: columns to read, of JSON lines as text whatever they hold.
        format: how a text file is written; None finds out.

    Returns:
        The table, and what else is known of its source.

    Raises:
        DataError: the source cannot be read or has no rows.
    """
    import pyarrow as pa

    tally = _Tally()
    name, blocks, parts = _take_apart(source, format, tally)
    if blocks is not None:
        from genrec.data.reading.json_lines import read_json_table

        table = read_json_table(blocks, texts, name)
        rows = Rows(name, tuple(table.column_names), iter(()), tally=tally)
    else:
        rows = _typed_rows(source, name, parts, None, format)
        tables = list(rows.batches)
        if not sum(map(len, tables)):
            message = "no rows: the source holds only a header"
            if rows.text and looks_like_rows(rows.columns):
                advice = "Name its columns in order with --item-columns NAME,…"
                message += f"; or has it no header row? {advice}"
            raise DataError(message, source=rows.source)
        table = pa.concat_tables(tables)
    return table.select(without_left_over(table.column_names, texts)), rows


def _take_apart(
    source: Source, format: TextFormat | None, tally: _Tally
) -> tuple[str, Iterator[Block] | None, list[Part]]:
    """Name a source; give its lines if it is JSON or a list of dicts, and its files if it has some."""
    if isinstance(source, (str, Path)):
        text = format is not None and format.separator is not None
        name, parts = find_parts(source, text=text)
        blocks = json_blocks(parts, tally.add) if parts[0].kind == "json" else None
        return name, blocks, parts
    if (dicts := rows_of_dicts(source)) is not None:
        from genrec.data.reading.json_lines import lines_of_rows

        tally.add(len(dicts))
        return _DICTS, iter([(lines_of_rows(dicts, _DICTS), {})] if dicts else []), []
    return "", None, []


def _typed_rows(
    source: Any,
    name: str,
    parts: list[Part],
    columns: Sequence[str] | None,
    format: TextFormat | None,
) -> Rows:
    """Rows of what is not JSON."""
    if not parts:
        frame = open_frame(source, columns, BATCH_ROWS)
        counted = _counted(_plain(frame.batches, frame.source), frame.rows, frame.source)
        return Rows(frame.source, frame.columns, counted, tally=_Tally(frame.rows))
    if parts[0].kind == "parquet":
        names, batches = parquet_rows(parts, columns, BATCH_ROWS)
        tally = _Tally()
        return Rows(name, tuple(names), _tallied(batches, tally), tally=tally)
    files = _TextFiles(format or TextFormat())
    names, batches = delimited_rows(parts, columns, files.read)
    return Rows(name, tuple(names), batches, text=True, tally=files.tally)


def _plain(batches: Iterator[pa.Table], source: str) -> Iterator[pa.Table]:
    seen = 0
    for table in batches:
        yield plain_table(table, source, seen)
        seen += len(table)


class _TextFiles:
    """Opens the text files of one table."""

    def __init__(self, format: TextFormat) -> None:
        self.tally = _Tally()
        self._format = format
        self._layouts: dict[Path, Layout] = {}

    def read(
        self, path: Path, delimiter: str, columns: Sequence[str] | None
    ) -> tuple[list[str], Iterator[pa.Table]]:
        """Open one of them; what was found out is kept for the next time."""
        from genrec.data.reading.delimited import read_delimited

        format = self._format
        if format.separator is None:
            format = format.replace(separator=delimiter)
        names, batches, layout = read_delimited(path, format, columns, self._layouts.get(path))
        self._layouts[path] = layout
        return names, self._told(batches, layout)

    def _told(self, batches: Iterator[pa.Table], layout: Layout) -> Iterator[pa.Table]:
        yield from batches
        self.tally.add(layout.rows - (self._format.columns is None), layout.notes)


def _tallied(batches: Iterator[pa.Table], tally: _Tally) -> Iterator[pa.Table]:
    """Count rows of files whose own count they are held against as they are read."""
    for table in batches:
        tally.add(len(table))
        yield table


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


def _word(mark: str) -> str:
    return "tab" if mark == "\t" else mark
