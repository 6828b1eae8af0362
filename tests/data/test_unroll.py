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
    table = pa.table({"user_id": ["a", "b", "c", "d"], "item_id": ["i3", "i1^i2", "i2", "i1^i3"]})
    assert histories(table) == [["i3"], ["i1", "i2"], ["i2"], ["i1", "i3"]]
    log = Interactions.read(table, catalog=CATALOG)
    assert "items split at '^'; --history-separator no if they are single ids" in log.report.notes


SHOP = Catalog.from_table(pa.table({"item_id": ["coffee", "tea", "milk"]}))
BUNDLES = {"user_id": ["u", "u", "v"], "item_id": ["coffee", "coffee/tea", "milk"]}
DROP = LogPolicy(unknown_items="drop")


def separated(separator):
    return InteractionColumns(history_separator=separator)


def test_a_stranger_among_single_ids_is_no_list():
    """What is ambiguous is one id: refused, or dropped with a note, until somebody says that it is a list."""
    table = pa.table(BUNDLES)
    hint = r"'coffee/tea' is known items with '/' between them.*--history-separator '/'"
    with pytest.raises(DataError, match=rf"row 2, column 'item_id', value 'coffee/tea'.*{hint}"):
        histories(table, SHOP)
    assert histories(table, SHOP, policy=DROP) == [["coffee"], ["milk"]]
    log = Interactions.read(table, catalog=SHOP, policy=DROP)
    assert log.report.dropped == {"unknown item": 1}
    assert any("--history-separator '/'" in note for note in log.report.notes)
    found = histories(table, SHOP, columns=separated("/"))
    assert found == [["coffee", "coffee", "tea"], ["milk"]]


def test_beside_one_time_the_hint_names_both_options():
    table = pa.table({**BUNDLES, "timestamp": [3, 2, 1]})
    with pytest.raises(DataError, match=r"--history-separator '/'.*one time.*--timestamp ''"):
        histories(table, SHOP)
    said = InteractionColumns(history_separator="/", timestamp="")
    assert histories(table, SHOP, columns=said) == [["coffee", "coffee", "tea"], ["milk"]]


def test_nobody_guesses_a_list_beside_one_time_a_row():
    columns = {"user_id": ["u", "v"], "item_id": ["coffee/tea", "tea/milk"], "timestamp": [1, 2]}
    with pytest.raises(DataError, match=r"beside one time a row.*--history-separator no"):
        histories(pa.table(columns), SHOP)
    with pytest.raises(DataError, match="value 'coffee/tea': the item is not in the catalog"):
        histories(pa.table(columns), SHOP, columns=separated("no"))
    said = InteractionColumns(history_separator="/", timestamp="")
    assert histories(pa.table(columns), SHOP, columns=said) == [["coffee", "tea"], ["tea", "milk"]]


def test_no_is_never_a_list_by_separator():
    table = pa.table({"user_id": ["u", "v"], "item_id": ["coffee/tea", "milk"]})
    assert histories(table, SHOP) == [["coffee", "tea"], ["milk"]]
    with pytest.raises(DataError, match="value 'coffee/tea': the item is not") as refused:
        histories(table, SHOP, columns=separated("no"))
    assert "--history-separator" not in str(refused.value)
    assert histories(table, SHOP, columns=separated("no"), policy=DROP) == [["milk"]]
    brackets = pa.table({"user_id": ["u"], "item_id": ['["coffee", "tea"]']})
    assert histories(brackets, SHOP, columns=separated("no")) == [["coffee", "tea"]]


@pytest.mark.parametrize("many", [["tea"] * 1500, ["tea/milk"] * 1500])
def test_what_comes_late_is_told(many):
    """A list after the values that decide, and a stranger where these were lists."""
    late = ["coffee/tea"] if many[0] == "tea" else ["coffee/gone"]
    items = many + late
    table = pa.table({"user_id": [f"u{row}" for row in range(len(items))], "item_id": items})
    with pytest.raises(DataError, match=r"row 1501.*--history-separator ('/'|no)") as refused:
        histories(table, SHOP)
    told = "items split at '/'" if many[0] != "tea" else "'coffee/tea' is known items"
    assert told in str(refused.value)
    if many[0] == "tea":
        assert histories(table, SHOP, columns=separated("/"))[-1] == ["coffee", "tea"]


def test_no_hint_that_would_break_known_ids():
    table = pa.table({"user_id": ["a", "a", "b"], "item_id": ["a/b", "i3", "i1/i2"]})
    with pytest.raises(DataError, match="value 'i1/i2': the item is not") as refused:
        histories(table)
    assert "--history-separator" not in str(refused.value)


