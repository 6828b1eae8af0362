"""CSV, TSV and their kin, streamed as text: no type is ever guessed, so the id 0012 stays 0012.

Follows RFC 4180 where the file does: fields may be quoted, quotes doubled, and quoted fields may hold
line breaks; `find_layout` says what else is read. Lines end in LF, CRLF or CR; a byte order mark is
skipped; empty lines do not count as rows. Every row is counted twice, in the bytes and as it is parsed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genrec.common.errors import DataError
from genrec.data.reading.layout import Layout, find_layout
from genrec.data.reading.quotes import Problem, survey, unescaped
from genrec.data.reading.text_format import TextFormat, looks_like_rows
from genrec.data.reading.text_stream import (
    BLOCK_BYTES,
    UNIT,
    BlockFile,
    open_stream,
    text_blocks,
    whole_lines,
)
from genrec.data.values import first_failure

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["open_stream", "read_delimited", "read_lines"]

_NO_DELIMITER = "\x01"  # cannot occur inside a valid JSON line
_LONGEST_HEADER = 1 << 20
_OTHER_KINDS = {
    b"\x1f\x8b": "a gzip file; call it .csv.gz or .tsv.gz",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; call it .csv.zst or .tsv.zst",
    b"PAR1": "a Parquet file; call it .parquet",
    b"PK\x03\x04": "a workbook or a zip archive; save it as CSV",
}
"""First bytes -> what they tell."""
_ENCODING = "save the file as UTF-8, or name its encoding with --encoding (format= in Python)"
_JSON_ENCODING = (
    "not UTF-8 text; JSON lines are UTF-8; convert it: iconv -f latin1 -t utf-8 old.jsonl > new.jsonl, with "
    "its encoding for latin1"
)
_ONE_A_LINE = "write one object a line: df.to_json(path, orient='records', lines=True) in pandas"


def read_delimited(
    path: Path,
    format: TextFormat,
    columns: Sequence[str] | None = None,
    layout: Layout | None = None,
) -> tuple[list[str], Iterator[pa.Table], Layout]:
    """Open a file of rows.

    Args:
        path: the file, plain or compressed.
        format: how it is written; its separator is known. Without names of columns in it, the first
            row is the header.
        columns: the columns to read; None reads all. Names that the file lacks are passed over.
        layout: what was found out before; None finds it out.

    Returns:
        The names of the file's columns, without nameless ones (an index that pandas wrote); an
        iterator over its rows in file order, every column of type `string`; and what was found out.

    Raises:
        DataError: the file is empty, damaged, ragged or not of its encoding, its quotes can be read in
            no way or in several, now or while iterating; or not every row could be read.
    """
    assert format.separator is not None
    _require_text(path)
    layout = layout or find_layout(path, format, format.separator)
    file = _Format(path, format, layout)
    header = _header(file)
    names = [name for name in header if name]
    wanted = [name for name in names if columns is None or name in columns]
    return names, _rows(file, header, wanted), layout


def read_lines(path: Path) -> Iterator[pa.Table]:
    """Stream the lines of a text file, empty ones left out, as tables with one column ``line``."""
    file = _Format(path, TextFormat(separator=_NO_DELIMITER, columns=("line",)), Layout("none", 0))
    return _batches(file, ["line"])


class _Format:
    """How to parse one file, in the words of `pyarrow.csv`."""

    def __init__(self, path: Path, format: TextFormat, layout: Layout) -> None:
        self.path, self.format, self.layout = path, format, layout
        self.header = [name if name != "_" else "" for name in format.columns or ()]
        self.separator = str(format.separator)
        self.delimiter = self.separator if len(self.separator.encode()) == 1 else UNIT
        self.lines = self.separator == _NO_DELIMITER
        self.quoted = layout.quoting != "none"

    def stream(self) -> Any:
        """Open the file's text, in UTF-8, with quotes as RFC 4180 has them."""
        slashed = self.layout.quoting == "backslash"
        if self.format.plain and self.delimiter == self.separator and not slashed:
            return open_stream(self.path)
        blocks = text_blocks(self.path, self.format, self.separator)
        return BlockFile(unescaped(blocks, self.delimiter.encode()) if slashed else blocks)

    def open(self, stream: Any, types: dict[str, Any]) -> Any:
        """Return a `CSVStreamingReader` over the columns of `types`."""
        from pyarrow import csv as arrow

        return arrow.open_csv(
            stream,
            read_options=arrow.ReadOptions(
                block_size=BLOCK_BYTES, column_names=self.header or None
            ),
            parse_options=arrow.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quoted else False,
                newlines_in_values=self.layout.breaks > 0,
            ),
            convert_options=arrow.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=False
            ),
        )


