"""Histories as lists, in the shapes in which pandas, NumPy, RecBole and search logs write them."""

import csv

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.errors import DataError
from genrec.data import Catalog, InteractionColumns, Interactions, LogPolicy

IDS = ["i1", "i2", "i3", "red lamp", "7", "12", "a/b"]
CATALOG = Catalog.from_table(pa.table({"item_id": IDS}))


def written(path, cells, delimiter=","):
    """A log of one row a user, as pandas writes it: quoted where need be."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(["user_id", *cells])
        rows.writerows(
            [f"u{user}", *row] for user, row in enumerate(zip(*cells.values(), strict=True))
        )
    return path


def histories(source, catalog=CATALOG, **options):
    log = Interactions.read(source, catalog=catalog, **options)
    ids = catalog.item_ids
    return [[ids[item] for item in history] for history in log.histories]


@pytest.mark.parametrize(
    "cell",
    [
        '["i1", "i2"]',
        "['i1', 'i2']",
        "['i1' 'i2']",
        "['i1'\n 'i2']",
        "[\"i1\", 'i2']",
        "('i1', 'i2')",
        "('i1', 'i2',)",
        " [ 'i1','i2' ] ",
        "i1 i2",
        "i1  i2",
        "i1\ti2",
        "i1^i2",
        "i1|i2",
        "i1, i2",
        "i1;i2",
        "i1;i2;",
        "i1 | i2",
        "i1>i2",
        "i1:i2",
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_plain_lists_are_read(tmp_path, cell, ending):
    import json

    import pyarrow.parquet as pq

    path = tmp_path / f"log{ending}"
    if ending == ".csv":
        written(path, {"item_id": [cell]})
    elif ending == ".parquet":
        pq.write_table(pa.table({"user_id": ["u0"], "item_id": [cell]}), path)
    else:
        path.write_text(json.dumps({"user_id": "u0", "item_id": cell}) + "\n")
    assert histories(path) == [["i1", "i2"]]


def test_a_tsv_of_spaces(tmp_path):
    assert histories(written(tmp_path / "log.tsv", {"item_id": ["i1 i2"]}, "\t")) == [["i1", "i2"]]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["['i1']", '["i2", "i3"]', "", "[]", "['red lamp', 'i1']"], "i1/i2 i3///red lamp,i1"),
        (["[7 12]", "[12]", "[7, 12]"], None),
    ],
)
def test_rows_may_be_written_differently(tmp_path, cells, expected):
    found = histories(written(tmp_path / "log.csv", {"item_id": cells}))
    if expected is None:
        assert found == [["7", "12"], ["12"], ["7", "12"]]
    else:
        assert found == [["i1"], ["i2", "i3"], ["red lamp", "i1"]]


def test_single_ids_stay_single():
    """An id may hold a separator; then it is an id, and so is the rest of the column."""
    assert histories(pa.table({"user_id": ["a", "a"], "item_id": ["red lamp", "i1"]})) == [
        ["red lamp", "i1"]
    ]
    assert histories(pa.table({"user_id": ["a", "a"], "item_id": ["a/b", "i1"]})) == [["a/b", "i1"]]
    bracketed = Catalog.from_table(pa.table({"item_id": ["(7)", "7", "[7]"]}))
    assert histories(pa.table({"user_id": ["a"], "item_id": ["(7)"]}), bracketed) == [["(7)"]]
    assert histories(pa.table({"user_id": ["a"], "item_id": ["[7]"]}), bracketed) == [["[7]"]]


def test_lists_and_single_items_of_one_column():
    table = pa.table({"user_id": ["a", "b", "c"], "item_id": ["i3", "i1^i2", "i2"]})
    assert histories(table) == [["i3"], ["i1", "i2"], ["i2"]]


def test_times_stand_in_the_same_lists(tmp_path):
    cells = {"item_id": ["i1 i2 i3", "i2"], "timestamp": ["30 10 20", "5"]}
    assert histories(written(tmp_path / "a.csv", cells)) == [["i2", "i3", "i1"], ["i2"]]
    cells = {"item_id": ["['i1' 'i2']"], "timestamp": ["[2 1]"]}
    assert histories(written(tmp_path / "b.csv", cells)) == [["i2", "i1"]]
    cells["timestamp"] = ["[2]"]
    with pytest.raises(DataError, match=r"row 1, column 'timestamp': the list has 1 .* items 2"):
        histories(written(tmp_path / "c.csv", cells))


@pytest.mark.parametrize("policy", [None, LogPolicy(unknown_items="drop")])
def test_a_list_with_strangers_asks_for_the_separator(policy):
    """Dropping whole lists as one unknown item would lose them in silence."""
    table = pa.table({"user_id": ["a", "b"], "item_id": ["i1^i2^gone", "i2"]})
    with pytest.raises(
        DataError, match=r"row 1, column 'item_id'.*list of items.*--history-separator '\^'"
    ):
        histories(table, policy=policy)
    options = {"columns": InteractionColumns(history_separator="^")}
    if policy is None:
        with pytest.raises(DataError, match=r"value 'gone'.*not in the catalog"):
            histories(table, **options)
    else:
        assert histories(table, policy=policy, **options) == [["i1", "i2"], ["i2"]]


@pytest.mark.parametrize("separator", ["\\", "->", ".", "~", "||"])
def test_a_separator_of_your_own(separator):
    table = pa.table({"user_id": ["a", "b"], "item_id": [f"i1{separator} i2", "i3"]})
    found = histories(table, columns=InteractionColumns(history_separator=separator))
    assert found == [["i1", "i2"], ["i3"]]


@pytest.mark.parametrize(
    "cell", ["{i1,i2}", "[i1, i2]", "['i1', \"it's\"]", r"['i1', 'i\'2']", "['i1' ... 'i2']"]
)
def test_what_is_not_plain_gets_a_hint_at_json(cell):
    with pytest.raises(DataError, match=r'write JSON: \["a", "b"\]|--separator'):
        histories(pa.table({"user_id": ["a"], "item_id": [cell]}))


names = st.text(
    st.characters(codec="utf-8", exclude_characters="'\"\\", exclude_categories=["C", "Z"]),
    min_size=1,
)


@given(st.lists(st.lists(names, min_size=1, max_size=4), min_size=1, max_size=4))
def test_what_python_prints_is_what_json_says(rows):
    """A column that pandas wrote with ``str(list)`` is read as the lists that it was."""
    catalog = Catalog.from_table(
        pa.table({"item_id": sorted({item for row in rows for item in row})})
    )
    users = [f"u{user}" for user in range(len(rows))]
    printed = pa.table({"user_id": users, "item_id": [str(row) for row in rows]})
    # An id that looks like a list itself is an id.
    if not set(printed["item_id"].to_pylist()) & set(catalog.item_ids):
        assert histories(printed, catalog) == rows
