"""Recommendations for many users: every format equals one by one, and a killed run goes on."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from genrec import Histories, InputError, Interactions
from genrec.recommender.request import Request
from genrec.serving import user_files as batch
from genrec.serving.user_files import recommend_file

USERS = 25


@pytest.fixture
def log(shop):
    """The first customers of the shop."""
    return Interactions.of_histories(shop.catalog, shop.log.histories.take(range(USERS)))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Seven users a part: four parts, the last one short."""
    monkeypatch.setattr(batch, "PART_USERS", 7)


@pytest.fixture
def calls(monkeypatch):
    """How many users each call of the recommender is asked for."""
    asked = []
    original = batch.recommend

    def counted(recommender, histories, request):
        asked.append(len(histories))
        return original(recommender, histories, request)

    monkeypatch.setattr(batch, "recommend", counted)
    return asked


def read(path):
    """The file as {user: [(item, title, score), …]}, ranks checked."""
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {
            line["user_id"]: [
                (item["item_id"], item["title"], item["score"]) for item in line["recommendations"]
            ]
            for line in lines
        }
    reader = pa.parquet.read_table if path.suffix == ".parquet" else pa.csv.read_csv
    users = {}
    for row in reader(path).to_pylist():
        items = users.setdefault(str(row["user_id"]), [])
        items.append((row["item_id"], row["title"], row["score"]))
        assert row["rank"] == len(items)
    return users


def histories_of(log):
    ids = log.catalog.item_ids
    return [[ids[item] for item in history] for history in log.histories]


def one_by_one(recommender, log, **options):
    histories = histories_of(log)
    return {
        user: [
            (item.item_id, item.title, item.score)
            for item in recommender.recommend([h], **options)[0]
        ]
        for user, h in zip(log.user_ids, histories, strict=True)
    }


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_a_file_equals_one_by_one(recommender, log, tmp_path, ending, assert_alike):
    target = tmp_path / f"out{ending}"
    recommend_file(recommender, log, target, Request(k=4))
    found, expected = read(target), one_by_one(recommender, log, k=4)
    assert list(found) == list(expected)
    for user, items in expected.items():
        assert_alike(*([(item[:2], item[2]) for item in row] for row in (found[user], items)))
    assert list(tmp_path.iterdir()) == [target]


def test_columns_and_types_are_as_documented(recommender, log, tmp_path):
    recommend_file(recommender, log, tmp_path / "out.parquet", Request(k=2))
    schema = pa.parquet.read_schema(tmp_path / "out.parquet")
    assert schema.names == ["user_id", "rank", "item_id", "title", "score", "basis"]
    kinds = ["string", "int32", "string", "string", "float", "string"]
    assert [str(kind) for kind in schema.types] == kinds


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_reasons_are_lists_and_in_csv_json(recommender, log, tmp_path, ending):
    target = tmp_path / f"out{ending}"
    recommend_file(recommender, log, target, Request(k=3, explain=2))
    if ending == ".jsonl":
        users = [json.loads(line) for line in target.read_text().splitlines()]
        found = [item["reasons"] for user in users for item in user["recommendations"]]
    elif ending == ".csv":
        found = [json.loads(words) for words in pa.csv.read_csv(target)["reasons"].to_pylist()]
    else:
        found = pa.parquet.read_table(target)["reasons"].to_pylist()
    rows = recommender.recommend(histories_of(log), k=3, explain=2)
    expected = [item.reasons for row in rows for item in row]
    assert sum(map(len, expected)) > len(expected)
    for reasons, others in zip(found, expected, strict=True):
        assert [r["item_id"] for r in reasons] == [r.item_id for r in others]
        assert [r["title"] for r in reasons] == [r.title for r in others]
        changes = [r["score_change"] for r in reasons], [r.score_change for r in others]
        assert changes[0] == pytest.approx(changes[1], abs=1e-4)


def test_one_query_for_all_equals_one_by_one(recommender, log, tmp_path, assert_alike):
    target, query = tmp_path / "out.parquet", "tent"
    recommend_file(recommender, log, target, Request(k=4, query=query))
    found, expected = read(target), one_by_one(recommender, log, k=4, query=query)
    assert found != one_by_one(recommender, log, k=4)
    for user, items in expected.items():
        assert_alike(*([(item[:2], item[2]) for item in row] for row in (found[user], items)))
    bases = pa.parquet.read_table(target)["basis"].to_pylist()
    assert set(bases) <= {"model", "model and query", "query and popularity", "popularity"}
    assert bases[0] == recommender.recommend([histories_of(log)[0]], query=query)[0][0].basis


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_users_for_whom_nothing_is_left(recommender, log, shop, tmp_path, ending, caplog):
    """Only one item is in stock, and some users have it: they get an empty list, or no rows."""
    ids = shop.catalog.item_ids
    stock = ids[log.histories.items[0]]
    target = tmp_path / f"out{ending}"
    recommend_file(recommender, log, target, Request(allow=[stock]))
    without = {
        user
        for user, history in zip(log.user_ids, log.histories, strict=True)
        if stock in [ids[item] for item in history]
    }
    assert without
    found = read(target)
    for user in log.user_ids:
        expected = [] if user in without else [stock]
        assert [item[0] for item in found.get(user, [])] == expected
    if ending == ".jsonl":
        assert list(found) == log.user_ids
    assert f"{len(without)} of {USERS} users got no recommendation" in caplog.text


