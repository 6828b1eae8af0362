from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.errors import DataError
from genrec.data import Catalog, InteractionColumns, Interactions, LogPolicy, events
from genrec.data.reading import readers

ITEMS = ["0012", "12", "B", "C"]
# user, item, time: ties within u1, time goes back within u2, users interleaved
EVENTS = [("u2", "C", 50), ("u1", "B", 10), ("u2", "0012", 40), ("u1", "12", 10), ("u1", "C", 5)]
ROWS = [{"user_id": u, "item_id": i, "timestamp": t} for u, i, t in EVENTS]
EXPECTED = {"u2": ["0012", "C"], "u1": ["C", "B", "12"]}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.from_table(pa.table({"item_id": ITEMS}))


def as_dict(log: Interactions) -> dict[str, list[str]]:
    ids = log.catalog.item_ids
    return {u: [ids[i] for i in h] for u, h in zip(log.user_ids, log.histories, strict=True)}


def read(catalog: Catalog, policy: LogPolicy | None = None, **columns: Any) -> Interactions:
    return Interactions.read(pa.table(columns), catalog=catalog, policy=policy)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0])]
        for row in rows:
            cells = [json.dumps(v) if isinstance(v, list) else str(v) for v in row.values()]
            lines.append(",".join('"' + cell.replace('"', '""') + '"' for cell in cells))
        path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_events_become_histories_in_stable_time_order(
    tmp_path: Path, catalog: Catalog, ending: str
) -> None:
    log = Interactions.read(write(tmp_path / f"log{ending}", ROWS), catalog=catalog)
    assert as_dict(log) == EXPECTED
    assert log.user_ids == ["u2", "u1"]
    assert log.timestamps is not None
    assert log.timestamps.tolist() == [40, 50, 5, 10, 10]
    assert log.timestamps.dtype == np.int64
    assert log.histories.items.dtype == np.int32
    assert (len(log), log.report.rows, log.report.kept) == (5, 5, 5)
    assert log.timestamp_unit is None


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_one_row_a_user(tmp_path: Path, catalog: Catalog, ending: str) -> None:
    rows = [
        {"user_id": "u2", "item_id": ["C", "0012"], "timestamp": [50, 40]},
        {"user_id": "u0", "item_id": [], "timestamp": []},
        {"user_id": "u1", "item_id": ["B", "12", "C"], "timestamp": [10, 10, 5]},
    ]
    log = Interactions.read(write(tmp_path / f"log{ending}", rows), catalog=catalog)
    assert as_dict(log) == EXPECTED
    assert log.report.rows == 5
    empty = "1 of 3 users have no interaction left: they are left out"
    assert log.report.notes == ("one row a user, 3 rows", empty)
    without = [{k: v for k, v in row.items() if k != "timestamp"} for row in rows]
    log = Interactions.read(write(tmp_path / f"plain{ending}", without), catalog=catalog)
    assert as_dict(log) == {"u2": ["C", "0012"], "u1": ["B", "12", "C"]}


def test_lists_of_integers_are_ids(tmp_path: Path) -> None:
    catalog = Catalog.from_table(pa.table({"item_id": [12, 7]}))
    path = write(tmp_path / "log.jsonl", [{"user_id": 1, "item_id": [7, 12]}])
    assert as_dict(Interactions.read(path, catalog=catalog)) == {"1": ["7", "12"]}


