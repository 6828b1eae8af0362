"""Text that holds lists: told once, split for conditions and labels alike, kept with the catalog."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.errors import DataError, InputError
from genrec.data import Catalog, CatalogColumns, Condition
from genrec.data.joining import compare_items, join_items
from genrec.data.list_columns import literal_list
from genrec.recommender.tables import read_items, write_catalog
from genrec.semantic_ids.semantic_ids import SemanticIds

SINGLE = ("one piece", "another", "third thing", "a fourth")


def written(tmp_path, values, name="tags", header="item_id,title"):
    """A catalog read from a CSV file with one more column."""
    rows = [f'i{i},T{i},"{value.replace(chr(34), chr(34) * 2)}"' for i, value in enumerate(values)]
    path = tmp_path / "items.csv"
    path.write_text("\n".join([f"{header},{name}", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("values", "wanted", "inside"),
    [
        (["Adventure|Animation|Comedy", "Action|Crime", "Comedy", "(none)"], "Comedy", [0, 2]),
        (["new;adult", "adult", "garden;new", ""], "adult", [0, 1]),
        (["Beauty | Hair", "Beauty", "Hair | Skin", "Skin"], "Hair", [0, 2]),
        (["red; blue", "blue; green", "green", "red"], "green", [1, 2]),
        (["['Beauty', 'Hair']", "['Beauty']", '["Beauty","Hair"]', "[]"], "Hair", [0, 2]),
        (["['a' 'b']", "['b']", "['a'\n 'c']"], "a", [0, 2]),
        (["('a', 'b')", "('b',)"], "b", [0, 1]),
        (["{'a', 'b'}", "{'c'}"], "b", [0]),
        (["[['A', 'B'], ['C']]", "[['B']]"], "B", [0, 1]),
        (["[\"it's\", 'b']", "['O\\'Neil']", "['x']"], "it's", [0]),
        (["one", "two", "adult|two"], "adult", [2]),
        (["8GB|16GB", "16GB", "8GB|12GB"], "8GB", [0, 2]),
        (["[u'adult', u'new']", "[u'new']", "(u'adult',)"], "adult", [0, 2]),
        (["[b'adult']", r"[b'caf\xc3\xa9', b'adult']", "[b'new']"], "adult", [0, 1]),
        ([r"[b'caf\xc3\xa9', b'adult']", "[b'new']"], "café", [0]),
        (["array(['adult', 'new'], dtype=object)", "array(['new'], dtype='<U5')"], "adult", [0]),
        (["{adult,new}", "{new}", "{}", '{"very new",adult}'], "adult", [0, 3]),
        (["{adult,new}", "{new}", '{"very, very new",adult}'], "very, very new", [2]),
        (["[adult, new]", "[new]", "[]", "[Kids', 12 inch]"], "new", [0, 1]),
        (["[Rock;Pop, Jazz]", "[Jazz]"], "Rock;Pop", [0]),
        (["[adult, new]", "[new]", '["x"]', "[Kids', 12 inch]"], "Kids'", [3]),
        (["Smith, J.; Doe, A.", "Doe, A.; Lee, K.", "Roe, R.; Foe, F."], "Doe, A.", [0, 1]),
        (["Action | Crime", "Comedy | Drama", "Horror", "War | Music | Family"], "Music", [3]),
    ],
)
def test_an_element_of_a_list_is_found_and_kept_out(tmp_path, values, wanted, inside):
    catalog = Catalog.read(written(tmp_path, values))
    assert catalog.where([f"tags={wanted}"]).tolist() == inside
    kept_out = set(catalog.where([f"tags!={wanted}"]).tolist())
    assert not kept_out & set(inside)
    held = {i for i, value in enumerate(values) if value not in ("", "[]", "{}")}
    assert kept_out == held - set(inside)
    [note] = [line for line in catalog.report.lines() if "lists" in line]
    assert note.startswith("read as lists: tags")
    assert "--list-column tags=no" in note


@pytest.mark.parametrize(
    "values",
    [
        ["Tom &amp; Jerry", "Fish &amp; Chips", "Salt"],
        [
            "A soft pillow for the whole family; wash it at forty degrees",
            "Plain; no words of note here",
        ],
        ["Buy now at our shop today | it is free for everybody who asks us", "More"],
        ["red, blue", "blue", "red"],
        ["[New] Tent", "[sale]", "[Tent 2]"],
        ["{'colour': 'red'; 'size': 'S'}", "{'a': 'b'}"],
        ["wide | narrow", "thick", "thin"],
        ["[New]", "[Old]", "[Used, as new] Tent"],
        ["{red}", "{blue}"],
        ["{a: 1, b: 2}", "{a: 2, b: 3}"],
        [
            "A soft pillow for the whole family; wash it at forty degrees",
            "For tall people who like to sleep on their side; filled with down",
        ],
    ],
)
def test_prose_and_single_values_stay_whole(tmp_path, values):
    catalog = Catalog.read(written(tmp_path, values))
    assert not any("lists" in line for line in catalog.report.lines())
    assert len(set(catalog.labels("tags").tolist())) == len(values)


@pytest.mark.parametrize(
    ("values", "wanted", "inside"),
    [
        (["['Rock;Pop', 'Jazz']", "['Jazz']", "['Jazz', 'x']"] * 20, "Rock;Pop", [0, 3]),
        (['["Rock|Pop", "Jazz"]', '["Jazz"]', '["Jazz", "x"]'], "Rock|Pop", [0]),
        (["[['R;B'], ['Jazz']]", "['Jazz']", "Soul;Jazz", "Soul"], "R;B", [0]),
        (["['R;B', 'Jazz']", "Soul;Jazz", "Soul", "Jazz"], "Jazz", [0, 1, 3]),
    ],
)
def test_a_sign_in_an_element_of_a_list_separates_nothing(tmp_path, values, wanted, inside):
    catalog = Catalog.read(written(tmp_path, values))
    found = catalog.where([Condition("tags", "=", (wanted,))])
    assert [i for i in found if i < 4] == inside
    others = catalog.where([Condition("tags", "!=", (wanted,))])
    assert sorted([*found, *others]) == list(range(len(values)))


@given(st.lists(st.lists(st.text("ab'\"\\ ,|", max_size=4), max_size=3), min_size=1))
def test_what_python_writes_is_read_back(rows):
    """By conditions, which read most lists at once, as one by one."""
    texts = [str(row) for row in rows]
    assert [literal_list(text) for text in texts] == rows
    table = pa.table({"item_id": [f"i{i}" for i in range(len(rows))], "tags": texts})
    catalog = Catalog.from_table(table, CatalogColumns(lists={"tags": "[]"}))
    for wanted in {element.strip() for row in rows for element in row} - {""}:
        holds = [i for i, row in enumerate(rows) if wanted in map(str.strip, row)]
        assert catalog.where([Condition("tags", "=", (wanted,))]).tolist() == holds


def test_a_column_that_may_hold_lists_is_named_with_what_to_do(tmp_path):
    """And the hint does what it says."""
    values = ["big bag; red", "old hat; blue", *(f"single {i}" for i in range(8))]
    path = written(tmp_path, values, "kinds")
    [note] = [line for line in Catalog.read(path).report.lines() if "lists" in line]
    assert note == (
        "not taken for lists, though ';' stands in 2 values: kinds; --list-column 'kinds=;' if it is"
    )
    said = Catalog.read(path, CatalogColumns(lists={"kinds": ";"}))
    assert said.where(["kinds=blue"]).tolist() == [1]
    assert not any("not taken" in line for line in said.report.lines())


@pytest.mark.parametrize(
    "values",
    [
        ["[{'id': 1, 'name': 'adult'}]", "[{'id': 2, 'name': 'new'}]"],
        ["['a' 'b']", "['a' 'b' ... 'z']"],
        ['[{"id": 1}]', '["a"]'],
    ],
)
def test_what_looks_like_lists_and_is_not_read_is_named(tmp_path, values):
    lines = Catalog.read(written(tmp_path, values)).report.lines()
    assert any("looks like lists, not read: tags" in line for line in lines)


def test_numbers_in_lists_compare(tmp_path):
    catalog = Catalog.read(written(tmp_path, ["1|2|3", "4", "2|9"]))
    assert catalog.where(["tags>3"]).tolist() == [1, 2]
    assert Catalog.read(written(tmp_path, ["[0.5 1.5]", "[2.]"])).where(["tags>1"]).tolist() == [
        0,
        1,
    ]


def test_labels_take_the_last_element(tmp_path):
    genres = Catalog.read(written(tmp_path, ["Adventure|Comedy", "Crime", "Comedy", ""]))
    assert genres.labels("tags").tolist() == [0, 1, 0, -1]
    lists = Catalog.read(written(tmp_path, ["['Beauty', 'Hair']", "['Hair']", "[]"], "categories"))
    assert lists.labels().tolist() == [0, 0, -1]


def test_the_user_overrules_what_the_values_tell(tmp_path):
    path = written(tmp_path, ["red|blue", "red", "red, green"])
    whole = Catalog.read(path, CatalogColumns(lists={"tags": "no"}))
    assert whole.where(["tags!=blue"]).tolist() == [0, 1, 2]
    assert not any("lists" in line for line in whole.report.lines())
    commas = Catalog.read(path, CatalogColumns(lists={"tags": ","}))
    assert commas.where(["tags=green"]).tolist() == [2]
    literal = Catalog.read(path, CatalogColumns(lists={"tags": "[]"}))
    assert literal.where(["tags=blue"]).tolist() == []


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ({"tagz": "|"}, r"'tagz' is no column of the catalog; did you mean 'tags'\?.*tags"),
        ({"title": "|"}, "never item ids and titles"),
        ({"tags": ""}, r"empty separator: give a sign such as '\|', '\[\]'.*'no'"),
    ],
)
def test_a_column_that_cannot_be_split_is_refused(tmp_path, lists, says):
    path = written(tmp_path, ["red|blue", "red"])
    with pytest.raises(InputError, match=says):
        Catalog.read(path, CatalogColumns(lists=lists))


def test_columns_of_numbers_are_not_split():
    table = pa.table({"item_id": ["a"], "title": ["T"], "price": [1.5]})
    with pytest.raises(InputError, match=r"only columns of text.*double"):
        Catalog.from_table(table, CatalogColumns(lists={"price": "|"}))


def test_what_was_told_or_stated_is_kept_with_the_table(tmp_path):
    path = written(tmp_path, ["red|blue", "red", "green"])
    for lists in ({}, {"tags": "no"}):
        catalog = Catalog.read(path, CatalogColumns(lists=lists))
        catalog.write(tmp_path / "items.parquet")
        again = Catalog.read(tmp_path / "items.parquet")
        assert again.table.equals(catalog.table)
        for kept in (again, catalog.take([2, 1, 0]).take([2, 1, 0])):
            assert kept.where(["tags=blue"]).tolist() == catalog.where(["tags=blue"]).tolist()


def test_a_table_without_a_record_of_it_is_told_anew(tmp_path):
    """Folders of earlier versions have none."""
    catalog = Catalog.read(written(tmp_path, ["red|blue", "red", "green"]))
    bare = catalog.table.replace_schema_metadata(None)
    assert Catalog.from_table(bare).where(["tags!=blue"]).tolist() == [1, 2]


def tagged(ids, tags, lists=None):
    table = pa.table({"item_id": ids, "title": ids, "tags": tags})
    return Catalog.from_table(table, CatalogColumns(lists=lists or {}), source="new.csv")


def test_new_items_are_split_like_those_there():
    catalog = tagged(["a", "b"], ["red, blue", "red"], {"tags": ","})
    whole = join_items(catalog, tagged(["c"], ["blue, green"])).whole
    assert whole.where(["tags=blue"]).tolist() == [0, 2]
    # A list that comes later must not get past a filter either ...
    late, single = tagged(["c"], ["adult|new"]), ["new", "adult"]
    whole = join_items(tagged(["a", "b"], single), late).whole
    assert whole.where(["tags!=adult"]).tolist() == [0]
    # ... unless the values were said to be single.
    whole = join_items(tagged(["a", "b"], single, {"tags": "no"}), late).whole
    assert whole.where(["tags!=adult"]).tolist() == [0, 2]


def test_a_recommender_folder_keeps_how_columns_are_split(tmp_path):
    catalog = tagged(["a", "b"], ["red, blue", "red|x"], {"tags": ","})
    ids = SemanticIds(catalog.item_ids, np.array([[0], [1]], np.int32), (2,), "extra_level")
    write_catalog(catalog, ids, tmp_path / "catalog.parquet")
    again, _ = read_items(tmp_path / "catalog.parquet", ids.describe())
    for condition in ("tags=blue", "tags=red|x", "tags!=red"):
        assert again.where([condition]).tolist() == catalog.where([condition]).tolist()


def test_a_feed_may_change_lists_of_numbers():
    catalog = tagged(["a", "b"], ["40|41", "42"])
    feed = compare_items(catalog, tagged(["a"], ["41|43"]))
    assert feed.catalog.where(["tags>42"]).tolist() == [0]
    with pytest.raises(DataError, match="each of the catalog's values is a number"):
        compare_items(catalog, tagged(["a"], ["41|large"]))


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        (r"['Health\xa0Care', 'x']", ["Health\xa0Care", "x"]),
        (r"['a\nb']", ["a\nb"]),
        (r"['\u00e9', '\U0001f600']", ["é", "\U0001f600"]),
        (r"['a\\b', 'O\'Neil']", ["a\\b", "O'Neil"]),
        (r"['\d+', '\ud800']", ["d+", "ud800"]),  # neither is written by Python's own str
        ("['a\nb\\n']", ["a\nbn"]),
    ],
)
def test_escapes_are_read_as_python_writes_them(text, elements):
    assert literal_list(text) == elements
    table = pa.table({"item_id": ["a", "b"], "tags": [text, "['other']"]})
    catalog = Catalog.from_table(table)
    for element in elements:
        assert catalog.where([Condition("tags", "=", (element.strip(),))]).tolist() == [0]


@pytest.mark.parametrize("text", ['["a", ["b", null]]', "[1, 2.5]", "[]", '[{"a": 1}]', "[true]"])
def test_json_is_read_as_json_says(text):
    value = json.loads(text)
    if any(isinstance(element, dict) for element in value):
        assert literal_list(text) is None
        return
    flat = [e for v in value for e in (v if isinstance(v, list) else [v])]
    assert literal_list(text) == [
        "" if e is None else e if isinstance(e, str) else json.dumps(e) for e in flat
    ]


@pytest.mark.parametrize(
    ("column", "there", "new", "wanted"),
    [
        ("price", ["9.99", "5"], "$1.50", "a number, such as 19.99"),
        ("price", ["9.99", ""], "1,50", "a number"),
        ("price", ["9.99", "N/A"], "free", "a number"),
        ("released", ["2024-01-01", "2023-06"], "soon", "an ISO date, such as 2024-01-31"),
        ("released", ["2024-01-01", "2023-06-01"], "2023-02-30", "an ISO date"),
        ("released", ["2024-01-01", "2023"], "0012", "an ISO date"),
        ("stock", ["true", "False"], "maybe", "true or false"),
        ("sizes", ["40|41", "42"], "43|large", "a number"),
    ],
)
def test_a_value_that_spoils_a_column_is_refused(column, there, new, wanted):
    def catalog_of(ids, values):
        table = pa.table({"item_id": ids, "title": ids, column: values})
        return Catalog.from_table(table, source="new.csv")

    catalog = catalog_of(["a", "b"], there)
    with pytest.raises(DataError, match=f"item 'c'.*{wanted}") as error:
        join_items(catalog, catalog_of(["c"], [new]))
    assert column in str(error.value)
    for value in (there[0], "", "n/a"):
        assert len(join_items(catalog, catalog_of(["c"], [value])).whole) == 3
    text = catalog_of(["a", "b"], ["so", "and so"])
    assert len(join_items(text, catalog_of(["c"], [new])).whole) == 3


def test_a_new_item_may_bring_a_bare_year():
    whole = join_items(dated("a", "2024-01-01"), dated("b", "2019")).whole
    assert whole.where(["released<2020"]).tolist() == [1]


def dated(item_id, released):
    return Catalog.from_table(pa.table({"item_id": [item_id], "released": [released]}))
