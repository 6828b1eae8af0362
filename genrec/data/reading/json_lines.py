"""JSON lines: one object a line, parsed by DuckDB so that no string turns into a date or number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from genrec.common.errors import DataError
from genrec.data.reading.json_columns import NO_KEYS, keys_of, query, texts_of, typed_columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Block",
    "checked_lines",
    "lines_of_rows",
    "parse_lists",
    "read_json_table",
    "read_json_texts",
]

Block: TypeAlias = "tuple[pa.Table, Mapping[str, str | None]]"
"""Lines in a column ``line``, and further columns, of one value each, that their file's place gives them."""


_LONE = (
    "the surrogate escape {0} stands without its other half, so it is no character; leave it out, or write "
    "\\ufffd in its place"
)


def read_json_texts(
    blocks: Iterable[Block], columns: Sequence[str], source: str
) -> tuple[list[str], Iterator[pa.Table]]:
    """Stream chosen columns, every value as text: lists as JSON, null and NaN as null.

    Args:
        blocks: the lines.
        columns: the keys to read.
        source: their name for messages.

    Returns:
        The names found in the first block of lines, and an iterator over the rows in file order.

    Raises:
        DataError: there is no line, or a key first appears in a later block, now or while iterating.
    """
    walk = iter(blocks)
    first = next(walk, None)
    if first is None:
        raise DataError("no rows: the file is empty", source=source)
    names = list(dict.fromkeys([*keys_of(first[0]), *first[1]]))
    if not names:
        raise DataError(NO_KEYS, source=source)
    if first[0].num_rows == 1:
        _placed(typed_columns, source, [first[0]], ())  # a document, not a row?
    return names, _texts([first], walk, columns, names, source)


def read_json_table(blocks: Iterable[Block], texts: Sequence[str], source: str) -> pa.Table:
    """Read all lines, columns typed by the values of all rows.

    Args:
        blocks: the lines.
        texts: columns to read as text whatever they hold.
        source: their name for messages.

    Returns:
        A table with every key that any row has. Strings stay strings, lists stay lists; an object is
        JSON text, and a column that mixes types is text.

    Raises:
        DataError: there is no line.
    """
    import pyarrow as pa

    parts = list(blocks)
    if not parts:
        raise DataError("no rows: the file is empty", source=source)
    table = _placed(typed_columns, source, [part for part, _ in parts], texts)
    for name in dict.fromkeys(name for _, values in parts for name in values):
        if name not in table.column_names:
            column = [pa.repeat(_text(values.get(name)), len(part)) for part, values in parts]
            table = table.append_column(name, pa.chunked_array(column))
    return table


def checked_lines(tables: Iterable[pa.Table], source: str) -> Iterator[pa.Table]:
    """Pass on tables of lines, those without rows left out.

    Raises:
        DataError: a line is no JSON object; names its row.
    """
    import pyarrow.compute as pc

    seen = 0
    for lines in tables:
        if lines.num_rows == 0:
            continue
        select = """SELECT CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' ELSE false END
            AS good FROM lines"""
        good = query(select, lines)["good"]
        if not pc.all(good).as_py():
            position = pc.index(good, False).as_py()
            raise _not_an_object(source, seen + position + 1, lines["line"][position].as_py())
        seen += lines.num_rows
        yield lines


def lines_of_rows(rows: Sequence[Mapping[str, Any]], source: str) -> pa.Table:
    """Write dicts as lines.

    Raises:
        DataError: a row is no dict, or holds what JSON has no word for, or half a surrogate pair.
    """
    import pyarrow as pa

    lines = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            message = f"a row must be a dict, found a {type(row).__name__}"
            raise DataError(message, source=source, row=number)
        try:
            line = json.dumps(dict(row), default=_plain)
        except (TypeError, ValueError, RecursionError) as error:
            message = f"the row cannot be read: {error}"
            raise DataError(message, source=source, row=number) from None
        if "\\ud" in line and (escape := _lone_surrogate(line)):
            raise DataError(_LONE.format(escape), source=source, row=number, value=line[:80])
        lines.append(line)
    return pa.table({"line": pa.array(lines, pa.string())})


