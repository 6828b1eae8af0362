"""A disk that fills while a command writes: one message, status 2, nothing half-written."""

import csv
import resource
import shutil
from contextlib import contextmanager

import pytest

from genrec import GenerativeRecommender
from genrec.common.artifacts import hash_file

QUICK = [
    "encoder.dimension=16",
    "collaborative.dimension=8",
    "language_model.compact.width=16",
    "language_model.compact.layers=1",
    "language_model.compact.heads=2",
    "training.validations=1",
    "training.max_steps=20",
]


@contextmanager
def files_of_at_most(bytes_):
    """The system refuses to write more of one file, as a full disk would: real writes that really fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def places(recommender_folder, shop_files, tmp_path):
    items, log = shop_files
    new = tmp_path / "new.csv"
    with new.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("item_id", "title"), ("N1", "Tin cup"), ("P0002", "Rope")])
    folder = shutil.copytree(recommender_folder, tmp_path / "shop")
    return {"items": items, "log": log, "new": new, "dir": folder, "out": tmp_path / "out"}


COMMANDS = {
    "items update": ("items update {dir} --items {new}", 1000),
    "items update, elsewhere": ("items update {dir} --items {new} --out {out}", 1000),
    "items remove": ("items remove {dir} --ids P0001", 1000),
    "export": ("export {dir} --out {out}", 1000),
    "evaluate --report": ("evaluate {dir} --report {out}.html", 1000),
    "evaluate --json": ("evaluate {dir} --json {out}.json", 20),
    "evaluate --cases": ("evaluate {dir} --cases {out}.parquet", 100),
    "recommend": ("recommend {dir} --input {log} --output {out}.csv", 30_000),
    "recommend, no part": ("recommend {dir} --input {log} --output {out}.csv", 500),
    "inspect": ("inspect {dir} --out {out}.html", 1000),
    "transfer": ("transfer {dir} --items {items} --out {out}", 1000),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_so_and_leaves_what_was_there(places, command, name):
    words, most = COMMANDS[name]
    files = {path: hash_file(path) for path in places["dir"].rglob("*") if path.is_file()}
    with files_of_at_most(most):
        answer = command(*words.format(**places).split())
    assert answer.status == 2, answer.err
    assert "cannot be written: File too large; make room on its disk" in answer.message
    assert "Traceback" not in answer.err
    assert {path: hash_file(path) for path in places["dir"].rglob("*") if path.is_file()} == files
    left = {path.name for path in places["dir"].parent.iterdir()} - {"shop", "new.csv"}
    assert left == ({"out.csv.partial"} if name == "recommend" else set())


def test_a_batch_goes_on_once_there_is_room(places, command):
    words, most = COMMANDS["recommend"]
    words = words.format(**places).split()
    with files_of_at_most(most):
        assert "out.csv.partial, and the same run goes on" in command(*words).message
    assert command(*words).status == 0
    assert places["out"].with_suffix(".csv").stat().st_size > most


@pytest.mark.parametrize("most", [8000, 30_000])
def test_a_fit_goes_on_once_there_is_room(places, command, most, caplog):
    words = ["fit", "--items", places["items"], "--interactions", places["log"]]
    words += ["--out", places["out"], *QUICK]
    with files_of_at_most(most):
        answer = command(*words)
    assert answer.status == 2, answer.err
    assert "cannot be written: File too large; make room on its disk" in answer.message
    assert "out.partial, and the same run goes on from there" in answer.message
    caplog.clear()
    assert command(*words).status == 0
    assert "continuing the fit in" in caplog.text
    assert len(GenerativeRecommender.from_pretrained(places["out"], device="cpu").catalog) == 120
    assert not places["out"].with_name("out.partial").exists()


def test_a_fit_that_never_began_leaves_nothing(places, command):
    words = ["fit", "--items", places["items"], "--interactions", places["log"]]
    with files_of_at_most(100):
        answer = command(*words, "--out", places["out"], *QUICK)
    assert (answer.status, "out.partial cannot be written" in answer.message) == (2, True)
    assert {path.name for path in places["out"].parent.iterdir()} == {"shop", "new.csv"}


def test_a_folder_that_vanishes_is_named(places, command, monkeypatch):
    from genrec.recommender.catalog import FittedCatalog

    def vanished(self, building, trie=None):
        shutil.rmtree(building)
        (building / "catalog.parquet").write_bytes(b"")

    monkeypatch.setattr(FittedCatalog, "write", vanished)
    answer = command("items", "remove", places["dir"], "--ids", "P0001", "--out", places["out"])
    assert answer.status == 2
    assert (
        "out cannot be written: No such file or directory; was its folder moved" in answer.message
    )
