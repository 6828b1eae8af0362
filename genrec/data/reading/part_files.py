"""Files of a table's parts, read one after the other as if they were one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from genrec.common.errors import DataError
from genrec.data.reading.parts import Part
from genrec.data.reading.plain_columns import plain_schema, plain_table

if TYPE_CHECKING:
    import pyarrow as pa

    from genrec.data.reading.json_lines import Block

__all__ = ["delimited_rows", "json_blocks", "parquet_rows"]

ReadDelimited: TypeAlias = (
    "Callable[[Path, str, Sequence[str] | None], tuple[list[str], Iterator[pa.Table]]]"
)


def parquet_rows(
    parts: Sequence[Part], columns: Sequence[str] | None, batch_rows: int
) -> tuple[list[str], Iterator[pa.Table]]:
    """Open Parquet files; a column that a file lacks is missing in its rows.

    Returns:
        The names of all columns, and the rows in batches, as many as the files' footers count.

    Raises:
        DataError: a file is damaged, or two files disagree on a column's type, now or while iterating.
    """
    import pyarrow as pa

    schemas = []
    record: dict[bytes, bytes] = {}
    for part in parts:
        with _parquet(part) as file:
            record = record or _own_record(file.schema_arrow)
            schema = plain_schema(file.schema_arrow.remove_metadata(), part.name)
            schemas.append(_placed(schema, part))
    whole = _joined(schemas, parts)
    wanted = [name for name in whole.names if columns is None or name in columns]
    target = pa.schema([whole.field(name) for name in wanted], metadata=record)

    def batches() -> Iterator[pa.Table]:
        for part in parts:
            yield from _parquet_batches(part, target, batch_rows)

    return list(whole.names), batches()


def delimited_rows(
    parts: Sequence[Part], columns: Sequence[str] | None, read: ReadDelimited
) -> tuple[list[str], Iterator[pa.Table]]:
    """Open CSV or TSV files, each with the same header row.

    Args:
        parts: the files; of several, those without rows are passed over.
        columns: the columns to read; None reads all.
        read: opens one of them: path, delimiter and columns to names and rows.

    Raises:
        DataError: a file cannot be read, or has another header, now or while iterating.
    """
    first, names = _first_header(parts, columns, read)
    values = {name: None for part in parts for name in part.values if name not in names}
    own, placed = (
        [name for name in chosen if columns is None or name in columns]
        for chosen in (names, values)
    )

    def batches() -> Iterator[pa.Table]:
        seen = 0
        for part in parts:
            with _may_be_empty(len(parts) > 1), _delimited(part, columns, read) as (found, rows):
                _require_header(found, names, part, first)
                for table in rows:
                    seen += len(table)
                    yield _with_values(table.select(own), part, placed)
        if not seen and len(parts) > 1:
            raise DataError("no rows: the files hold only a header", source=first.name)

    return [*names, *values], batches()


def json_blocks(parts: Sequence[Part], told: Callable[[int], None]) -> Iterator[Block]:
    """Stream the lines of JSON files.

    Args:
        parts: the files.
        told: called with the lines of each file, counted in its bytes, once they are read.

    Raises:
        DataError: while iterating: a file is damaged, or a line is no JSON object or was not read.
    """
    from genrec.data.reading.delimited import read_lines
    from genrec.data.reading.json_lines import checked_lines

    for part in parts:
        if len(parts) > 1 and _is_empty(part):
            continue
        with _own_copy(part) as path:
            seen = 0
            for lines in checked_lines(read_lines(path), part.name):
                seen += len(lines)
                yield lines, part.values
            held = _lines_in(path)
            if seen != held:
                message = f"the file has {held:,} lines, but {seen:,} were read; is it damaged?"
                raise DataError(message, source=part.name)
            told(held)


def _lines_in(path: Path) -> int:
    """Count the lines of a file that are not empty, in its bytes."""
    from genrec.data.reading.text_format import TextFormat
    from genrec.data.reading.text_stream import count_rows, text_blocks, whole_lines

    return sum(count_rows(lines)[0] for lines in whole_lines(text_blocks(path, TextFormat(), ",")))


def _first_header(
    parts: Sequence[Part], columns: Sequence[str] | None, read: ReadDelimited
) -> tuple[Part, list[str]]:
    """The first file that has a header, and what it says."""
    for part in parts:
        with _may_be_empty(len(parts) > 1), _delimited(part, columns, read) as (names, _):
            return part, names
    raise DataError("no rows: all files are empty", source=parts[0].name)


@contextmanager
def _delimited(
    part: Part, columns: Sequence[str] | None, read: ReadDelimited
) -> Iterator[tuple[list[str], Iterator[pa.Table]]]:
    with _own_copy(part) as path:
        yield read(path, "\t" if part.kind == "tsv" else ",", columns)


@contextmanager
def _may_be_empty(one_of_several: bool) -> Iterator[None]:
    """Pass over a file without rows where there are others: Spark writes headers alone."""
    try:
        yield
    except DataError as error:
        if not (one_of_several and ": no rows:" in str(error)):
            raise


def _require_header(found: list[str], names: list[str], part: Part, first: Part) -> None:
    if sorted(found) == sorted(names):
        return
    raise DataError(
        f"its header is {', '.join(found[:6])}, that of {Path(first.name).name} {', '.join(names[:6])}: "
        "files of one table have the same header each; write them with it, or name those of one table by a "
        "glob",
        source=part.name,
    )


def _is_empty(part: Part) -> bool:
    import pyarrow.fs

    files = part.files or pyarrow.fs.LocalFileSystem()
    return bool(files.get_file_info(part.path).size == 0)


@contextmanager
def _own_copy(part: Part) -> Iterator[Path]:
    """A part as a file of this machine: text is read more than once, to find what is wrong with it."""
    if part.files is None:
        yield Path(part.path)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(part.path.partition("?")[0]).name
        try:
            there = part.files.open_input_stream(part.path, compression=None)
            with there, path.open("wb") as here:
                shutil.copyfileobj(there, here)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be read ({error})", source=part.name) from None
        try:
            yield path
        except DataError as error:
            named = DataError(str(error).replace(str(path), part.name))
            named.source, named.row, named.column = part.name, error.row, error.column
            named.value = error.value
            raise named from None


def _own_record(schema: pa.Schema) -> dict[bytes, bytes]:
    """What a catalog that was written here says of its columns (see `genrec.data.list_columns`)."""
    known = schema.metadata or {}
    return {key: value for key, value in known.items() if key.startswith(b"genrec.")}


@contextmanager
def _parquet(part: Part) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        place = part.path if part.files is None else part.files.open_input_file(part.path)
        file = pq.ParquetFile(place)
        str(
            file.schema_arrow
        )  # reads all names, which a damaged footer may hold as other than UTF-8
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"not a readable Parquet file ({error})", source=part.name) from None
    with file:
        yield file


def _parquet_batches(part: Part, target: pa.Schema, batch_rows: int) -> Iterator[pa.Table]:
    import pyarrow as pa

    with _parquet(part) as file:
        wanted = [name for name in target.names if name in file.schema_arrow.names]
        rows, seen = file.metadata.num_rows, 0
        for batch in _undamaged(part, file, wanted, batch_rows):
            table = plain_table(pa.Table.from_batches([batch]), part.name, seen)
            seen += len(batch)
            yield _completed(table, target, part, len(batch))
        if left := rows - seen:
            message = (
                f"the file is damaged: {left:,} rows are missing of those that its footer counts"
            )
            raise DataError(message, source=part.name)


def _undamaged(
    part: Part, file: Any, columns: list[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """A file's batches; what keeps them from being read is told by the column where it is one."""
    import pyarrow as pa

    try:
        yield from file.iter_batches(batch_size=batch_rows, columns=columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        if "UTF8" in str(error) and len(columns) > 1:  # words of dictionaries are checked there
            for name in columns:
                for _ in _undamaged(part, file, [name], batch_rows):
                    pass
        if "UTF8" in str(error) and len(columns) == 1:
            message = "not UTF-8 text; write the column's strings as UTF-8"
            raise DataError(message, source=part.name, column=columns[0]) from None
        raise DataError(f"the file is damaged ({error})", source=part.name) from None


def _completed(table: pa.Table, target: pa.Schema, part: Part, rows: int) -> pa.Table:
    """A file's rows with the columns of all files, in their types; `rows` where it has no column of them."""
    import pyarrow as pa

    columns = []
    for field in target:
        if field.name in table.column_names:
            columns.append(_as_in_all(table[field.name], field, part))
        else:
            value = pa.scalar(part.values.get(field.name), pa.string())
            columns.append(pa.repeat(value, rows).cast(field.type))
    return pa.Table.from_arrays(columns, schema=target)


def _as_in_all(column: pa.ChunkedArray, field: pa.Field, part: Part) -> pa.ChunkedArray:
    """A file's column as the type that holds those of all files."""
    import pyarrow as pa

    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        message = (
            f"{column.type} here, {field.type} with the other files, which does not hold it ({error}); "
            "write all of them with one type"
        )
        raise DataError(message, source=part.name, column=field.name) from None


def _with_values(table: pa.Table, part: Part, names: Sequence[str]) -> pa.Table:
    """Rows with the columns that the names of their folders give."""
    import pyarrow as pa

    for name in names:
        value = pa.scalar(part.values.get(name), pa.string())
        table = table.append_column(name, pa.repeat(value, len(table)))
    return table


def _placed(schema: pa.Schema, part: Part) -> pa.Schema:
    import pyarrow as pa

    for name in part.values:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return schema


def _joined(schemas: Sequence[pa.Schema], parts: Sequence[Part]) -> pa.Schema:
    import pyarrow as pa

    whole = schemas[0]
    for schema, part in zip(schemas[1:], parts[1:], strict=True):
        try:
            whole = pa.unify_schemas([whole, schema], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            name = next(name for name in schema.names if _clashes(whole, schema, name))
            before, here = whole.field(name).type, schema.field(name).type
            message = f"{here} here, {before} in the files before; write all of them with one type"
            raise DataError(message, source=part.name, column=name) from None
    return whole


def _clashes(whole: pa.Schema, schema: pa.Schema, name: str) -> bool:
    import pyarrow as pa

    if name not in whole.names:
        return False
    pair = [pa.schema([each.field(name)]) for each in (whole, schema)]
    try:
        pa.unify_schemas(pair, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return True
    return False
