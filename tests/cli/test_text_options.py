"""Options that say how text files are written: every command that reads a table takes them."""

import csv
import json

import pytest

from genrec import GenerativeRecommender

TEXT = ("--separator", "::", "--encoding", "latin-1")
ITEM_COLUMNS = ("--item-columns", "item_id,title,_")
LOG_COLUMNS = ("--log-columns", "user_id,item_id,_,timestamp")


@pytest.fixture(scope="module")
def films(tmp_path_factory, shop_files):
    """The shop as MovieLens 1M is written: two colons between fields, no header, Latin 1."""
    folder = tmp_path_factory.mktemp("films")
    items, log = shop_files
    with items.open(newline="") as file:
        rows = [f"{row['item_id']}::Caf\xe9 {row['title']}::x" for row in csv.DictReader(file)]
    (folder / "movies.dat").write_bytes("\n".join(rows).encode("latin-1"))
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [f"{row['user_id']}::{row['item_id']}::5::{row['timestamp']}" for row in rows]
    (folder / "ratings.dat").write_bytes("\n".join(lines).encode())
    (folder / "new.dat").write_bytes('N1::Th\xe9 "vert"::x\n'.encode("latin-1"))
    return folder, len(rows)


def test_fit_transfer_and_a_living_catalog_read_them(
    films, tmp_path, command, quick_settings, caplog
):
    folder, events = films
    files = ("--items", folder / "movies.dat", "--interactions", folder / "ratings.dat")
    config = tmp_path / "quick.yaml"
    config.write_text(json.dumps(quick_settings))
    out = ("--out", tmp_path / "films", "--config", config, "training.max_steps=5")
    with caplog.at_level("INFO", "genrec"):
        answer = command("fit", *files, *out, *TEXT, *ITEM_COLUMNS, *LOG_COLUMNS)
    assert answer.status == 0, answer.err
    assert "120 of 120 rows read, 120 kept" in caplog.text
    assert f"{events:,} of {events:,} rows read" in caplog.text
    model = GenerativeRecommender.from_pretrained(tmp_path / "films")
    assert model.catalog.titles[0].startswith("Café ")
    assert len(model.log) == events

    add = ("items", "add", tmp_path / "films", "--items", folder / "new.dat")
    answer = command(*add, *TEXT, "--item-columns", "item_id,title,_", "--quoting", "none")
    assert answer.status == 0, answer.err
    model = GenerativeRecommender.from_pretrained(tmp_path / "films")
    assert model.catalog.titles[-1] == 'Thé "vert"'

    users = ("--input", folder / "ratings.dat", "--output", tmp_path / "recs.jsonl", "-k", 2)
    answer = command("recommend", tmp_path / "films", *users, *TEXT, *LOG_COLUMNS)
    assert answer.status == 0, answer.err
    assert len((tmp_path / "recs.jsonl").read_text().splitlines()) == len(model.log.histories)

    moved = ("--out", tmp_path / "moved")
    answer = command(
        "transfer", tmp_path / "films", *files, *moved, *TEXT, *ITEM_COLUMNS, *LOG_COLUMNS
    )
    assert answer.status == 0, answer.err
    assert len(GenerativeRecommender.from_pretrained(tmp_path / "moved").catalog) == 120


def test_an_option_given_twice_is_for_the_products_then_for_the_log(
    films, shop_files, tmp_path, command, recommender_folder
):
    files = (
        "--items",
        shop_files[0],
        "--interactions",
        films[0] / "ratings.dat",
        "--out",
        tmp_path / "m",
    )
    words = ("transfer", recommender_folder, *files, *LOG_COLUMNS)
    answer = command(*words, "--separator", "comma", "--separator", "::")
    assert answer.status == 0, answer.err
    answer = command(*words, "--overwrite", *(["--separator", ","] * 3))
    assert answer.status == 2
    assert (
        "--separator is given 3 times; once is for all text files, twice for those of"
        in answer.message
    )


def test_a_log_without_header_is_refused_with_the_option_that_reads_it(
    films, shop_files, tmp_path, command, recommender_folder
):
    log = tmp_path / "log.csv"
    log.write_text((films[0] / "ratings.dat").read_text().replace("::", ","))
    words = ("transfer", recommender_folder, "--items", shop_files[0], "--interactions", log)
    answer = command(*words, "--out", tmp_path / "moved")
    assert answer.status == 2
    assert (
        "the file has no header row? Name its columns in order with --log-columns" in answer.message
    )
    assert not (tmp_path / "moved").exists()
    assert command(*words, "--out", tmp_path / "moved", *LOG_COLUMNS).status == 0


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--separator", '"', "a separator holds no quote"),
        ("--encoding", "klingon", "no such encoding"),
        ("--log-columns", "a,a", "'a' stands twice"),
        ("--date-format", "%Q", "no format of dates"),
        ("--date-format", "%d/%m/%Y", "must be written as '%d/%m/%Y'"),
    ],
)
def test_what_an_option_cannot_mean_is_refused(
    shop_files, tmp_path, command, recommender_folder, option, value, message
):
    words = (
        "recommend",
        recommender_folder,
        "--input",
        shop_files[1],
        "--output",
        tmp_path / "r.csv",
    )
    answer = command(*words, option, value)
    assert answer.status == 2
    assert message in answer.message
    assert not (tmp_path / "r.csv").exists()
