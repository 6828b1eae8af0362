"""New items behind a catalog: same columns, other ids."""

import re
from datetime import date

import pyarrow as pa
import pytest

from genrec.common.errors import DataError
from genrec.data import Catalog
from genrec.data.joining import compare_items, join_items


def catalog_of(**columns):
    return Catalog.from_table(pa.table(columns), source="new.csv")


@pytest.fixture
def catalog():
    return catalog_of(item_id=["a", "b"], title=["Tent", None], price=[5, 7], tags=[["x"], None])


def test_new_items_stand_behind_the_old_ones(catalog):
    items = catalog_of(price=[9, 1], title=["Rope", "Cup"], item_id=["c", "d"])
    joined = join_items(catalog, items)
    assert joined.whole.table.slice(0, 2).equals(catalog.table)
    assert joined.whole.table.slice(2).to_pylist() == [
        {"item_id": "c", "title": "Rope", "price": 9, "tags": None},
        {"item_id": "d", "title": "Cup", "price": 1, "tags": None},
    ]
    assert joined.new.table.equals(joined.whole.table.slice(2).combine_chunks())
    assert joined.known == 0
    assert joined.notes == ("without tags: missing for the new items",)


def test_a_file_added_twice_is_added_once(catalog):
    items = catalog_of(item_id=["b", "c"], title=[None, "Cup"], price=[7, 7], tags=[None, ["y"]])
    once = join_items(catalog, items)
    assert (once.new.item_ids, once.known) == (["c"], 1)
    again = join_items(once.whole, items)
    assert (len(again.new), again.known) == (0, 2)
    assert again.whole.table.equals(once.whole.table)


@pytest.mark.parametrize("given", [{"title": ["Tent", "Cup"]}, {"price": [5, 9]}])
def test_a_file_of_some_columns_repeats_an_item_too(catalog, given):
    joined = join_items(catalog, catalog_of(item_id=["a", "c"], **given))
    assert (joined.new.item_ids, joined.known) == (["c"], 1)
    assert joined.whole.table.slice(0, 2).equals(catalog.table)


def test_decimal_prices_may_follow_whole_ones(catalog):
    joined = join_items(catalog, catalog_of(item_id=["c"], title=["Cup"], price=[1.5]))
    assert joined.whole.table["price"].to_pylist() == [5.0, 7.0, 1.5]
    assert joined.whole.texts()[:2] == catalog.texts(), "the old items read as they did"
    assert joined.whole.where(["price<6"]).tolist() == [0, 2]


def test_a_column_that_was_empty_so_far_may_be_filled():
    empty = catalog_of(item_id=["a"], title=["Tent"], brand=pa.nulls(1))
    joined = join_items(empty, catalog_of(item_id=["b"], title=["Cup"], brand=["Acme"]))
    assert joined.whole.table["brand"].to_pylist() == [None, "Acme"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"prices": [3]}, r"new.csv, column 'prices': .* did you mean 'price'\?.*item_id, title"),
        ({"price": ["cheap"]}, r"row 1, column 'price', value 'cheap': item 'c': .* int64"),
        ({"tags": ["x"]}, r"column 'tags': the catalog holds list"),
        ({"item_id": ["a"]}, r"column 'item_id', value 'a': .*another title;"),
        ({"item_id": ["a"], "title": [None], "price": [6]}, r"value 'a': .*another price;"),
        ({"item_id": ["a"], "price": [6], "tags": [["y"]]}, r"'a': .*another title, price, tags;"),
    ],
)
def test_what_does_not_fit_is_named(catalog, columns, says):
    with pytest.raises(DataError, match=says):
        join_items(catalog, catalog_of(**({"item_id": ["c"], "title": ["Cup"]} | columns)))


@pytest.mark.parametrize(
    ("held", "given", "read"),
    [
        ([1.5, 2.0], ["", "2.5"], [None, 2.5]),
        ([1.5, 2.0], [" n/a ", "NaN"], [None, None]),
        ([1, 2], ["2.0", " 7 "], [2, 7]),
        ([1, 2], ["-3.", ""], [-3, None]),
        ([1, 2], ["2.5", "7"], [2.5, 7.0]),
        ([True, False], ["true", "None"], [True, None]),
        ([[1], [2]], ["[3]", ""], [[3], None]),
        ([date(2024, 1, 1)] * 2, ["2024-02-03", ""], [date(2024, 2, 3), None]),
    ],
)
@pytest.mark.parametrize("take", [join_items, compare_items])
def test_text_is_read_as_the_type_that_the_catalog_has(held, given, read, take):
    catalog = catalog_of(item_id=["a", "b"], title=["T", "T"], x=held)
    ids = ["c", "d"] if take is join_items else ["a", "b"]
    taken = take(catalog, catalog_of(item_id=ids, title=["T", "T"], x=given))
    whole = taken.whole if take is join_items else taken.catalog
    assert whole.table["x"].to_pylist()[-2:] == read


@pytest.mark.parametrize(
    ("held", "given"), [([1, 2], "cheap"), ([1.5, 2], "$3"), ([True, False], "maybe")]
)
def test_a_text_that_is_not_of_the_type_is_named(held, given):
    catalog = catalog_of(item_id=["a", "b"], title=["T", "T"], x=held)
    items = catalog_of(item_id=["c", "d", "e"], title=["T"] * 3, x=["", given, None])
    says = rf"new.csv, row 2, column 'x', value '{re.escape(given)}': item 'd': .*leave it empty"
    with pytest.raises(DataError, match=says):
        join_items(catalog, items)
    twice = pa.concat_tables([items.table.slice(0, 1), items.table])
    with pytest.raises(DataError, match=r"new.csv, column 'x', value .*item 'd'"):
        join_items(catalog, Catalog.from_table(twice, source="new.csv"))


def test_objects_join_a_catalog_that_has_a_field_for_each_key() -> None:
    import pyarrow as pa

    kind = pa.struct([("Brand", pa.string()), ("size", pa.list_(pa.uint64()))])
    old = pa.table(
        {"item_id": ["a"], "d": pa.array([{"Brand": "x", "size": [1]}], kind), "l": [[{"k": 1}]]}
    )
    catalog = Catalog.from_table(old)
    new = Catalog.read([{"item_id": "b", "d": {"size": [2]}, "l": [{"k": 2}]}, {"item_id": "c"}])
    joined = join_items(catalog, new)
    assert joined.new.table["d"].to_pylist() == [{"Brand": None, "size": [2]}, None]
    assert joined.new.table["l"].to_pylist() == [[{"k": 2}], None]
    assert joined.new.texts()[0] == "d: size: 2. l: k: 2"
    for odd in ({"brand": "y"}, {"size": "large"}, {"Brand": {"deep": 1}}):
        with pytest.raises(DataError, match="the catalog holds struct"):
            join_items(catalog, Catalog.read([{"item_id": "b", "d": odd}]))
