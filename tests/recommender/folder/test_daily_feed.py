"""``genrec items update``: a recommender folder that follows a shop's daily feed."""

import csv
import json
import shutil

import pytest

from genrec import FitSettings, GenerativeRecommender, Interactions
from genrec.common.manifest import read_manifest
from genrec.data import Catalog

KINDS = ["lamp", "tent", "rope", "cup", "mat"]
COLORS = ["red", "blue", "green", "black"]


def rows():
    """Sixty products whose prices are written with two decimals."""
    return [
        [f"i{i}", f"{COLORS[i % 4]} {KINDS[i // 4 % 5]} {i}", f"{i + 1}.50", str(i % 7)]
        for i in range(60)
    ]


def write(path, lines, header=("item_id", "title", "price", "stock")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *lines])
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A recommender of these products, in a folder."""
    place = tmp_path_factory.mktemp("feed")
    catalog = Catalog.read(write(place / "items.csv", rows()))
    events = [
        [f"u{u}", f"i{(u * 7 + step) % 60}", str(step)] for u in range(40) for step in range(5)
    ]
    path = write(place / "log.csv", events, ("user_id", "item_id", "timestamp"))
    settings = FitSettings.model_validate(
        {
            "encoder": {"dimension": 16},
            "collaborative": {"dimension": 8},
            "language_model": {"compact": {"width": 16, "layers": 1, "heads": 2}},
            "training": {"max_steps": 10, "validations": 1},
            "memory": {"weight": 0.1, "text_weight": 0.2},
        }
    )
    model = GenerativeRecommender.fit(catalog, Interactions.read(path, catalog=catalog), settings)
    model.save_pretrained(place / "shop")
    return place / "shop"


@pytest.fixture
def folder(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "shop")


def opened(folder):
    return GenerativeRecommender.from_pretrained(folder, device="cpu")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shorter():
    """Tomorrow's feed: the same products, numbers written as another program writes them."""
    return [[i, title, f"{float(price):g}", f"{stock}.0"] for i, title, price, stock in rows()]


def csv_feed(path, lines):
    return write(path.with_suffix(".csv"), lines)


def json_feed(path, lines):
    """Numbers as JSON numbers."""
    path = path.with_suffix(".jsonl")
    facts = [
        {"item_id": i, "title": t, "price": float(p), "stock": int(float(s))}
        for i, t, p, s in lines
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in facts), encoding="utf-8")
    return path