@pytest.mark.parametrize(
    ("rows", "empty"),
    [
        ("u1,P0003\nu2,gone\nu3,P0003\nu3,gone\n", {"u2"}),
        ("u1,gone\nu2,gone\nu3,gone\n", {"u1", "u2", "u3"}),
        ("u2,\nu1,P0003\nu3,P0004\n", {"u2"}),
        ('u3,"[""P0003"", ""gone""]"\nu2,[]\nu1,"[""gone""]"\n', {"u1", "u2"}),
        ("u1,P0003 P0004\nu2,\nu3,P0001\n", {"u2"}),
    ],
    ids=["unknown items", "nobody known", "no item", "empty lists", "no list"],
)
@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_every_user_of_a_file_gets_a_row(
    command, recommender_folder, recommender, tmp_path, caplog, rows, empty, ending
):
    """Of whom nothing is known, who gets what a history of nothing gets."""
    users, target = tmp_path / "users.csv", tmp_path / f"out{ending}"
    users.write_text("user_id,item_id\n" + rows)
    asked = ["recommend", recommender_folder, "--input", users, "--unknown-items", "drop", "-k", 2]
    done = command(*asked, "--output", target)
    assert done.status == 0, done.message
    found = read(target)
    assert sorted(found) == ["u1", "u2", "u3"]
    assert all(len(items) == 2 for items in found.values())
    [of_nothing] = recommender.recommend([[]], k=2)
    for user in empty:
        assert [item[0] for item in found[user]] == [item.item_id for item in of_nothing]
    assert (
        f"{len(empty)} of 3 users have no interaction left: their histories are empty"
        in caplog.text
    )
    printed = command(*asked, "--json").json
    assert sorted(row["user_id"] for row in printed) == ["u1", "u2", "u3"]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_nothing_left_for_anybody_is_still_a_table(recommender, log, tmp_path, ending):
    target = tmp_path / f"out{ending}"
    recommend_file(recommender, log, target, Request(allow=[]))
    assert not any(read(target).values())
    if ending == ".parquet":
        assert str(pa.parquet.read_schema(target).field("item_id").type) == "string"


def interrupted(recommender, log, target, request, monkeypatch):
    """Run until the last part is to be made, and fail there."""
    original = batch.recommend

    def fails_on_the_last(recommender, histories, request):
        if len(histories) < 7:
            raise KeyboardInterrupt
        return original(recommender, histories, request)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "recommend", fails_on_the_last)
        with pytest.raises(KeyboardInterrupt):
            recommend_file(recommender, log, target, request)
    assert not target.exists()
    return target.with_name(f"{target.name}.partial")


def test_an_interrupted_run_makes_only_what_is_missing(
    recommender, log, tmp_path, monkeypatch, calls
):
    whole, target = tmp_path / "whole.csv", tmp_path / "out.csv"
    recommend_file(recommender, log, whole, Request(k=3))
    parts = interrupted(recommender, log, target, Request(k=3), monkeypatch)
    assert len(list(parts.glob("*.parquet"))) == 3
    (parts / "000001.parquet").unlink()
    calls.clear()
    recommend_file(recommender, log, target, Request(k=3))
    assert calls == [7, 4]
    assert target.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_parts_of_anything_else_are_not_used(recommender, log, shop, tmp_path, monkeypatch, calls):
    other_log = Interactions.of_histories(
        shop.catalog, shop.log.histories.take(range(9, 9 + USERS))
    )
    turned = Histories(log.histories.items[::-1].copy(), log.histories.offsets)
    same_lengths = Interactions.of_histories(shop.catalog, turned)
    trained_longer = replace(recommender, metrics=recommender.metrics | {"seconds": {}})
    for name, model, users, request in (
        ("k", recommender, log, Request(k=4)),
        ("filter", recommender, log, Request(k=3, exclude_seen=False)),
        ("log", recommender, other_log, Request(k=3)),
        ("items", recommender, same_lengths, Request(k=3)),
        ("beams", recommender.alone().with_beams(11), log, Request(k=3)),
        ("weights", trained_longer, log, Request(k=3)),
    ):
        target = tmp_path / f"{name}.csv"
        interrupted(recommender, log, target, Request(k=3), monkeypatch)
        calls.clear()
        recommend_file(model, users, target, request)
        assert calls == [7, 7, 7, 4], name


def test_a_finished_file_is_not_touched(recommender, log, tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("mine")
    with pytest.raises(InputError, match=r"out\.csv exists already: choose another --output"):
        recommend_file(recommender, log, target, Request())
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]
