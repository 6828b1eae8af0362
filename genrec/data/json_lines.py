"""JSON lines: one object a line, parsed by DuckDB so that no string turns into a date or number."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.common.errors import DataError
from genrec.data.delimited import read_lines

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["parse_lists", "read_json_table", "read_json_texts"]


def read_json_texts(path: Path, columns: Sequence[str]) -> tuple[list[str], Iterator[pa.Table]]:
    """Stream chosen columns, every value as text: lists as JSON, null and NaN as null.

    Returns:
        The names found in the first block of lines, and an iterator over the rows in file order.

    Raises:
        DataError: the file is empty or damaged or a line is no JSON object, now or while iterating.
    """
    blocks = _checked_lines(path)
    first = next(blocks, None)
    if first is None:
        raise DataError("no rows: the file is empty", source=path)
    names = _keys(first)
    return names, _texts(path, first, blocks, columns, names)


def read_json_table(path: Path, texts: Sequence[str]) -> pa.Table:
    """Read a whole file, columns typed by the values of all rows.

    Args:
        path: the file, plain or compressed.
        texts: columns to read as text whatever they hold.

    Returns:
        A table with every key that any row has. Strings stay strings, lists stay lists; a column
        that mixes types is text.

    Raises:
        DataError: the file is empty or damaged, or a line is no JSON object.
    """
    import pyarrow as pa

    blocks = list(_checked_lines(path))
    if not blocks:
        raise DataError("no rows: the file is empty", source=path)
    lines = pa.concat_tables(blocks)
    structure = json.loads(_query("SELECT json_group_structure(line::JSON)", lines)[0][0].as_py())
    mixed = [name for name, kind in structure.items() if kind == "JSON" or name in texts]
    typed = {name: kind for name, kind in structure.items() if name not in mixed}
    picks = [f"from_json(line::JSON, {_quoted(json.dumps(typed))}) AS typed"] if typed else []
    picks += [f"{_text_of(name)} AS {_named(name)}" for name in mixed]
    table = _query("SELECT " + ", ".join(picks), lines)
    fields = {name: table[name] for name in mixed}
    if typed:
        struct = table["typed"].combine_chunks()
        fields |= {name: struct.field(name) for name in typed}
    return pa.table({name: fields[name] for name in structure})


def parse_lists(texts: pa.Array) -> pa.Array:
    """Parse texts such as ``["a", "b"]`` into lists of texts; what is no JSON list becomes null."""
    import pyarrow as pa

    query = """SELECT CASE WHEN json_valid(line) THEN
        CASE WHEN json_type(line) = 'ARRAY' THEN from_json(line::JSON, '["VARCHAR"]') END
        END AS list"""
    column = _query(query, pa.table({"line": texts}))["list"].combine_chunks()
    return column.cast(pa.list_(pa.string()))


def _checked_lines(path: Path) -> Iterator[pa.Table]:
    import pyarrow.compute as pc

    seen = 0
    for lines in read_lines(path):
        if lines.num_rows == 0:
            continue
        query = """SELECT CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' ELSE false END
            AS good"""
        good = _query(query, lines)["good"]
        if not pc.all(good).as_py():
            position = pc.index(good, False).as_py()
            raise _not_an_object(path, seen + position + 1, lines["line"][position].as_py())
        seen += lines.num_rows
        yield lines


def _not_an_object(path: Path, row: int, line: str) -> DataError:
    message = "the line is not a JSON object"
    if row == 1 and line.lstrip().startswith("["):
        message = "the file holds one JSON array; write one object a line (jq -c '.[]' does it)"
    return DataError(message, source=path, row=row, value=line[:80])


def _texts(
    path: Path,
    first: pa.Table,
    blocks: Iterator[pa.Table],
    columns: Sequence[str],
    names: list[str],
) -> Iterator[pa.Table]:
    picks = ", ".join(f"{_text_of(name)} AS {_named(name)}" for name in columns)
    wanted = [name for name in columns if name in names]
    seen = 0
    for lines in (block for part in ([first], blocks) for block in part):
        table = _query(f"SELECT {picks}", lines)
        for name in columns:
            if name not in names and table[name].null_count < table.num_rows:
                message = f"the column first appears after row {seen}; give it in every row"
                raise DataError(message, source=path, column=name)
        seen += lines.num_rows
        yield table.select(wanted)


def _keys(lines: pa.Table) -> list[str]:
    structure = _query("SELECT json_group_structure(line::JSON)", lines)[0][0].as_py()
    return list(json.loads(structure))


def _text_of(name: str) -> str:
    # A whole number written as 12.0 is the same id as 12, but the string "12.0" stays as it is.
    # Python writes NaN, which JSON does not know, for a missing number.
    path = _quoted("/" + name.replace("~", "~0").replace("/", "~1"))
    return (
        f"CASE json_type(line, {path}) WHEN 'DOUBLE' "
        f"THEN regexp_replace(nullif(line ->> {path}, 'NaN'), '^(-?[0-9]+)[.]0+$', '\\1') "
        f"ELSE line ->> {path} END"
    )


def _query(select: str, lines: pa.Table) -> Any:
    """Run a SELECT over the column ``line``; rows keep their order."""
    import duckdb

    with duckdb.connect() as connection:
        connection.register("lines", lines)
        return connection.sql(f"{select} FROM lines").to_arrow_table()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