def parse_lists(texts: pa.Array) -> pa.Array:
    """Parse texts such as ``["a", "b"]`` into lists of texts; what is no JSON list becomes null."""
    import pyarrow as pa

    select = """SELECT CASE WHEN json_valid(line) THEN
        CASE WHEN json_type(line) = 'ARRAY' THEN from_json(line::JSON, '["VARCHAR"]') END
        END AS list FROM lines"""
    column = query(select, pa.table({"line": texts}))["list"].combine_chunks()
    return column.cast(pa.list_(pa.string()))


def parse_objects(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """Parse objects kept as JSON text, or lists of such, into a type that names their keys.

    Returns:
        The objects; None where one is no JSON, or would lose a key or value in this type.
    """
    import pyarrow as pa

    try:
        values = [_loaded(value) for value in texts.to_pylist()]
        found = pa.chunked_array([pa.array(values, kind)])
    except (ValueError, TypeError, RecursionError, pa.ArrowException):
        return None
    return found if _told(found.to_pylist()) == _told(values) else None


def _loaded(value: Any) -> Any:
    if isinstance(value, list):
        return [_loaded(part) for part in value]
    return None if value is None else json.loads(value)


def _told(value: Any) -> Any:
    """What a value says: a key that is missing and one that is null say the same."""
    if isinstance(value, Mapping):
        return {key: _told(part) for key, part in value.items() if part is not None}
    return [_told(part) for part in value] if isinstance(value, list) else value


def _not_an_object(source: str, row: int, line: str) -> DataError:
    message = "the line is not a JSON object"
    if row == 1 and line.lstrip().startswith("["):
        message = "the file holds one JSON array; write one object a line (jq -c '.[]' does it)"
    elif row == 1 and line.strip() == "{":
        message = "the objects span lines; write one object a line (jq -c . does it)"
    elif escape := _lone_surrogate(line):
        message = _LONE.format(escape)
    return DataError(message, source=source, row=row, value=line[:80])


def _lone_surrogate(line: str) -> str | None:
    """The escape in JSON that stands for half a character: one of a surrogate pair without the other."""
    try:
        text = json.dumps(json.loads(line), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    found = re.search("[\ud800-\udfff]", text)
    return f"\\u{ord(found[0]):04x}" if found else None


def _texts(
    first: list[Block],
    blocks: Iterator[Block],
    columns: Sequence[str],
    names: list[str],
    source: str,
) -> Iterator[pa.Table]:
    import pyarrow as pa

    wanted = [name for name in columns if name in names]
    seen = 0
    for lines, values in (block for part in (first, blocks) for block in part):
        table = _placed(texts_of, source, lines, list(columns))
        for name in columns:
            if name in values and table[name].null_count == table.num_rows:
                column = pa.repeat(_text(values[name]), len(table))
                table = table.set_column(table.column_names.index(name), name, column)
            if name not in names and table[name].null_count < table.num_rows:
                message = f"the column first appears after row {seen}; give it in every row"
                raise DataError(message, source=source, column=name)
        seen += lines.num_rows
        yield table.select(wanted)


def _placed(read: Any, source: str, *values: Any) -> Any:
    """Call a reader of lines, which knows no source, and name it in what it refuses."""
    try:
        return read(*values)
    except DataError as error:
        raise DataError(str(error), source=source) from None


def _text(value: str | None) -> Any:
    import pyarrow as pa

    return pa.scalar(value, pa.string())


def _plain(value: Any) -> Any:
    """What a value of a row is in JSON: dates in ISO form, NumPy's numbers and arrays as such."""
    if type(value).__name__ in ("NaTType", "NAType"):  # what pandas writes for a missing value
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    if type(value).__name__ == "Decimal":
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no place in a table")