def _require_text(path: Path) -> None:
    """Refuse a file whose first bytes say that it is of another kind."""
    try:
        with open_stream(path) as stream:
            start = stream.read(4)
    except OSError:
        return  # told where its rows are read
    for bytes_, kind in _OTHER_KINDS.items():
        if start.startswith(bytes_):
            raise DataError(f"these are bytes of {kind}", source=path)


def _header(file: _Format) -> list[str]:
    if file.header:
        _require_no_header(file)
        return file.header
    names = _first_row(file)
    if re.fullmatch("sep=.?", names[0]) and len(names) <= 2:
        message = (
            "the first line is a note for Excel; delete it, and name the separator with --separator"
        )
        raise DataError(message, source=file.path, value=names[0])
    named = [name for name in names if name]
    for name in named:
        if named.count(name) > 1:
            advice = "rename one"
            if looks_like_rows(named):
                advice += (
                    ", or, if the file has no header row, name its columns in order with --item-columns "
                    "or --log-columns (format= in Python)"
                )
            message = f"two columns have this name; {advice}"
            raise DataError(message, source=file.path, column=name)
    if not named:
        raise DataError("the first row names no column; it is the header", source=file.path)
    return names


def _require_no_header(file: _Format) -> None:
    """Refuse names for a file that has them: its header would be a row."""
    try:
        first = _first_row(file)
    except DataError:
        return  # told where its rows are read
    if len(first) == len(file.header) and all(
        name in ("", found) for name, found in zip(file.header, first, strict=True)
    ):
        raise DataError(
            "the first row is a header with these very names; leave out --item-columns or --log-columns "
            "(columns of TextFormat in Python)",
            source=file.path,
        )


def _first_row(file: _Format) -> list[str]:
    """The fields of the first row that is not empty, as Arrow will find them."""
    blocks = text_blocks(file.path, file.format, file.separator)
    if file.layout.quoting == "backslash":
        blocks = unescaped(blocks, file.delimiter.encode())
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if file.quoted else csv.QUOTE_NONE
    data = next((block for block in whole_lines(blocks) if block.strip(b"\r\n")), b"")
    text = data.lstrip(b"\r\n")[:_LONGEST_HEADER].decode("utf-8", errors="surrogateescape")
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=file.delimiter, quoting=quoting)
        names = next(rows, [])
    except csv.Error as error:
        raise DataError(f"the header cannot be read ({error})", source=file.path) from None
    if not names:
        raise DataError("no rows: the file is empty or holds only a header", source=file.path)
    if any("\udc80" <= letter <= "\udcff" for name in names for letter in name):
        raise DataError(f"the header is not UTF-8 text; {_ENCODING}", source=file.path)
    if any(UNIT in name for name in names):
        raise DataError("a name in the header holds the separator; rename it", source=file.path)
    return names