def test_list_refusals(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(DataError, match=r"row 2, column 'timestamp': the list has 1 .* items 2"):
        read(catalog, user_id=["a", "b"], item_id=[["B"], ["B", "C"]], timestamp=[[1], [1]])
    with pytest.raises(DataError, match="must be a list as long"):
        read(catalog, user_id=["a"], item_id=[["B"]], timestamp=[1])
    with pytest.raises(DataError, match=r"row 2, column 'item_id', value 'C'.*write JSON"):
        read(catalog, user_id=["a", "b"], item_id=['["B"]', "C"])
    with pytest.raises(DataError, match=r"row 2, column 'item_id', value 'X'"):
        read(catalog, user_id=["a", "b"], item_id=[["B"], ["C", "X"]])


def test_hugging_face_dataset(catalog: Catalog) -> None:
    datasets = pytest.importorskip("datasets")
    log = Interactions.read(datasets.Dataset.from_list(ROWS), catalog=catalog)
    assert as_dict(log) == EXPECTED


def test_ids_stay_text(catalog: Catalog) -> None:
    log = read(catalog, user_id=pa.array([3, 3]), item_id=["12", "0012"])
    assert as_dict(log) == {"3": ["12", "0012"]}


def test_without_timestamps_file_order_is_time_order(catalog: Catalog) -> None:
    log = read(catalog, user_id=["a", "b", "a"], item_id=["C", "B", "12"], time=[3, 2, 1])
    assert as_dict(log) == {"a": ["C", "12"], "b": ["B"]}
    assert log.timestamps is None
    assert log.report.notes == ("no timestamps, so file order is time order; did you mean 'time'?",)


def test_columns_can_be_mapped(catalog: Catalog) -> None:
    table = pa.table({"who": ["a", "a"], "what": ["C", "B"], "at": [2, 1]})
    columns = InteractionColumns(user_id="who", item_id="what", timestamp="at")
    assert as_dict(Interactions.read(table, catalog=catalog, columns=columns)) == {"a": ["B", "C"]}
    ignored = columns.replace(timestamp=None)
    assert as_dict(Interactions.read(table, catalog=catalog, columns=ignored)) == {"a": ["C", "B"]}
    with pytest.raises(DataError, match=r"column 'When'.*found 'who', 'what', 'at'"):
        Interactions.read(table, catalog=catalog, columns=columns.replace(timestamp="When"))
    with pytest.raises(DataError, match=r"'user_id'.*'at'\. Name it with --user-id \("):
        Interactions.read(table, catalog=catalog)


DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("values", "times", "unit"),
    [
        (["3", " 1", "2 "], [3, 1, 2], None),
        (["3.0", "1", "2e0"], [3, 1, 2], None),
        ([1547589356557, 2**62, 5], [1547589356557, 2**62, 5], None),
        ([1.5, 1.25, 2.0], [1_500_000, 1_250_000, 2_000_000], None),
        (
            ["1970-01-02", "1970-01-01T00:00:01Z", "1970-01-01 00:00:00.5"],
            [DAY, 10**6, 500_000],
            "us",
        ),
        (["1970-01-02T02:00:00+02:00"] * 3, [DAY] * 3, "us"),
        ([dt.date(1970, 1, 2)] * 3, [DAY] * 3, "us"),
        ([dt.datetime(1970, 1, 2, tzinfo=dt.UTC)] * 3, [DAY] * 3, "us"),
        (pa.array([1, 2, 3], pa.timestamp("s")), [10**6, 2 * 10**6, 3 * 10**6], "us"),
    ],
)
def test_timestamps_of_any_kind(
    catalog: Catalog, values: Any, times: list[int], unit: str | None
) -> None:
    log = read(catalog, user_id=["a", "b", "c"], item_id=["B"] * 3, timestamp=values)
    assert log.timestamps is not None
    assert log.timestamps.tolist() == times
    assert log.timestamp_unit == unit


@pytest.mark.parametrize(
    "bad", ["", None, "soon", "nan", "inf", "2024-01-01", "99999999999999999999x"]
)
def test_bad_timestamp_is_refused_with_its_place(catalog: Catalog, bad: str | None) -> None:
    with pytest.raises(DataError, match=r"row 3, column 'timestamp'.*must be a number or") as error:
        read(catalog, user_id=["a"] * 4, item_id=["B"] * 4, timestamp=["1", "2", bad, "x"])
    assert error.value.row == 3
    assert error.value.value == bad


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_bad_float_timestamp_is_refused(catalog: Catalog, bad: float | None) -> None:
    with pytest.raises(DataError, match="row 2, column 'timestamp'"):
        read(catalog, user_id=["a"] * 2, item_id=["B"] * 2, timestamp=[1.0, bad])


@pytest.mark.parametrize("bad", ["2024-13-01", "5", "", "infinity"])
def test_bad_date_is_refused(catalog: Catalog, bad: str) -> None:
    with pytest.raises(DataError, match="row 2, column 'timestamp'"):
        read(catalog, user_id=["a"] * 2, item_id=["B"] * 2, timestamp=["2024-01-01", bad])


ODD_TIMES = {
    "struct": pa.array([{"date": 1}]),
    "list": pa.array([[1, 2]]),
    "map": pa.array([[("date", 1)]], pa.map_(pa.string(), pa.int64())),
    "nothing": pa.nulls(1),
}