def parquet_feed(path, lines):
    """Numbers as pandas writes them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids, titles, prices, stocks = zip(*lines, strict=True)
    columns = {"item_id": ids, "title": titles}
    columns |= {"price": [float(p) for p in prices], "stock": [float(s) for s in stocks]}
    pq.write_table(pa.table(columns), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def shuffled_feed(path, lines):
    """Another order of rows and columns, Windows line ends."""
    lines = [[stock, price, title, i] for i, title, price, stock in reversed(lines)]
    return write(path.with_suffix(".csv"), lines, ("stock", "price", "title", "item_id"))


FEEDS = [csv_feed, json_feed, parquet_feed, shuffled_feed]


@pytest.mark.parametrize("feed", FEEDS)
def test_numbers_written_otherwise_are_no_change(folder, command, tmp_path, feed):
    before = contents(folder)
    answer = command(
        "items", "update", folder, "--items", feed(tmp_path / "feed", shorter()), "--json"
    )
    assert answer.status == 0, answer.err
    assert (answer.json["known"], answer.json["changed"], answer.json["columns"]) == (60, 0, {})
    assert contents(folder) == before


@pytest.mark.parametrize("feed", FEEDS)
def test_a_changed_price_is_taken_over_with_codes_and_events_kept(folder, command, tmp_path, feed):
    lines = shorter()
    lines[8][2] = "0.25"
    lines.append(["new1", "red lamp new", "5", "1"])
    before = opened(folder)
    answer = command("items", "update", folder, "--items", feed(tmp_path / "feed", lines), "--json")
    assert answer.status == 0, answer.err
    told = answer.json
    assert (told["added"], told["changed"], told["columns"]) == (1, 1, {"price": 1})
    assert (told["known"], told["removed"], told["events"]) == (59, 0, 0)
    [example] = told["examples"]["changed"]
    assert (example["item_id"], float(example["before"]), float(example["after"])) == (
        "i8",
        9.5,
        0.25,
    )
    after = opened(folder)
    assert after.semantic_ids.codes[:60].tolist() == before.semantic_ids.codes.tolist()
    assert len(after.log) == len(before.log)
    found = command("recommend", folder, "--history", "i1", "--where", "price<1", "--json").json
    assert [item["item_id"] for item in found["recommendations"]] == ["i8"]
    assert read_manifest(folder)["data"]["changes"][-1]["columns"] == {"price": 1}


def test_a_feed_of_stocks_alone(folder, command, tmp_path):
    feed = write(tmp_path / "stock.csv", [["i3", "0"], ["i4", "99"]], ("item_id", "stock"))
    answer = command("items", "update", folder, "--items", feed, "--json")
    assert (answer.status, answer.json["columns"]) == (0, {"stock": 2})
    after = opened(folder)
    assert after.catalog.titles == [title for _, title, *_ in rows()]
    assert after.catalog.where(["stock>50"]).tolist() == [4]


def test_the_feed_says_what_is_gone(folder, command, tmp_path):
    feed = write(tmp_path / "feed.csv", shorter()[:50])
    kept = command("items", "update", folder, "--items", feed, "--json").json
    assert (kept["removed"], kept["items"]) == (0, 60)
    gone = command("items", "update", folder, "--items", feed, "--remove-missing", "--json").json
    assert (gone["removed"], gone["items"]) == (10, 50)
    assert gone["events"] > 0
    assert opened(folder).catalog.item_ids == [f"i{i}" for i in range(50)]


def test_a_dry_run_tells_and_writes_nothing(folder, command, tmp_path):
    lines = shorter()[:-1]
    lines[8][2], lines[9][1] = "0.25", "blue samovar"
    feed = write(tmp_path / "feed.csv", [*lines, ["n1", "red cup", "1", "1"]])
    before = contents(folder)
    words = ["items", "update", folder, "--items", feed, "--remove-missing", "--dry-run"]
    answer = command(*words)
    assert answer.status == 0, answer.err
    for line in (
        "2 items changed: title of 1, price of 1",
        "1 items added",
        "1 items removed, and",
        "60 items in the catalog",
        "changed: i8  price '9.50' becomes '0.25'",
        "changed: i9  title 'blue rope 9' becomes 'blue samovar'",
        "added: n1  red cup",
        "removed: i59  black mat 59",
    ):
        assert line in answer.out
    told = command(*words, "--json").json
    assert told["dry_run"] is True
    assert (told["added"], told["removed"], told["changed"]) == (1, 1, 2)
    assert contents(folder) == before
    refused = command(*words, "--out", tmp_path / "other")
    assert (refused.status, "--dry-run writes nothing" in refused.message) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed.csv", "shop"]


def test_changed_titles_are_found_and_recoded_where_asked(folder, command, tmp_path):
    lines = rows()
    for item in range(20):
        lines[item][1] = lines[59 - item][1]
    feed = write(tmp_path / "feed.csv", lines)
    before = opened(folder)
    kept, new = tmp_path / "kept", tmp_path / "new"
    assert command("items", "update", folder, "--items", feed, "--out", kept).status == 0
    answer = command("items", "update", folder, "--items", feed, "--out", new, "--recode", "--json")
    assert 0 < answer.json["recoded"] <= 20
    one, other = opened(kept), opened(new)
    codes = before.semantic_ids.codes
    assert (one.semantic_ids.codes == codes).all()
    assert (other.semantic_ids.codes[20:] == codes[20:]).all()
    moved = (other.semantic_ids.codes[:20] != codes[:20]).any(axis=1)
    assert moved.sum() == answer.json["recoded"]
    row = one.likeness.toarray()[0]
    assert row[59] == row.max() > before.likeness.toarray()[0, 59]
    [found] = one.recommend([[]], k=2, query="mat 59")
    assert "i0" in {item.item_id for item in found}
    assert opened(folder).catalog.titles == before.catalog.titles


def test_items_add_points_to_the_update(folder, command, tmp_path):
    lines = shorter()
    lines[8][2] = "0.25"
    feed = write(tmp_path / "feed.csv", lines)
    refused = command("items", "add", folder, "--items", feed)
    assert refused.status == 2
    assert "value 'i8': the catalog has this item already, with another price" in refused.message
    assert "genrec items update" in refused.message
    assert command("items", "update", folder, "--items", feed).status == 0
    assert command("items", "add", folder, "--items", feed).status == 0


@pytest.mark.parametrize(
    ("header", "line", "says"),
    [
        (
            ("item_id", "title", "cost"),
            ["i1", "x", "3"],
            "column 'cost': the catalog has no such column",
        ),
        (("sku", "title"), ["i1", "x"], "column 'item_id'"),
        (("item_id", "title"), ["j1", "x"], "genrec transfer"),
    ],
)
def test_what_is_no_feed_is_refused_and_nothing_written(
    folder, command, tmp_path, header, line, says
):
    before = contents(folder)
    feed = write(tmp_path / "feed.csv", [line], header)
    answer = command("items", "update", folder, "--items", feed, "--remove-missing")
    assert answer.status == 2
    assert says in answer.message
    assert contents(folder) == before
