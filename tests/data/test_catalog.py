from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from genrec.common.errors import DataError
from genrec.data import Catalog, CatalogColumns, ItemTemplate


def shop(**columns: list[object]) -> Catalog:
    return Catalog.from_table(pa.table(columns))


def test_reads_text_ids_and_keeps_every_column(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("title,item_id,price\nTent,0012,9.50\n,7,\n")
    catalog = Catalog.read(path)
    assert catalog.table.to_pylist() == [
        {"item_id": "0012", "title": "Tent", "price": "9.50"},
        {"item_id": "7", "title": "", "price": ""},
    ]
    assert catalog.item_ids == ["0012", "7"]
    assert len(catalog) == 2
    assert catalog.titles == ["Tent", "7"]
    assert catalog.report.notes == (
        "1 of 2 items have no title",
        "1 of 2 items have no text at all",
    )


@pytest.mark.parametrize(
    ("ids", "texts"),
    [
        (pa.array([12, 7]), ["12", "7"]),
        (pa.array([12.0, 7.0]), ["12", "7"]),
        (pa.array(["0012", "12.0"], pa.large_string()), ["0012", "12.0"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    ],
)
def test_ids_of_any_type_become_text(ids: pa.Array, texts: list[str]) -> None:
    assert shop(item_id=ids).item_ids == texts


def test_json_number_ids_become_digits(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"item_id": 12, "title": 1984}\n{"item_id": "0012"}\n{"item_id": 13.0}\n')
    catalog = Catalog.read(path)
    assert catalog.item_ids == ["12", "0012", "13"]
    assert catalog.titles == ["1984", "0012", "13"]


def test_column_names_can_be_mapped() -> None:
    columns = CatalogColumns(item_id="asin", title="name")
    table = pa.table({"name": ["Tent"], "x": [1], "asin": ["a"]})
    catalog = Catalog.from_table(table, columns)
    assert catalog.table.column_names == ["item_id", "title", "x"]
    with pytest.raises(DataError, match="a column 'item_id' exists too"):
        Catalog.from_table(table.append_column("item_id", pa.array(["b"])), columns)


def test_missing_columns() -> None:
    with pytest.raises(DataError, match=r"column 'item_id'.*found 'itemid'; did you mean 'itemid'"):
        shop(itemid=["a"])
    with pytest.raises(DataError, match="column 'name'"):
        Catalog.from_table(pa.table({"item_id": ["a"]}), CatalogColumns(title="name"))
    assert shop(item_id=["a"], Title=["x"]).report.notes[0] == (
        "no item has a title; did you mean 'Title'?"
    )


@pytest.mark.parametrize("blank", ["", "  ", None])
def test_empty_id_is_refused(blank: str | None) -> None:
    with pytest.raises(DataError, match=r"row 2, column 'item_id'.*the id is empty"):
        shop(item_id=["a", blank])


def test_ids_that_are_no_ids_are_refused() -> None:
    with pytest.raises(DataError, match=r"row 2, .*value 1.5"):
        shop(item_id=[1.0, 1.5])
    with pytest.raises(DataError, match="found type bool"):
        shop(item_id=[True])


def test_duplicates() -> None:
    catalog = shop(item_id=["a", "b", "a"], title=["A", "B", "A"], price=[float("nan")] * 3)
    assert catalog.item_ids == ["a", "b"]
    assert (catalog.report.rows, catalog.report.kept) == (3, 2)
    assert catalog.report.dropped == {"identical row": 1}
    with pytest.raises(DataError, match=r"row 3, .*'a': .* in row 1 with another title, cats"):
        shop(item_id=["a", "b", "a"], title=["A", "B", "C"], cats=[["x"], ["y"], ["z"]])


def test_parquet_round_trip(tmp_path: Path) -> None:
    catalog = shop(item_id=["1", "2"], title=["A", None], categories=[["x", "y"], None], p=[1.5, 2])
    catalog.write(tmp_path / "c.parquet")
    assert Catalog.read(tmp_path / "c.parquet").table.equals(catalog.table)


def test_index_of() -> None:
    catalog = shop(item_id=["B001", "B002", "C9"])
    indices = catalog.index_of(["C9", "B001", "C9"])
    assert indices.dtype == np.int32
    assert indices.tolist() == [2, 0, 2]
    assert catalog.index_of([]).shape == (0,)
    with pytest.raises(DataError, match=r"'B003': item id 2 of 2 .*similar ids: 'B00"):
        catalog.index_of(["B001", "B003"])
    with pytest.raises(DataError, match="item ids are text"):
        catalog.index_of([1])  # type: ignore[list-item]
    with pytest.raises(DataError, match="put it in a list"):
        catalog.index_of("B001")
    assert catalog.lookup(pa.array(["C9", "x", "B002"])).tolist() == [2, -1, 1]


def test_labels() -> None:
    lists = shop(item_id=["1", "2", "3", "4"], categories=[["A", "B"], ["C", "B"], [], ["A"]])
    joined = shop(
        item_id=["1", "2", "3", "4"],
        categories=["A|B", "C|B", "", "A"],
        brand=["x", None, "y", "x"],
    )
    for catalog in (lists, joined):
        labels = catalog.labels()
        assert labels is not None
        assert labels.dtype == np.int64
        assert labels.tolist() == [0, 0, -1, 1]
    brands = joined.labels("brand")
    assert brands is not None
    assert brands.tolist() == [0, -1, 1, 0]
    assert joined.labels("absent") is None


def test_text_of_a_row_is_as_documented() -> None:
    catalog = shop(
        item_id=["1"],
        title=["  Tom &amp;amp; Jerry&#39;s\n<b>Tent</b>.  "],
        year=[1995],
        description=["nan"],
        brand=[None],
        weight=[2.0],
        score=[float("nan")],
        categories=["Outdoor|Camping"],
        tags=[["a", None, " b "]],
    )
    assert catalog.texts() == [
        "Tom & Jerry's Tent. categories: Outdoor, Camping. year: 1995. weight: 2. tags: a, b"
    ]
    template = ItemTemplate(fields=("categories", "title"))
    assert catalog.texts(template) == ["categories: Outdoor, Camping. Tom & Jerry's Tent"]
    assert catalog.titles == ["Tom & Jerry's Tent ."]


def test_less_than_is_no_tag() -> None:
    assert shop(item_id=["1"], title=["2 < 3 and a<4"]).texts() == ["2 < 3 and a<4"]


def test_text_is_capped_between_words() -> None:
    catalog = shop(item_id=["1"], title=["one two three"], brand=["x" * 50])
    assert catalog.texts(ItemTemplate(max_field_chars=9))[0] == "one two. brand: xxxxxxxxx"
    assert catalog.texts(ItemTemplate(max_chars=7)) == ["one two"]
    assert catalog.texts(ItemTemplate(max_chars=3)) == ["one"]


def test_text_falls_back_to_the_id() -> None:
    catalog = shop(item_id=["1", "2"], title=[None, "None"], brand=["Acme", "N/A"])
    assert catalog.titles == ["brand: Acme", "2"]
    assert catalog.texts() == ["brand: Acme", "2"]
    assert catalog.report.notes == ("no item has a title", "1 of 2 items have no text at all")


def test_unknown_template_field() -> None:
    with pytest.raises(DataError, match=r"column 'brnd'.*did you mean 'brand'"):
        shop(item_id=["1"], brand=["x"]).texts(ItemTemplate(fields=("brnd",)))


def test_texts_do_not_depend_on_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item_id,title,categories,year\n1,Tent,A|B,1995\n2,,C,\n")
    rows = [
        {"item_id": 1, "title": "Tent", "categories": ["A", "B"], "year": 1995},
        {"item_id": 2, "title": None, "categories": ["C"], "year": None},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    from_csv, from_json = (Catalog.read(tmp_path / f"a.{e}") for e in ("csv", "jsonl"))
    assert from_csv.texts() == from_json.texts()
    assert from_csv.titles == from_json.titles


@pytest.mark.parametrize(
    "values",
    [
        [{"id": 1}, {"id": 2}, {"id": 1}],
        [[{"id": 1}], [{"id": 2}], [{"id": 1}]],
        pa.array(
            [[("k", ["x"])], [("k", ["y"])], [("k", ["x"])]],
            pa.map_(pa.string(), pa.list_(pa.string())),
        ),
    ],
)
def test_structs_and_maps_are_labels_too(values):
    table = pa.table({"item_id": ["a", "b", "c"], "title": ["T"] * 3, "categories": values})
    assert Catalog.from_table(table).labels().tolist() == [0, 1, 0]