def _rows(file: _Format, header: list[str], wanted: list[str]) -> Iterator[pa.Table]:
    # A table without columns would have no rows to count.
    read = wanted or [next(name for name in header if name)]
    count = 0
    for table in _batches(file, read):
        count += table.num_rows
        yield table.select(wanted)
    expected = file.layout.rows - (not file.header)
    if count != expected:
        raise DataError(
            f"the file has {expected:,} rows, but {count:,} were read; is it damaged, or its quotes? "
            "--quoting says what they mean",
            source=file.path,
        )


def _batches(file: _Format, columns: list[str]) -> Iterator[pa.Table]:
    import pyarrow as pa

    try:
        with file.stream() as stream:
            for batch in file.open(stream, dict.fromkeys(columns, pa.string())):
                yield _with_separator(pa.Table.from_batches([batch]), file)
    except (pa.ArrowException, OSError) as error:
        raise _explain(file, columns, error) from None


def _with_separator(table: pa.Table, file: _Format) -> pa.Table:
    """Put a separator of several characters back where quoted fields hold it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if file.delimiter == file.separator or not file.quoted:
        return table
    columns = [pc.replace_substring(c, UNIT, file.separator) for c in table.columns]
    return pa.table(columns, names=table.column_names)


def _explain(file: _Format, columns: list[str], error: Exception) -> DataError:
    """Turn what Arrow said into what the user needs, reading the file again to find the row."""
    message = str(error)
    if "Empty CSV file" in message:
        return DataError("no rows: the file is empty or holds only a header", source=file.path)
    if "UTF8" in message:
        return _locate_bytes(file, columns)
    if "columns, got" in message:
        return _locate_ragged(file)
    if "straddling" in message:
        limit = f"{BLOCK_BYTES >> 20} MiB"
        if file.lines:
            message = f"a line is longer than {limit}; {_ONE_A_LINE}"
            return DataError(message, source=file.path)
        return DataError(f"a row is longer than {limit}; is a quote left open?", source=file.path)
    return DataError(f"the file is damaged and cannot be read ({message})", source=file.path)


def _locate_ragged(file: _Format) -> DataError:
    mark = file.delimiter.encode()
    blocks = text_blocks(file.path, file.format, file.separator)
    found = survey(blocks, mark, file.layout.quoting, each=True)
    expected = len(file.header) or found.fields
    row = found.ragged
    if row is None and expected != found.fields:
        blocks = text_blocks(file.path, file.format, file.separator)
        first = next(whole_lines(blocks), b"").lstrip(b"\r\n").splitlines()[:1]
        value = b"".join(first)[:80].decode("utf-8", errors="replace")
        row = Problem("ragged", 0, found.fields, value)
    if row is None:
        return DataError("the file is damaged, or not text at all", source=file.path)
    text = row.value.replace(UNIT, file.separator)
    if file.header:
        message = (
            f"the row has {row.field} fields, but {expected} columns are named; name them all, _ for one "
            "that is not wanted"
        )
    else:
        message = f"the row has {row.field} fields, the header {expected}; "
        message += f"quote fields that hold a {file.separator!r} or a line break"
        if not file.quoted and '"' in text:
            message += " (quotes are read as characters like others: see --quoting)"
    number = row.row + bool(file.header)
    return DataError(message, source=file.path, row=number, value=text)


def _locate_bytes(file: _Format, columns: list[str]) -> DataError:
    import pyarrow as pa

    seen = 0
    with file.stream() as stream:
        for batch in file.open(stream, dict.fromkeys(columns, pa.binary())):
            for name, values in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    values.cast(pa.string())
                except pa.ArrowInvalid:
                    bad = first_failure(lambda part: part.cast(pa.string()), values)
                    value = values[bad].as_py()[:60]
                    row = seen + bad + 1
                    if file.lines:
                        return DataError(_JSON_ENCODING, source=file.path, row=row, value=value)
                    advice = f"not UTF-8 text; {_ENCODING}"
                    return DataError(advice, source=file.path, row=row, column=name, value=value)
            seen += batch.num_rows
    return DataError(f"not UTF-8 text; {_ENCODING}", source=file.path)
