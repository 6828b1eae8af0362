"""CSV and TSV, streamed as text: no type is ever guessed, so the id 0012 stays 0012.

Follows RFC 4180: fields may be quoted, quotes doubled, and quoted fields may hold line breaks.
Lines end in LF or CRLF; a byte order mark is skipped; empty lines do not count as rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.common.errors import DataError
from genrec.data.values import first_failure

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["open_stream", "read_delimited", "read_lines"]

BLOCK_BYTES = 8 << 20  # also the longest row that can be read
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_NO_DELIMITER = "\x01"  # cannot occur inside a valid JSON line


def read_delimited(
    path: Path, delimiter: str, columns: Sequence[str] | None = None
) -> tuple[list[str], Iterator[pa.Table]]:
    """Open a file with a header row.

    Args:
        path: the file, plain or compressed.
        delimiter: one character.
        columns: the columns to read; None reads all. Names that the file lacks are passed over.

    Returns:
        The names of the file's columns, without nameless ones (an index that pandas wrote), and an
        iterator over its rows in file order, every column of type `string`.

    Raises:
        DataError: the file is empty, damaged, ragged or not UTF-8, now or while iterating.
    """
    header = _header(path, delimiter)
    names = [name for name in header if name]
    wanted = [name for name in names if columns is None or name in columns]
    return names, _rows(_Format(path, delimiter), header, wanted)


def read_lines(path: Path) -> Iterator[pa.Table]:
    """Stream the lines of a text file, empty ones left out, as tables with one column ``line``."""
    file = _Format(path, _NO_DELIMITER, quoted=False, header=("line",))
    return _batches(file, ["line"])


def open_stream(path: Path) -> Any:
    """Open a file for reading, decompressing by its last extension."""
    import pyarrow as pa

    return pa.input_stream(str(path), compression=_COMPRESSIONS.get(path.suffix.lower()))


class _Format:
    """How to parse one file, in the words of `pyarrow.csv`."""

    def __init__(
        self, path: Path, delimiter: str, *, quoted: bool = True, header: Sequence[str] = ()
    ) -> None:
        self.path, self.delimiter, self.quoted, self.header = path, delimiter, quoted, list(header)

    def open(
        self,
        stream: Any,
        types: dict[str, Any],
        on_ragged: Callable[[Any], str] | None = None,
        threads: bool = True,
    ) -> Any:
        """Return a `CSVStreamingReader` over the columns of `types` (all of them if empty)."""
        from pyarrow import csv

        return csv.open_csv(
            stream,
            read_options=csv.ReadOptions(
                use_threads=threads, block_size=BLOCK_BYTES, column_names=self.header or None
            ),
            parse_options=csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quoted else False,
                newlines_in_values=self.quoted,
                invalid_row_handler=on_ragged,
            ),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=False
            ),
        )


def _header(path: Path, delimiter: str) -> list[str]:
    import pyarrow as pa

    file = _Format(path, delimiter)
    try:
        with open_stream(path) as stream:
            names = list(file.open(stream, {}, on_ragged=lambda row: "skip").schema.names)
    except UnicodeDecodeError:
        raise DataError(
            "the header is not UTF-8 text; save the file as UTF-8", source=path
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise _explain(file, [], error) from None
    named = [name for name in names if name]
    for name in named:
        if named.count(name) > 1:
            raise DataError("two columns have this name; rename one", source=path, column=name)
    return names


def _rows(file: _Format, header: list[str], wanted: list[str]) -> Iterator[pa.Table]:
    last = header[-1]
    tail = None
    for table in _batches(file, list(dict.fromkeys([*wanted, last]))):
        if table.num_rows:
            tail = table[last][-1].as_py()
        yield table.select(wanted)
    if tail is not None and "\n" in tail and not _ends_with_quote(file.path):
        raise DataError(
            'a quoted field is never closed: it swallows the rest of the file; close it with "',
            source=file.path,
            column=last,
            value=tail[:60],
        )


def _batches(file: _Format, columns: list[str]) -> Iterator[pa.Table]:
    import pyarrow as pa

    try:
        with open_stream(file.path) as stream:
            for batch in file.open(stream, dict.fromkeys(columns, pa.string())):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError) as error:
        raise _explain(file, columns, error) from None


def _ends_with_quote(path: Path) -> bool:
    # Only ever asked about a file whose last field holds a line break.
    tail = b""
    with open_stream(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            tail = block.rstrip(b"\r\n") or tail
    return tail.endswith(b'"')


def _explain(file: _Format, columns: list[str], error: Exception) -> DataError:
    """Turn what Arrow said into what the user needs, reading the file again to find the row."""
    message = str(error)
    if "Empty CSV file" in message:
        return DataError("no rows: the file is empty or holds only a header", source=file.path)
    if "UTF8" in message:
        return _locate_bytes(file, columns)
    if "columns, got" in message:
        return _locate_ragged(file, columns)
    if "straddling" in message:
        limit = f"{BLOCK_BYTES >> 20} MiB"
        return DataError(f"a row is longer than {limit}; is a quote left open?", source=file.path)
    return DataError(f"the file is damaged and cannot be read ({message})", source=file.path)


def _locate_ragged(file: _Format, columns: list[str]) -> DataError:
    import pyarrow as pa

    ragged: list[Any] = []

    def record(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        with open_stream(file.path) as stream:  # only a single thread counts rows
            types = dict.fromkeys(columns, pa.string())
            for _ in file.open(stream, types, on_ragged=record, threads=False):
                pass
    except pa.ArrowInvalid:
        pass
    if not ragged:
        return DataError("the file is damaged, or not text at all", source=file.path)
    row = ragged[0]
    return DataError(
        f"the row has {row.actual_columns} fields, the header {row.expected_columns}; quote fields "
        f"that hold a {file.delimiter!r} or a line break",
        source=file.path,
        row=row.number - (not file.header),
        value=row.text[:80],
    )


def _locate_bytes(file: _Format, columns: list[str]) -> DataError:
    import pyarrow as pa

    seen = 0
    with open_stream(file.path) as stream:
        for batch in file.open(stream, dict.fromkeys(columns, pa.binary())):
            for name, values in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    values.cast(pa.string())
                except pa.ArrowInvalid:
                    bad = first_failure(lambda part: part.cast(pa.string()), values)
                    value = values[bad].as_py()[:60]
                    advice = "not UTF-8 text; save the file as UTF-8"
                    row = seen + bad + 1
                    return DataError(advice, source=file.path, row=row, column=name, value=value)
            seen += batch.num_rows
    return DataError("not UTF-8 text; save the file as UTF-8", source=file.path)
