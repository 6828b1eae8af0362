"""``genrec items``: a recommender folder that changes its catalog, in place or beside itself."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock, Timeout

from genrec import GenerativeRecommender
from genrec.common.errors import RecommenderError
from genrec.common.locks import lock_path
from genrec.common.manifest import read_manifest
from genrec.language_model import LanguageModel
from genrec.recommender.catalog import FittedCatalog
from genrec.recommender.folder.restock import remove_from_folder

ROWS = [("N1", "Green tent for two"), ("N2", "Red climbing rope"), ("N3", "Tin cup")]


def write_items(path, rows=ROWS):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("item_id", "title"), *rows])
    return path


@pytest.fixture
def folder(recommender_folder, tmp_path):
    """A copy of a small recommender."""
    return shutil.copytree(recommender_folder, tmp_path / "shop")


@pytest.fixture
def items(tmp_path):
    return write_items(tmp_path / "new.csv")


def opened(folder):
    return GenerativeRecommender.from_pretrained(folder, device="cpu")


def inodes(folder):
    return {path.name: path.stat().st_ino for path in (folder / "language_model").iterdir()}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["__index_level_0__", "Unnamed: 0", "whole"])
def test_row_numbers_of_pandas_are_not_in_the_way(folder, tmp_path, command, name):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=["item_id", "title"])
    if name == "whole":
        path = tmp_path / "new.parquet"
        frame[frame.title != "Tin cup"].to_parquet(path)
    elif name == "Unnamed: 0":
        path = tmp_path / "new.csv"
        frame.to_csv(path, index_label=name)
    else:
        path = tmp_path / "new.jsonl"
        frame.assign(**{name: [7, 8, 9]}).to_json(path, orient="records", lines=True)
    answer = command("items", "add", folder, "--items", path, "--json")
    assert answer.status == 0, answer.err
    assert answer.json["added"] == (2 if name == "whole" else 3)
    assert name not in opened(folder).catalog.table.column_names


def test_items_are_added_in_place(folder, items, command, caplog):
    before, files = opened(folder), inodes(folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("keep me")
    answer = command("items", "add", folder, "--items", items, "--json")
    assert answer.status == 0, answer.err
    told = answer.json
    assert (told["added"], told["removed"], told["items"]) == (3, 0, 123)
    assert told["folder"] == str(folder)
    assert told["seconds"] >= 0
    assert "3 items added" in caplog.text
    assert "without brand" in caplog.text
    after = opened(folder)
    assert after.catalog.item_ids[120:] == ["N1", "N2", "N3"]
    assert after.semantic_ids.codes[:120].tolist() == before.semantic_ids.codes.tolist()
    assert inodes(folder) == files, "the language model's files are those of before"
    assert (folder / "notes" / "mine.txt").read_text() == "keep me"
    assert "notes/mine.txt" not in read_manifest(folder)["files"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["new.csv", "shop"]
    found = command("recommend", folder, "--history", "N1", "--allow", "N2,N3", "--json").json
    assert {item["item_id"] for item in found["recommendations"]} == {"N2", "N3"}


def test_a_second_folder_leaves_the_first_as_it_is(folder, items, command, tmp_path):
    before = contents(folder)
    out = tmp_path / "other"
    assert command("items", "add", folder, "--items", items, "--out", out).status == 0
    ids = tmp_path / "ids.txt"
    ids.write_text("N1\n\nP0001\n")
    less = tmp_path / "less"
    answer = command("items", "remove", out, "--ids", f"@{ids}", "--out", less, "--json")
    assert (answer.json["removed"], answer.json["items"]) == (2, 121)
    assert answer.json["events"] > 0
    assert contents(folder) == before
    assert "N1" in opened(out).catalog.item_ids
    assert not {"N1", "P0001"} & set(opened(less).catalog.item_ids)
    refused = command("items", "remove", out, "--ids", "N2", "--out", less)
    assert refused.status == 2
    assert "less exists already" in refused.message


def test_added_and_removed_the_folder_recommends_as_before(folder, items, command, shop):
    before = opened(folder)
    ids = shop.catalog.item_ids
    histories = [[ids[i] for i in shop.log.histories[user]] for user in range(20)]
    assert command("items", "add", folder, "--items", items).status == 0
    assert command("items", "remove", folder, "--ids", "N1,N2, N3").status == 0
    assert opened(folder).recommend(histories, k=9) == before.recommend(histories, k=9)
    assert command("evaluate", folder, "--json", "-").json["invalid"] == 0
    changes = read_manifest(folder)["data"]["changes"]
    assert [(c["added"], c["removed"]) for c in changes] == [(3, 0), (0, 3)]


def test_adding_again_changes_nothing(folder, items, command, caplog):
    command("items", "add", folder, "--items", items)
    before = contents(folder)
    answer = command("items", "add", folder, "--items", items)
    assert answer.status == 0
    assert "3 items were there already" in caplog.text
    assert contents(folder) == before


def test_a_folder_that_someone_else_changes_meanwhile_is_theirs(
    folder, items, command, monkeypatch
):
    write = FittedCatalog.write

    def disturbed(self, building, trie=None):
        write(self, building, trie)
        monkeypatch.setattr(FittedCatalog, "write", write)
        remove_from_folder(folder, lambda catalog: ["P0001"])

    monkeypatch.setattr(FittedCatalog, "write", disturbed)
    answer = command("items", "add", folder, "--items", items)
    assert answer.status == 2
    assert "shop was changed by another program meanwhile: try again" in answer.message
    assert len(opened(folder).catalog) == 119
    assert sorted(path.name for path in folder.parent.iterdir()) == ["new.csv", "shop"]


def test_nobody_else_changes_what_is_being_read_for_a_change(folder, items, command, monkeypatch):
    read, tried = FittedCatalog.read, []

    def watched(*arguments):
        with pytest.raises(Timeout):
            FileLock(lock_path(folder), timeout=0).acquire()
        tried.append(arguments)
        return read(*arguments)

    monkeypatch.setattr(FittedCatalog, "read", watched)
    for words in (
        ["add", "--items", items],
        ["update", "--items", items],
        ["remove", "--ids", "N1"],
    ):
        assert command("items", words[0], folder, *words[1:]).status == 0
    assert len(tried) == 3


def test_a_folder_that_changes_while_it_is_opened_is_not_half_read(folder, monkeypatch):
    load = LanguageModel.load

    def slowly(*arguments, **more):
        remove_from_folder(folder, lambda catalog: ["P0001"])
        return load(*arguments, **more)

    monkeypatch.setattr(LanguageModel, "load", slowly)
    with pytest.raises(RecommenderError, match="changed by another program meanwhile"):
        opened(folder)
    monkeypatch.undo()
    assert len(opened(folder).catalog) == 119


def test_where_files_cannot_have_two_names_they_are_copied(folder, items, command, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    out = folder.with_name("other")
    assert command("items", "add", folder, "--items", items, "--out", out).status == 0
    assert len(opened(out).catalog) == 123
    assert not set(inodes(out).values()) & set(inodes(folder).values())


@pytest.mark.slow
def test_a_kill_leaves_the_old_folder_or_the_new_one(folder, tmp_path):
    """Several processes, each killed a moment after it began to write; the last one may finish."""
    code = "from genrec.cli import main; main()"
    chance = random.Random(3)
    waits = [0.0, chance.uniform(0, 0.03), chance.uniform(0.03, 0.1), None]
    for attempt, wait in enumerate(waits):
        known = len(opened(folder).catalog)
        items = write_items(tmp_path / "new.csv", [(f"K{attempt}", f"Tin cup {attempt}")])
        words = ["items", "update" if attempt % 2 else "add", str(folder), "--items", str(items)]
        process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE)
        stale, deadline = set(tmp_path.glob(".shop.*")), time.monotonic() + 120
        while wait is not None and process.poll() is None:
            assert time.monotonic() < deadline, "nothing was written"
            if set(tmp_path.glob(".shop.*")) - stale:
                time.sleep(wait)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        process.communicate(timeout=120)
        assert process.returncode in (0, -signal.SIGKILL)
        found = opened(folder)  # every file is what its manifest says
        assert len(found.catalog) == len(found.semantic_ids) in (known, known + 1)
        assert found.recommend([["P0001"]], k=200)[0]
    assert process.returncode == 0
    assert found.catalog.item_ids[-1] == "K3"