@pytest.mark.parametrize("kind", list(ODD_TIMES))
@pytest.mark.parametrize("column", ["timestamp", "rating"])
def test_a_number_of_another_type_is_refused(catalog: Catalog, kind: str, column: str) -> None:
    log = pa.table({"user_id": ["u"], "item_id": catalog.item_ids[:1], column: ODD_TIMES[kind]})
    message = rf"pyarrow\.Table, row 1, column '{column}'.*the {column} must be a number"
    with pytest.raises(DataError, match=message):
        Interactions.read(
            log, catalog=catalog, policy=LogPolicy(min_rating=0 if column == "rating" else None)
        )


@pytest.mark.parametrize("kind", ["struct", "list", "map"])
def test_an_event_that_is_no_word_is_refused(catalog: Catalog, kind: str) -> None:
    log = pa.table({"user_id": ["u"], "item_id": catalog.item_ids[:1], "event": ODD_TIMES[kind]})
    with pytest.raises(DataError, match="column 'event': expected words, found type"):
        Interactions.read(log, catalog=catalog, policy=LogPolicy(events=("buy",)))


@pytest.mark.parametrize("kind", ["string_view", "dictionary", "run-end-encoded"])
def test_times_of_odd_layout(catalog: Catalog, kind: str) -> None:
    import pyarrow.compute as pc

    times = pa.array(["2024-01-02", "2024-01-01"])
    laid_out = {
        "string_view": lambda: times.cast(pa.string_view()),
        "dictionary": times.dictionary_encode,
        "run-end-encoded": lambda: pc.run_end_encode(times),
    }[kind]()
    log = pa.table({"user_id": ["u", "u"], "item_id": catalog.item_ids[:2], "timestamp": laid_out})
    assert Interactions.read(log, catalog=catalog).histories.items.tolist() == [1, 0]


def test_unknown_items(catalog: Catalog) -> None:
    columns = {"user_id": ["a", "b", "a", "c"], "item_id": ["B", "X", "0013", "X"]}
    with pytest.raises(DataError, match=r"3 of 4 interactions.*--unknown-items drop") as error:
        read(catalog, **columns)
    assert (error.value.row, error.value.column, error.value.value) == (2, "item_id", "X")
    with pytest.raises(DataError, match="similar ids: '0012'"):
        read(catalog, user_id=["a"], item_id=["0013"])
    log = read(catalog, LogPolicy(unknown_items="drop"), **columns)
    assert as_dict(log) == {"a": ["B"]}
    assert log.report.dropped == {"unknown item": 3}
    assert log.report.rows == log.report.kept + 3


def test_dropped_rows_need_no_timestamp(catalog: Catalog) -> None:
    policy = LogPolicy(unknown_items="drop")
    log = read(catalog, policy, user_id=["a", "a"], item_id=["X", "B"], timestamp=["", "1"])
    assert as_dict(log) == {"a": ["B"]}


@pytest.mark.parametrize("column", ["user_id", "item_id"])
@pytest.mark.parametrize("blank", ["", " ", None])
def test_empty_ids_are_refused(catalog: Catalog, column: str, blank: str | None) -> None:
    columns = {"user_id": ["a", "a"], "item_id": ["B", "B"]} | {column: ["B", blank]}
    with pytest.raises(DataError, match=f"row 2, column '{column}'.*empty"):
        read(catalog, **columns)


@pytest.mark.parametrize(
    ("repeats", "expected", "dropped"),
    [
        ("keep", {"a": ["B", "B", "C", "B"], "b": ["B"]}, {}),
        ("collapse_consecutive", {"a": ["B", "C", "B"], "b": ["B"]}, {"repeated item": 1}),
        ("keep_first", {"a": ["B", "C"], "b": ["B"]}, {"repeated item": 2}),
    ],
)
def test_repeats(
    catalog: Catalog, repeats: Any, expected: dict[str, list[str]], dropped: dict[str, int]
) -> None:
    users, items = ["a", "a", "a", "a", "b"], ["B", "B", "C", "B", "B"]
    log = read(catalog, LogPolicy(repeats=repeats), user_id=users, item_id=items)
    assert as_dict(log) == expected
    assert log.report.dropped == dropped


def test_ratings(catalog: Catalog) -> None:
    columns = {"user_id": ["a"] * 3, "item_id": ["B", "C", "12"], "rating": ["4", "3.5", "5"]}
    log = read(catalog, LogPolicy(min_rating=4), **columns)
    assert as_dict(log) == {"a": ["B", "12"]}
    assert log.report.dropped == {"rating below 4": 1}
    columns["rating"][1] = ""
    assert len(read(catalog, **columns)) == 3
    with pytest.raises(DataError, match=r"row 2, column 'rating'.*must be a number"):
        read(catalog, LogPolicy(min_rating=4), **columns)
    with pytest.raises(DataError, match="column 'rating'"):
        read(catalog, LogPolicy(min_rating=4), user_id=["a"], item_id=["B"])


