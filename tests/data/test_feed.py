"""A table of items as what a catalog is to be: what it changes, adds and leaves out."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.errors import DataError
from genrec.data import Catalog
from genrec.data.differences import differing
from genrec.data.joining import compare_items, join_items


def catalog_of(**columns):
    return Catalog.from_table(pa.table(columns), source="feed.csv")


@pytest.fixture
def catalog():
    return catalog_of(
        item_id=["a", "b", "c"],
        title=["Tent", "Rope", None],
        price=["1.50", "2", None],
        stock=[3, 4, None],
        tags=[["x", "y"], None, []],
    )


def changes(feed):
    return {name: differs.nonzero()[0].tolist() for name, differs in feed.changed.items()}


def test_values_are_taken_over_and_the_rest_stays(catalog):
    feed = compare_items(
        catalog,
        catalog_of(
            item_id=["d", "b", "a"],
            title=["Cup", "Long rope", "Tent"],
            price=["7", "2.0", "1.75"],
            tags=[["z"], None, ["y", "x"]],
        ),
    )
    assert changes(feed) == {"title": [1], "price": [0], "tags": [0]}
    assert feed.catalog.table.to_pylist() == [
        {"item_id": "a", "title": "Tent", "price": "1.75", "stock": 3, "tags": ["y", "x"]},
        {"item_id": "b", "title": "Long rope", "price": "2", "stock": 4, "tags": None},
        {"item_id": "c", "title": None, "price": None, "stock": None, "tags": []},
    ]
    assert feed.missing.tolist() == [2]
    assert feed.new.item_ids == ["d"]
    assert feed.items_changed().tolist() == [True, True, False]
    assert feed.notes == ("without stock: kept as they are, and missing for new items",)


def test_a_feed_without_titles_leaves_them(catalog):
    feed = compare_items(catalog, catalog_of(item_id=["a", "c"], stock=[0, 5]))
    assert changes(feed) == {"stock": [0, 2]}
    assert feed.catalog.table["title"].to_pylist() == ["Tent", "Rope", None]
    assert feed.catalog.table["stock"].to_pylist() == [0, 4, 5]
    assert "title, price, tags" in feed.notes[0]


def test_an_empty_cell_is_a_value_that_went(catalog):
    feed = compare_items(catalog, catalog_of(item_id=["a", "b"], price=["", None]))
    assert feed.catalog.table["price"].to_pylist() == ["", None, None]
    assert changes(feed) == {"price": [0, 1]}


def test_whole_numbers_become_decimal_ones(catalog):
    feed = compare_items(catalog, catalog_of(item_id=["a", "b"], stock=[2.5, 4.0]))
    assert changes(feed) == {"stock": [0]}
    assert feed.catalog.table["stock"].to_pylist() == [2.5, 4.0, None]


@pytest.mark.parametrize("columns", [{"prices": ["1"]}, {"stock": ["few"]}, {"tags": ["x"]}])
def test_what_does_not_fit_is_named(catalog, columns):
    with pytest.raises(DataError, match=f"column '{next(iter(columns))}'"):
        compare_items(catalog, catalog_of(item_id=["a"], title=["Tent"], **columns))


def test_a_value_that_spoils_a_column_is_named(catalog):
    with pytest.raises(DataError, match=r"feed.csv, column 'price', value '\$3'.*item 'b'"):
        compare_items(catalog, catalog_of(item_id=["a", "b"], price=["1.5", "$3"]))


def test_columns_of_lists_stay_so():
    lists = ["x|y", "y|z", "x|z", "z|y"]
    catalog = catalog_of(item_id=["a", "b", "c", "d"], title=["T"] * 4, tags=lists)
    assert catalog.where(["tags=y"]).tolist() == [0, 1, 3]
    feed = compare_items(
        catalog, catalog_of(item_id=["b", "e"], title=["T", "U"], tags=["w", "w|y"])
    )
    assert feed.catalog.where(["tags=y"]).tolist() == [0, 3]
    assert join_items(feed.catalog, feed.new).whole.where(["tags=y"]).tolist() == [0, 3, 4]


@pytest.mark.parametrize("take", [compare_items, join_items])
@pytest.mark.parametrize("given", ["Green;lime", '["Green", "lime"]', "Green|lime"])
def test_one_item_does_not_split_the_column_of_a_catalog_anew(take, given):
    colours = ["Red; blue trim", "Green", "Black; white trim", "Pink"]
    catalog = catalog_of(item_id=["a", "b", "c", "d"], title=["T"] * 4, colour=colours)
    item = "e" if take is join_items else "b"
    taken = take(catalog, catalog_of(item_id=[item], title=["T"], colour=[given]))
    whole = taken.whole if take is join_items else taken.catalog
    assert whole.where(["colour=Red; blue trim"]).tolist() == [0]


@pytest.mark.parametrize("item", ["a", "e"])
@pytest.mark.parametrize(
    ("tags", "given", "advice"),
    [
        (["adult|x", "new", "kids"], ["adult;new"], r"with '\|' there.*write it as 'adult\|new'"),
        (['["adult"]', '["new"]', None], ["adult|new"], r"""as '\["adult", "new"\]'"""),
        (["adult;x", "new", "kids"], ["adult|new"], r"write it as 'adult;new'"),
    ],
)
def test_a_list_written_with_another_sign_is_refused(tags, given, advice, item):
    catalog = catalog_of(item_id=["a", "b", "c"], title=["T"] * 3, tags=tags)
    items = catalog_of(item_id=[item], title=["T"], tags=given)
    with pytest.raises(DataError, match=f"column 'tags', value .*item '{item}': .*{advice}"):
        compare_items(catalog, items) if item == "a" else join_items(catalog, items)
    if item == "e":
        with pytest.raises(DataError, match=advice):
            compare_items(catalog, items)


@pytest.mark.parametrize(
    ("tags", "given"),
    [
        (["adult|x", "new", "kids"], ["adult|x", "Kids; adult"]),
        (["Red; blue trim", "Green", "Pink"], ["Green", "Green;lime"]),
    ],
)
def test_a_value_that_may_be_a_list_is_told(tags, given):
    catalog = catalog_of(item_id=["a", "b", "c"], title=["T"] * 3, tags=tags)
    items = catalog_of(item_id=["d", "e"], title=["T"] * 2, tags=given)
    note = f"tags is not split at ';': {given[1]!r} of item 'e' is one value"
    assert join_items(catalog, items).notes == compare_items(catalog, items).notes == (note,)


@pytest.mark.parametrize("given", ["R&amp;B", '["a;b"]', "x|a;b", "", None, "kids"])
def test_other_values_are_no_lists_of_another_sign(given):
    catalog = catalog_of(item_id=["a", "b"], title=["T"] * 2, tags=["adult|x", "new"])
    items = catalog_of(item_id=["e"], title=["T"], tags=pa.array([given], pa.string()))
    assert join_items(catalog, items).notes == ()


def test_a_column_that_was_empty_is_split_as_its_first_values_say():
    catalog = catalog_of(item_id=["a"], title=["T"], tags=pa.nulls(1, pa.string()))
    items = catalog_of(item_id=["b", "c"], title=["T"] * 2, tags=["x|y", "y|z"])
    assert join_items(catalog, items).whole.where(["tags=y"]).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("1.50", "1.5", False),
        ("2", "2.0", False),
        ("+2.00", " 2", False),
        ("14.", "14.00", False),
        ("100", "1", True),
        ("1.05", "1.5", True),
        ("007", "7", True),
        ("123456789012345678", "123456789012345679", True),
        ("1.5 m", "1.50 m", True),
        ("", None, False),
        ("nan", "", True),
        (float("nan"), None, False),
        (1.5, 1.5, False),
        (0.0, None, True),
        ([float("nan")], [float("nan")], False),
        (["a", "b"], ["b", "a"], True),
        ({"a": 1}, {"a": 2}, True),
        (True, False, True),
    ],
)
def test_a_value_that_is_only_written_otherwise_is_the_same(one, other, differs):
    kind = pa.array([one]).type
    tables = [pa.table({"x": pa.array([value], kind)}) for value in (one, other)]
    assert differing(*tables)["x"].tolist() == [differs]
    assert differing(*tables[::-1])["x"].tolist() == [differs]


def test_a_title_counts_as_it_stands():
    tables = [pa.table({"title": [word]}) for word in ("1984.0", "1984")]
    assert differing(*tables)["title"].tolist() == [True]


WORDS = st.sampled_from(["", "1.5", "1.50", "2", "2.0", None])


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=9), st.data())
def test_a_catalog_that_took_a_feed_over_finds_nothing_new_in_it(pairs, data):
    ids = [f"i{place}" for place in range(len(pairs))]
    catalog = catalog_of(item_id=ids, price=pa.array([old for old, _ in pairs], pa.string()))
    chosen = data.draw(st.lists(st.sampled_from([*ids, "n1", "n2"]), min_size=1, unique=True))
    values = [pairs[ids.index(item)][1] if item in ids else "9" for item in chosen]
    items = catalog_of(item_id=chosen, price=pa.array(values, pa.string()))
    feed = compare_items(catalog, items)
    for place, item in enumerate(ids):
        told = values[chosen.index(item)] if item in chosen else pairs[place][0]
        found = feed.catalog.table["price"][place].as_py()
        same = {"": None, "1.50": "1.5", "2.0": "2"}
        assert same.get(found, found) == same.get(told, told)
    whole = join_items(feed.catalog, items)
    assert whole.known == len(chosen) - len(set(chosen) - set(ids))
    again = compare_items(whole.whole, items)
    assert (again.changed, again.new) == ({}, None)
