"""Frames of every library: the same rows as from a file."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from genrec.common.errors import DataError
from genrec.data import Catalog, InteractionColumns, Interactions
from genrec.data.reading.readers import open_rows, read_table

ITEMS = [{"item_id": f"i{n}", "title": f"lamp {n}", "price": n + 0.5} for n in range(3)]
EVENTS = [{"user_id": "u", "item_id": f"i{n}", "timestamp": f"2024-01-0{3 - n}"} for n in range(3)]


def pandas_frame(rows: list[dict[str, Any]]) -> Any:
    return pytest.importorskip("pandas").DataFrame(rows)


def polars_frame(rows: list[dict[str, Any]]) -> Any:
    return pytest.importorskip("polars").DataFrame(rows)


def duckdb_relation(rows: list[dict[str, Any]]) -> Any:
    import duckdb

    return duckdb.connect().from_arrow(pa.Table.from_pylist(rows))


FRAMES: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "pandas": pandas_frame,
    "pandas, filtered": lambda rows: pandas_frame([*rows[:1], *rows]).iloc[1:],
    "pandas, of Arrow": lambda rows: pandas_frame(rows).convert_dtypes(dtype_backend="pyarrow"),
    "polars": polars_frame,
    "polars, chunked": lambda rows: polars_frame(rows[:1]).vstack(polars_frame(rows[1:])),
    "list of dicts": lambda rows: rows,
    "tuple of dicts": tuple,
    "RecordBatchReader": lambda rows: pa.Table.from_pylist(rows).to_reader(),
    "RecordBatch": pa.RecordBatch.from_pylist,
    "pyarrow.Table": pa.Table.from_pylist,
    "DuckDB": duckdb_relation,
    "datasets.Dataset": lambda rows: pytest.importorskip("datasets").Dataset.from_list(rows),
}


@pytest.mark.parametrize("kind", list(FRAMES))
def test_every_frame_gives_the_same_rows(kind: str) -> None:
    make = FRAMES[kind]
    assert read_table(make(ITEMS))[0].to_pylist() == ITEMS
    catalog = Catalog.read(make(ITEMS))
    assert catalog.report.lines()[0].endswith(" 3 rows read, 3 kept")
    assert catalog.table.column_names == ["item_id", "title", "price"]
    log = Interactions.read(make(EVENTS), catalog=catalog)
    assert log.histories.items.tolist() == [2, 1, 0]
    assert (log.report.rows, log.report.kept) == (3, 3)
    rows = open_rows(make(EVENTS), ["item_id", "absent"])
    assert rows.columns == ("user_id", "item_id", "timestamp")
    assert pa.concat_tables(rows.batches).to_pylist() == [{"item_id": f"i{n}"} for n in range(3)]


def test_pandas_index() -> None:
    frame = pandas_frame(ITEMS)
    assert read_table(frame.set_index("item_id"))[0].to_pylist() == [
        {name: row[name] for name in ("title", "price", "item_id")} for row in ITEMS
    ]
    odd = frame[frame.price > 1]
    assert read_table(odd)[0].column_names == ["item_id", "title", "price"]
    odd.index.name = "__index_level_0__"
    assert "__index_level_0__" not in Catalog.read(odd.reset_index()).table.column_names


def test_types_of_frames() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {
            "item_id": polars.Series(["a", "b"], dtype=polars.Categorical),
            "tags": [["x", "y"], []],
            "more": [{"K": 1, "k": "z"}, None],
            "at": [datetime.datetime(2024, 1, 1), None],
        }
    )
    table, name = read_table(frame)
    assert name == "polars.DataFrame"
    assert [str(kind) for kind in table.schema.types[:1]] == ["string"]
    assert table["tags"].to_pylist() == [["x", "y"], []]
    assert Catalog.read(frame).texts()[0].startswith("tags: x, y. more: K: 1, k: z. at: 2024")
    with pytest.raises(DataError, match=r"cannot read a LazyFrame; collect\(\) it first"):
        read_table(frame.lazy())
    assert len(read_table(frame.lazy().collect())[0]) == 2


def test_dicts_may_differ_in_keys_and_hold_what_python_has() -> None:
    rows = [
        {"item_id": np.int64(1), "n": np.float32(0.5), "d": datetime.date(2024, 1, 2)},
        {
            "item_id": 2,
            "late": {"Brand": "x", "brand": "y"},
            "price": Decimal("1.50"),
            "n": float("nan"),
        },
        {"item_id": "3", "v": np.array([1, 2])},
    ]
    catalog = Catalog.read(rows)
    assert catalog.item_ids == ["1", "2", "3"]
    assert catalog.table["d"].to_pylist() == ["2024-01-02", None, None]
    assert catalog.table["price"].to_pylist() == [None, "1.50", None]
    assert catalog.table["v"].to_pylist() == [None, None, [1, 2]]
    assert catalog.texts()[1] == "price: 1.50. late: Brand: x, brand: y"


REFUSED = {
    "no rows": ([], "no rows"),
    "not a dict": ([{"item_id": 1}, ["a"]], "row 2: a row must be a dict, found a list"),
    "a set": (
        [{"item_id": 1}, {"item_id": {2}}],
        "row 2: the row cannot be read: a set has no place",
    ),
    "columns": ({"item_id": ["a"]}, "cannot read a dict; pass a path or URL"),
    "a number": (3, "cannot read a int"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_what_is_no_frame_is_refused(kind: str) -> None:
    source, message = REFUSED[kind]
    with pytest.raises(DataError, match=message):
        read_table(source)


def test_pandas_columns_of_mixed_types_and_twice() -> None:
    frame = pandas_frame([{"item_id": "a", "n": 1}, {"item_id": "b", "n": "one"}])
    with pytest.raises(
        DataError, match=r"pandas\.DataFrame: .*column n.*convert the column to text"
    ):
        read_table(frame)
    frame["n"] = frame["n"].astype(str)
    assert read_table(frame)[0]["n"].to_pylist() == ["1", "one"]
    frame.columns = ["item_id", "item_id"]
    with pytest.raises(DataError, match="column 'item_id': two columns have this name; rename one"):
        read_table(frame)


def test_a_frame_is_read_to_its_last_row() -> None:
    class Cut:
        shape = (3, 3)

        def __arrow_c_stream__(self, schema: Any = None) -> Any:
            return pa.Table.from_pylist(ITEMS[:2]).__arrow_c_stream__(schema)

    with pytest.raises(DataError, match="2 rows were read of 3 in the source"):
        read_table(Cut())


VALUES = [["a", "b", None], [1, None, 3], [["x"], [], None], [{"k": "x"}, {"k": None}, None]]
words = pa.array(VALUES[0])
ODD = {
    "dictionary": (words.dictionary_encode(), VALUES[0]),
    "string_view": (words.cast(pa.string_view()), VALUES[0]),
    "large_string": (words.cast(pa.large_string()), VALUES[0]),
    "dictionary of views": (
        pa.DictionaryArray.from_arrays(
            pa.array([0, 1, None]), pa.array(["a", "b"], pa.string_view())
        ),
        VALUES[0],
    ),
    "run-end-encoded": (pc.run_end_encode(words), VALUES[0]),
    "runs of numbers": (pc.run_end_encode(pa.array(VALUES[1])), VALUES[1]),
    "list_view": (pa.array(VALUES[2], pa.list_view(pa.string())), VALUES[2]),
    "large_list_view": (pa.array(VALUES[2], pa.large_list_view(pa.string_view())), VALUES[2]),
    "list of dictionary": (
        pa.ListArray.from_arrays(pa.array([0, 1, None, 1]), words[:1].dictionary_encode()),
        [["a"], [], None],
    ),
    "struct of views": (
        pa.array(VALUES[3], pa.struct([pa.field("k", pa.string_view())])),
        VALUES[3],
    ),
    "JSON": (pa.array(["{}", "1", None], pa.json_()), ["{}", "1", None]),
    "view, sliced": (pa.array([["z"], *VALUES[2]], pa.list_view(pa.string()))[1:], VALUES[2]),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_odd_types_become_plain(kind: str) -> None:
    values, expected = ODD[kind]
    table, _ = read_table(pa.table({"item_id": pa.array([1, 2, 3]), "x": values}))
    assert table["x"].to_pylist() == expected
    assert not any(word in str(table.schema) for word in ("view", "dictionary", "run_end"))
    catalog = Catalog.read(pa.table({"item_id": pa.array([1, 2, 3]), "x": values}))
    assert len(catalog.texts()) == 3


@pytest.mark.parametrize(
    "kind", ["dictionary", "string_view", "run-end-encoded", "dictionary of views"]
)
def test_ids_of_odd_types(kind: str) -> None:
    values = ODD[kind][0][:2]
    catalog = Catalog.read(pa.table({"item_id": values}))
    assert catalog.item_ids == ["a", "b"]
    log = Interactions.read(pa.table({"user_id": values, "item_id": values}), catalog=catalog)
    assert log.user_ids == ["a", "b"]


def test_maps_read_as_keys_and_values() -> None:
    kind = pa.map_(pa.string(), pa.string())
    maps = pa.array([[("Brand", "x"), ("brand", "y")], []], kind)
    catalog = Catalog.read(pa.table({"item_id": ["a", "b"], "d": maps}))
    assert catalog.texts() == ["d: Brand: x, brand: y", "b"]


def not_utf8(kind: pa.DataType) -> pa.Array:
    """Three values of a text type, the last of which is not UTF-8."""
    wide = pa.types.is_large_string(kind)
    raw = pa.array([None, b"ok", b"caf\xe9"], pa.large_binary() if wide else pa.binary())
    return pa.Array.from_buffers(kind, 3, raw.buffers())


bad = not_utf8(pa.string())
NOT_UTF8 = {
    "string": bad,
    "large_string": not_utf8(pa.large_string()),
    "dictionary": pa.DictionaryArray.from_arrays(pa.array([None, 0, 1]), bad[1:]),
    "list": pa.ListArray.from_arrays([0, 1, 2, 3], bad),
    "list of two": pa.FixedSizeListArray.from_arrays(
        pa.concat_arrays([bad[:2], bad[:2], bad[1:]]), 2
    ),
    "struct": pa.StructArray.from_arrays([pa.array([1, 2, 3]), bad], names=["n", "t"]),
    "list of structs": pa.ListArray.from_arrays(
        [0, 1, 1, 3], pa.StructArray.from_arrays([bad], names=["t"])
    ),
    "map": pa.MapArray.from_arrays([0, 1, 2, 3], pa.array(["a", "b", "c"]), bad),
}


@pytest.mark.parametrize("kind", list(NOT_UTF8))
@pytest.mark.parametrize("before", [0, 4])
def test_strings_that_are_not_utf8_are_refused(tmp_path: Path, kind: str, before: int) -> None:
    values = NOT_UTF8[kind]
    good = pa.table(
        {"item_id": pa.array(["0"] * before, pa.string()), "x": pa.nulls(before, values.type)}
    )
    table = pa.concat_tables([good, pa.table({"item_id": ["a", "b", "c"], "x": values})])
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=2)
    for source in (table, path):
        with pytest.raises(DataError, match=r"column 'x'.*: not UTF-8 text; write") as caught:
            read_table(source)
        if source is table or kind != "dictionary":  # whose words Parquet reads before its rows
            assert (caught.value.row, caught.value.value) == (before + 3, b"caf\xe9")
        with pytest.raises(DataError, match="not UTF-8"):
            list(open_rows(source, ["x"]).batches)
        assert len(list(open_rows(source, ["item_id"]).batches)) > 0
    assert len(read_table(table.slice(0, before + 2))[0]) == before + 2


NOT_IN_PARQUET = {
    "empty struct": pa.array([{}, {}], pa.struct([])),
    "list of empty structs": pa.array([[{}], None], pa.list_(pa.struct([]))),
    "struct of one": pa.array([{"k": {}}, None], pa.struct([("k", pa.struct([]))])),
    "interval": pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    "list of intervals": pa.array([[(1, 2, 3)], []], pa.list_(pa.month_day_nano_interval())),
    "union": pa.UnionArray.from_dense(
        pa.array([0, 1], pa.int8()),
        pa.array([0, 0], pa.int32()),
        [pa.array([1]), pa.array(["x"])],
    ),
}


@pytest.mark.parametrize("kind", list(NOT_IN_PARQUET))
def test_types_that_parquet_lacks(tmp_path: Path, kind: str) -> None:
    table = pa.table({"item_id": ["a", "b"], "x": NOT_IN_PARQUET[kind]})
    if "struct" in kind:
        pq.write_table(Catalog.read(table).table, tmp_path / "x.parquet")
        assert Catalog.read(tmp_path / "x.parquet").item_ids == ["a", "b"]
        return
    message = r"pyarrow\.Table, column 'x': a column of type .* cannot be read .*write it as (list<.*)?string"
    with pytest.raises(DataError, match=message):
        Catalog.read(table)
    assert len(list(open_rows(table, ["item_id"]).batches)) == 1


def missing_values() -> list[Any]:
    pandas = pytest.importorskip("pandas")
    return [pandas.NaT, pandas.NA, np.datetime64("NaT"), float("nan"), None]


@pytest.mark.parametrize("place", range(5))
def test_missing_values_of_dicts_are_null(place: int) -> None:
    value = missing_values()[place]
    rows = [{"item_id": "a", "x": value, "l": ["b", value]}, {"item_id": "b", "x": "c", "l": []}]
    table, _ = read_table(rows)
    assert table["x"].to_pylist() == [None, "c"]
    assert [row for batch in open_rows(rows, ["x"]).batches for row in batch["x"].to_pylist()] == [
        None,
        "c",
    ]
    if place != 3:
        assert table["l"].to_pylist() == [["b", None], []]


TWICE = {
    "table": pa.Table.from_arrays([pa.array(["a"])] * 2, names=["item_id", "item_id"]),
    "reader": pa.Table.from_arrays([pa.array(["a"])] * 2, names=["item_id", "item_id"]).to_reader(),
    "another": pa.Table.from_arrays([pa.array(["a"])] * 3, names=["item_id", "b", "b"]),
    "struct": pa.table(
        {
            "item_id": ["a"],
            "s": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["b", "b"]),
        }
    ),
}


@pytest.mark.parametrize("kind", list(TWICE))
def test_two_columns_of_one_name_are_refused(kind: str) -> None:
    with pytest.raises(
        DataError, match=r"column '(item_id|b)': two columns have this name; rename one"
    ):
        Catalog.read(TWICE[kind])


def test_times_in_frames() -> None:
    catalog = Catalog.read(ITEMS)
    frame = pandas_frame(EVENTS)
    frame["timestamp"] = pytest.importorskip("pandas").to_datetime(frame["timestamp"])
    log = Interactions.read(frame, catalog=catalog, columns=InteractionColumns())
    assert (log.timestamp_unit, log.histories.items.tolist()) == ("us", [2, 1, 0])
