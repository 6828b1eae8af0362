"""Rows of a log that lack something: each is refused, or dropped and counted; no user vanishes unnoticed."""

import pyarrow as pa
import pytest

from genrec.common.errors import DataError
from genrec.data import Catalog, Interactions, LogPolicy

CATALOG = Catalog.from_table(pa.table({"item_id": ["A", "B", "C"]}))


def read(policy=None, **columns):
    return Interactions.read(pa.table(columns), catalog=CATALOG, policy=policy)


def as_dict(log):
    ids = CATALOG.item_ids
    return {u: [ids[i] for i in h] for u, h in zip(log.user_ids, log.histories, strict=True)}


@pytest.mark.parametrize(
    "users",
    [
        ["", "u", "u", "v"],
        [None, "u", "u", "v"],
        ["  ", "u", "u", "v"],
        pa.array([None, 17850, 17850, 3]),
        pa.array([float("nan"), 17850.0, 17850.0, 3.0]),
        pa.array([None, "u", "u", "v"]).dictionary_encode(),
    ],
    ids=["empty", "null", "blank", "integers", "floats of pandas", "categories"],
)
def test_rows_without_a_user_are_dropped_only_when_asked(users):
    columns = {"user_id": users, "item_id": ["A", "A", "B", "C"], "timestamp": [1, 2, 3, 4]}
    with pytest.raises(
        DataError, match=r"row 1, column 'user_id'.*the id is empty.*--missing-users drop"
    ):
        read(**columns)
    log = read(LogPolicy(missing_users="drop"), **columns)
    assert list(as_dict(log).values()) == [["A", "B"], ["C"]]
    assert log.report.dropped == {"no user": 1}
    assert log.report.rows == 4
    assert not log.report.notes


def test_how_many_lack_a_user_is_told():
    with pytest.raises(DataError, match=r"row 2.*\(2 of 3 interactions have none\)"):
        read(user_id=["u", None, ""], item_id=["A", "B", "C"])


def test_a_row_of_nothing_needs_a_user_too():
    with pytest.raises(DataError, match="row 1, column 'user_id'"):
        read(user_id=[None, "u"], item_id=[[], ["C"]])


def test_lists_without_a_user():
    policy = LogPolicy(missing_users="drop")
    log = read(policy, user_id=[None, "u"], item_id=[["A", "B"], ["C"]])
    assert as_dict(log) == {"u": ["C"]}
    assert log.report.dropped == {"no user": 2}


USERS = {"user_id": ["z", "a", "z", "b", "a"], "item_id": ["gone", "B", "gone", "gone", "C"]}


def test_users_of_whom_nothing_is_left_are_counted():
    log = read(LogPolicy(unknown_items="drop"), **USERS)
    assert as_dict(log) == {"a": ["B", "C"]}
    assert "2 of 3 users have no interaction left: they are left out" in log.report.notes


def test_or_kept_with_an_empty_history():
    log = read(LogPolicy(unknown_items="drop", empty_users="keep"), **USERS)
    assert as_dict(log) == {"z": [], "a": ["B", "C"], "b": []}
    assert "2 of 3 users have no interaction left: their histories are empty" in log.report.notes


@pytest.mark.parametrize("item", ["", None])
def test_a_user_without_an_item_is_a_user(item):
    """As an outer join of customers and orders leaves them."""
    columns = {"user_id": ["a", "b"], "item_id": ["B", item], "timestamp": ["1", ""]}
    log = read(LogPolicy(empty_users="keep"), **columns)
    assert as_dict(log) == {"a": ["B"], "b": []}
    assert log.report.dropped == {"no item": 1}
    with pytest.raises(DataError, match=r"row 2, column 'item_id'.*empty"):
        read(**columns)


def test_nobody_with_a_known_item():
    columns = {"user_id": ["a", "b"], "item_id": ["gone", "gone"], "timestamp": [1, 2]}
    log = read(LogPolicy(unknown_items="drop", empty_users="keep", repeats="keep_first"), **columns)
    assert as_dict(log) == {"a": [], "b": []}


def test_empty_lists_are_users_too():
    lists = pa.array([["A"], [], None], pa.list_(pa.string()))
    log = read(LogPolicy(empty_users="keep"), user_id=["a", "b", "c"], item_id=lists)
    assert as_dict(log) == {"a": ["A"], "b": [], "c": []}


def test_users_stand_in_order_of_their_first_event_that_counts():
    columns = {"user_id": ["z", "a", "z"], "item_id": ["gone", "B", "C"]}
    assert as_dict(read(LogPolicy(unknown_items="drop"), **columns)) == {"a": ["B"], "z": ["C"]}
    assert read(LogPolicy(unknown_items="drop"), **columns).user_ids == ["a", "z"]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_parts_of_a_file_do_not_change_that(monkeypatch, batch):
    from genrec.data import events
    from genrec.data.reading import readers

    monkeypatch.setattr(readers, "BATCH_ROWS", batch)
    monkeypatch.setattr(events, "MIN_BATCH_ROWS", batch)
    monkeypatch.setattr(events.Catalog, "__len__", lambda self: 1)
    log = read(LogPolicy(unknown_items="drop", empty_users="keep"), **USERS)
    assert as_dict(log) == {"z": [], "a": ["B", "C"], "b": []}


@pytest.mark.parametrize("wanted", ["purchas", "Purchase", "purchase "])
def test_an_event_that_never_comes_is_refused(wanted):
    columns = {"user_id": ["a", "b"], "item_id": ["A", "B"], "event": ["purchase", "view"]}
    with pytest.raises(DataError, match=r"found 'purchase', 'view'.*--event"):
        read(LogPolicy(events=("view", wanted)), **columns)


@pytest.mark.parametrize("blank", ["", " ", None])
def test_rows_without_an_item_are_dropped_when_asked(blank):
    columns = {"user_id": ["u", "u", "v"], "item_id": [blank, "A", blank]}
    with pytest.raises(
        DataError, match=r"row 1, column 'item_id'.*\(2 of 3 .*none\).*--unknown-items drop"
    ):
        read(**columns)
    log = read(LogPolicy(unknown_items="drop"), **columns)
    assert as_dict(log) == {"u": ["A"]}
    assert log.report.dropped == {"no item": 2}
    assert log.report.rows == 3


@pytest.mark.parametrize("word", ["nan", "None", "null", "NULL", "NA", "<NA>", r"\N"])
def test_words_for_no_user_are_named(word):
    columns = {"user_id": [word, "u", word, "v"], "item_id": ["A", "B", "C", "A"]}
    told = f"2 rows have the user '{word}': if that means none, drop them before"
    assert told in read(**columns).report.notes
    columns["user_id"][2] = "w"  # one row may be anybody's
    assert not any("if that means none" in note for note in read(**columns).report.notes)
