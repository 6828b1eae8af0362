"""Columns of JSON objects: each typed by the values of all rows, objects inside kept as their text.

Only the keys of the rows themselves become columns. What an object inside a row holds stays JSON text, so
that thousands of different keys, in any case, cost as much as the file is long. DuckDB parses; keys are
taken by JSON pointers, since its names of columns know no case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.common.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NO_KEYS", "keys_of", "query", "texts_of", "typed_columns"]

NO_KEYS = (
    'no row has a key: write one object a line with its columns, {"item_id": "1", "title": "…"}'
)
_DEPTH = 3  # of lists in lists; what lies deeper stays JSON text


def keys_of(lines: pa.Table) -> list[str]:
    """Return the keys of all objects of a table of lines, by first appearance."""
    import pyarrow.compute as pc

    keys = query("SELECT json_keys(line) AS keys FROM lines", lines)["keys"]
    return list(pc.unique(pc.list_flatten(keys)).to_pylist())


def texts_of(lines: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return chosen keys as columns of text; lists and objects as JSON, null and NaN as null."""
    import pyarrow as pa

    if not names:
        return lines.select([])
    paths = "[" + ", ".join(map(_pointer, names)) + "]"
    select = "SELECT json_extract_string(line, PATHS) AS v, json_type(line, PATHS) AS k FROM lines"
    table = query(select.replace("PATHS", paths), lines)
    values, kinds = _flat(table["v"]), _flat(table["k"])
    cells = [pa.array(np.arange(i, len(values), len(names))) for i in range(len(names))]
    texts = [_as_texts(values.take(cell), kinds.take(cell)) for cell in cells]
    return pa.table(dict(zip(names, texts, strict=True)))


def typed_columns(blocks: Sequence[pa.Table], texts: Sequence[str]) -> pa.Table:
    """Return all keys as columns typed by their values.

    Args:
        blocks: one JSON object a row, in a column ``line``.
        texts: keys to be text whatever they hold.

    Returns:
        Strings stay strings, lists stay lists; a column that mixes types is text, an object is JSON text.

    Raises:
        DataError: no row has a key; or there is one row and it holds no value of its own: columns or a
            document, not a row.
    """
    import duckdb

    with duckdb.connect() as connection:
        return _typed_columns(blocks, texts, connection)


def _typed_columns(blocks: Sequence[pa.Table], texts: Sequence[str], connection: Any) -> pa.Table:
    import pyarrow as pa

    parts = [_cells(block, connection) for block in blocks]
    if not any(parts):
        raise DataError(NO_KEYS)
    columns: dict[str, pa.Array] = {}
    nested = True
    for name in dict.fromkeys(name for part in parts for name in part):
        cells = [part.get(name) for part in parts]
        values, kinds = (
            pa.concat_arrays(
                [
                    pa.nulls(len(block), pa.string()) if cell is None else cell[i]
                    for block, cell in zip(blocks, cells, strict=True)
                ]
            )
            for i in (0, 1)
        )
        nested &= _kinds(kinds) <= {"ARRAY", "OBJECT"}
        as_text = name in texts
        columns[name] = (
            _as_texts(values, kinds) if as_text else _typed(values, kinds, _DEPTH, connection)
        )
    if nested and sum(map(len, blocks)) == 1:
        raise DataError(
            "the only row holds nothing but objects and lists: columns or a whole document, not an item or "
            "event; write one object a line: df.to_json(path, orient='records', lines=True) in pandas, "
            "jq -c '.[]' for what an object or list holds"
        )
    return pa.table(columns)


def query(select: str, lines: pa.Table, connection: Any = None) -> Any:
    """Run a query over the table ``lines``; rows keep their order.

    Args:
        select: the query.
        lines: the table.
        connection: to DuckDB; None opens one, which takes longer than a small query.

    Raises:
        DataError: what JSON allows and DuckDB cannot read.
    """
    import duckdb

    if connection is None:
        with duckdb.connect() as connection:
            return query(select, lines, connection)
    connection.register("lines", lines)
    try:
        return connection.sql(select).to_arrow_table()
    except duckdb.Error as error:
        raise DataError(f"the JSON cannot be read ({str(error)[:200]})") from None
    finally:
        connection.unregister("lines")