@pytest.mark.parametrize(
    ("between", "hinted"),
    [("->", "->"), ("::", "::"), (" - ", "-"), (" → ", "→"), ("__", "__"), (" => ", "=>")],
)
@pytest.mark.parametrize("single", [0, 3])
def test_a_hint_works_when_followed(between, hinted, single):
    items = ["i3"] * single + [f"i1{between}i2{between}i3"]
    table = pa.table({"user_id": [f"u{row}" for row in range(len(items))], "item_id": items})
    with pytest.raises(DataError, match=f"--history-separator '{hinted}'"):
        histories(table)
    found = histories(table, columns=separated(hinted))
    assert found == [["i3"]] * single + [["i1", "i2", "i3"]]


@pytest.mark.parametrize(
    ("word", "between"),
    [("tab", "\t"), ("comma", ","), ("semicolon", ";"), ("pipe", "|"), ("space", " ")],
)
def test_words_for_separators(word, between):
    table = pa.table({"user_id": ["a"], "item_id": [f"i1{between}i2"]})
    assert histories(table, columns=separated(word)) == [["i1", "i2"]]


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        ({"item_id": ["", "i1 i2"], "timestamp": ["11/15/2019 9:55:12 AM"] * 2}, "space"),
        ({"item_id": ["i1 i2", ""], "timestamp": ["2024-05-01 10:00", "2024-05-01 10:00"]}, " "),
        ({"item_id": ["i1 i2"], "timestamp": ["17"]}, " "),
        ({"item_id": ['["i1", "i2"]', "[]"], "timestamp": ["17", "18"]}, None),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_one_time_cannot_order_a_list(tmp_path, cells, separator, ending):
    import pyarrow.parquet as pq

    path = tmp_path / f"log{ending}"
    if ending == ".csv":
        written(path, cells)
    else:
        users = [f"u{user}" for user in range(len(cells["item_id"]))]
        pq.write_table(pa.table({"user_id": users, **cells}), path)
    columns = separated(separator)
    match = r"column 'timestamp', value '.*one time a row cannot order.*--timestamp ''"
    with pytest.raises(DataError, match=match):
        histories(path, columns=columns)
    for timeless in ("", None):
        said = InteractionColumns(history_separator=separator, timestamp=timeless)
        log = Interactions.read(path, catalog=CATALOG, columns=said)
        assert len(log) == 2
        assert "no timestamps, so file order is time order" in log.report.notes


@pytest.mark.parametrize(
    "cell", ["[7.0,12.0]", "[7.0, 12.0]", "[ 7. 12.]", "[7. 12.]", "(7, 12.0)"]
)
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_lists_of_floats_are_whole_numbers(tmp_path, cell, ending):
    import json

    import pyarrow.parquet as pq

    path = tmp_path / f"log{ending}"
    if ending == ".csv":
        written(path, {"item_id": [cell]})
    elif ending == ".jsonl":
        path.write_text(json.dumps({"user_id": "u", "item_id": [7.0, 12.0]}) + "\n")
    else:
        pq.write_table(pa.table({"user_id": ["u"], "item_id": [[7.0, 12.0]]}), path)
    assert histories(path) == [["7", "12"]]


@pytest.mark.parametrize("items", [["1.0", "2.1"], ["1", "2", "0", "2.0"]])
def test_a_float_is_no_list(items):
    numbers = Catalog.from_table(pa.table({"item_id": ["0", "1", "2"]}))
    table = pa.table({"user_id": ["u"] * len(items), "item_id": items})
    with pytest.raises(DataError, match="the item is not in the catalog") as refused:
        histories(table, numbers)
    assert "--history-separator" not in str(refused.value)


def test_ids_that_are_spelled_as_floats_stay_so():
    floats = Catalog.from_table(pa.table({"item_id": ["1.0", "2.0", "1.5"]}))
    table = pa.table({"user_id": ["u"], "item_id": ["[1.0, 1.5, 2.0]"]})
    assert histories(table, floats) == [["1.0", "1.5", "2.0"]]
    with pytest.raises(DataError, match=r"value '7.0'"):
        histories(pa.table({"user_id": ["u"], "item_id": ['["7.0"]']}))


def test_missing_entries_are_no_items(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"user_id":"u","item_id":["i1",null]}\n{"user_id":"v","item_id":[7.0,null]}\n')
    with pytest.raises(DataError, match=r"row 1, .*the id is empty.*--unknown-items drop"):
        histories(path)
    assert histories(path, policy=DROP) == [["i1"], ["7"]]
    assert Interactions.read(path, catalog=CATALOG, policy=DROP).report.dropped == {"no item": 2}


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