def test_events(catalog: Catalog) -> None:
    columns = {"user_id": ["a"] * 3, "item_id": ["B", "C", "12"], "event": ["view", "buy", None]}
    log = read(catalog, LogPolicy(events=("buy",)), **columns)
    assert as_dict(log) == {"a": ["C"]}
    assert log.report.dropped == {"other event": 2}


def test_nothing_left_says_why(catalog: Catalog) -> None:
    policy = LogPolicy(unknown_items="drop", min_rating=3)
    with pytest.raises(DataError, match=r"no interactions are left: 2 read, 1 dropped \(rating"):
        read(catalog, policy, user_id=["a", "b"], item_id=["X", "B"], rating=[5, 1])


def test_header_only_log(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\n")
    with pytest.raises(DataError, match="no interactions are left: 0 read"):
        Interactions.read(tmp_path / "log.csv", catalog=catalog)


def test_ragged_log_names_the_row(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\na,B,1\na,B\n")
    with pytest.raises(DataError, match=r"row 2.*2 fields, the header 3"):
        Interactions.read(tmp_path / "log.csv", catalog=catalog)


def test_batches_do_not_change_the_result(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 50, 3000), rng.integers(0, 4, 3000)
    table = pa.table(
        {
            "user_id": [f"u{u}" for u in users],
            "item_id": [ITEMS[i] for i in items],
            "timestamp": rng.integers(0, 9, 3000),
        }
    )
    whole = Interactions.read(table, catalog=catalog)
    monkeypatch.setattr(events, "MIN_BATCH_ROWS", 100)
    monkeypatch.setattr(readers, "BATCH_ROWS", 70)
    parts = Interactions.read(table, catalog=catalog)
    assert parts.user_ids == whole.user_ids
    np.testing.assert_array_equal(parts.histories.items, whole.histories.items)
    np.testing.assert_array_equal(parts.histories.offsets, whole.histories.offsets)
    bad = table.set_column(1, "item_id", pa.array(["B"] * 2500 + [""] * 500))
    with pytest.raises(DataError, match="row 2501,"):
        Interactions.read(bad, catalog=catalog)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(ITEMS), st.integers(-3, 3)), min_size=1)
)
def test_order_equals_a_stable_sort_by_user(events: list[tuple[int, str, int]]) -> None:
    catalog = Catalog.from_table(pa.table({"item_id": ITEMS}))
    columns = [list(column) for column in zip(*events, strict=True)]
    names = ("user_id", "item_id", "timestamp")
    log = read(catalog, **dict(zip(names, columns, strict=True)))
    expected: dict[str, list[str]] = {}
    for user, _, _ in events:
        expected.setdefault(str(user), [])
    for user, item, _ in sorted(events, key=lambda event: event[2]):
        expected[str(user)].append(item)
    assert as_dict(log) == expected
    assert list(as_dict(log)) == list(expected)


KINDS = {str: pa.string(), int: pa.uint64(), float: pa.float64()}


@pytest.mark.parametrize("time", ["99999999999999999999", "1e20", 2**64 - 1, -1e19])
def test_a_time_past_64_bits_is_refused(catalog: Catalog, time: Any) -> None:
    """Once it came out as the smallest number, and shrank the others until they were equal."""
    times = pa.array([type(time)(1700000003), type(time)(1700000001), time], KINDS[type(time)])
    says = r"row 3, column 'timestamp', value '-?[\d.e+]+': the time is 2\*\*63 or more"
    with pytest.raises(DataError, match=says):
        read(catalog, user_id=["u", "u", "v"], item_id=["B", "C", "B"], timestamp=times)


def test_fractions_beside_large_times_keep_the_order(catalog: Catalog) -> None:
    times = [9.0e18, 1.5, 9.1e18]
    log = read(catalog, user_id=["u", "u", "u"], item_id=["B", "C", "12"], timestamp=times)
    assert log.timestamps is not None
    assert log.timestamps.tolist() == [2, int(9.0e18), int(9.1e18)]
    assert log.histories.items.tolist() == [catalog.item_ids.index(i) for i in ("C", "B", "12")]