def _cells(lines: pa.Table, connection: Any) -> dict[str, tuple[pa.Array, pa.Array]]:
    """Return for each key its values as text `(N,)`, and what each of them is `(N,)`; null where absent.

    Walks through what is there, not through every key of every row; of a key that stands twice the first.
    """
    import pyarrow as pa

    table = query(
        "SELECT json_keys(line) AS n, json_extract_string(line, '$.*') AS v, json_type(line, '$.*') AS k "
        "FROM lines",
        lines,
        connection,
    )
    names, values, kinds = (_flat(table[part]) for part in ("n", "v", "k"))
    if not len(names):
        return {}
    rows = table["n"].combine_chunks().value_parent_indices().to_numpy()
    found = names.dictionary_encode()
    codes = found.indices.to_numpy()
    order = np.argsort(codes, kind="stable")[::-1]  # the first of a row comes last, and stays
    ends = np.cumsum(np.bincount(codes[order], minlength=len(found.dictionary))[::-1])
    places = np.split(order, ends[:-1])[::-1]
    cells = {}
    for name, places_of in zip(found.dictionary.to_pylist(), places, strict=True):
        place = np.full(len(lines), -1)
        place[rows[places_of]] = places_of
        where = pa.array(place, mask=place < 0)
        cells[name] = values.take(where), kinds.take(where)
    return cells


def _typed(values: pa.Array, kinds: pa.Array, depth: int, connection: Any) -> pa.Array:
    """Values `(N,)` as the one type that holds them all."""
    import pyarrow as pa

    found = _kinds(kinds)
    if not found:
        return pa.nulls(len(values))
    if found == {"BOOLEAN"}:
        return values.cast(pa.bool_())
    if found == {"UBIGINT"}:
        return values.cast(pa.uint64())
    if found <= {"UBIGINT", "BIGINT"}:
        return _signed(values)
    if found <= {"UBIGINT", "BIGINT", "DOUBLE"}:
        return values.cast(pa.float64())
    if found == {"ARRAY"} and depth:
        return _lists(values, depth, connection)
    return _as_texts(values, kinds)


def _signed(values: pa.Array) -> pa.Array:
    import pyarrow as pa

    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:  # some past 2**63 beside some below 0
        return values.cast(pa.decimal128(38, 0))


def _lists(values: pa.Array, depth: int, connection: Any) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    select = "SELECT json_extract_string(v, '$[*]') AS v, json_type(v, '$[*]') AS k FROM lines"
    table = query(select, pa.table({"v": values}), connection)
    lengths = pc.fill_null(pc.list_value_length(table["v"]), 0).to_numpy()
    entries = _typed(_flat(table["v"]), _flat(table["k"]), depth - 1, connection)
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(ends, entries, mask=values.is_null())


def _as_texts(values: pa.Array, kinds: pa.Array) -> pa.Array:
    # A whole number written as 12.0 is the same id as 12, but the string "12.0" stays as it is.
    # Python writes NaN, which JSON does not know, for a missing number.
    import pyarrow.compute as pc

    if "DOUBLE" not in _kinds(kinds):
        return values
    numbers = pc.replace_substring_regex(values, r"^(-?[0-9]+)[.]0+$", r"\1")
    numbers = pc.if_else(pc.equal(numbers, "NaN"), None, numbers)
    return pc.if_else(pc.equal(kinds, "DOUBLE"), numbers, values)


def _kinds(kinds: pa.Array) -> set[str]:
    import pyarrow.compute as pc

    return set(pc.unique(kinds).to_pylist()) - {None, "NULL"}


def _flat(lists: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return lists.combine_chunks().flatten().cast(pa.string())


def _pointer(name: str) -> str:
    return "'" + f"/{name.replace('~', '~0').replace('/', '~1')}".replace("'", "''") + "'"
