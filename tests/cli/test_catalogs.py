"""The command on several catalogs: fit together, transfer, fit on."""

import json
import re

import pytest

from genrec import GenerativeRecommender, SyntheticShop
from genrec.data import generate

QUICK = [
    "encoder.dimension=32",
    "language_model.compact.width=16",
    "language_model.compact.layers=1",
    "language_model.compact.heads=2",
    "training.max_steps=20",
    "training.validations=1",
    "validation_users=50",
    "search.beams=10",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder of shop a, b and c, each with items.csv and interactions.csv."""
    root = tmp_path_factory.mktemp("shops")
    for seed, name in enumerate("abc"):
        generate(SyntheticShop(items=70, users=60, seed=seed)).write(root / name)
    return root


def pair(files, name):
    return [
        "--items",
        files / name / "items.csv",
        "--interactions",
        files / name / "interactions.csv",
    ]


def test_from_several_catalogs_to_a_third_and_on(files, tmp_path, command, caplog):
    both, moved, week = (tmp_path / name for name in ("both", "moved", "week"))
    answer = command("fit", *pair(files, "a"), *pair(files, "b"), "--out", both, *QUICK)
    assert answer.status == 0, answer.err
    assert f"recommenders in {both}: a, b; next: genrec evaluate {both}" in caplog.text
    assert sorted(path.name for path in both.iterdir()) == ["a", "b", "recommenders.json"]

    answer = command(
        "transfer", both / "a", *pair(files, "c"), "--out", moved, "--text-weight", 0.3
    )
    assert answer.status == 0, answer.err
    found = command("recommend", moved, "--history", "P0001,P0002", "--json").json
    ids = set(GenerativeRecommender.from_pretrained(moved).catalog.item_ids)
    assert {item["item_id"] for item in found["recommendations"]} <= ids
    assert command("evaluate", moved, "--json", "-").json["users"] == 60

    log = ["--interactions", files / "c" / "interactions.csv"]
    words = ["training.max_steps=20", "split.train_share=0.5"]
    answer = command("fit", "--from", moved, *log, "--out", week, *words)
    assert answer.status == 0, answer.err
    manifest = json.loads((week / "recommender.json").read_text())
    assert manifest["settings"]["split"]["train_share"] == 0.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "moved", "week"]


def test_names_come_from_the_files_their_folders_or_the_option(files, tmp_path, command):
    answer = command(
        "fit", *pair(files, "a"), *pair(files, "b"), "--name", "one", "--name", "two", "--out",
        tmp_path / "both", *QUICK,
    )  # fmt: skip
    assert answer.status == 0, answer.err
    assert (tmp_path / "both" / "two" / "recommender.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--items", "{a}/items.csv"], "Missing option '--interactions'"),
        (["--interactions", "{a}/interactions.csv"], "an --interactions for each --items"),
        (["PAIR a", "--items", "{b}/items.csv"], r"each --items, in the same order: 2 and 1"),
        (["PAIR a", "PAIR a"], r"need distinct names \(a, a\): give --name"),
        (["PAIR a", "PAIR b", "--name", "one"], "a --name for each --items: 1 for 2"),
        (["PAIR a", "PAIR b", "--name", "x/y", "--name", "z"], "'x/y' cannot be the name"),
        (["PAIR a", "PAIR b", "collaborative.weight=1"], r"collaborative\.weight=0"),
        (["PAIR a", "--name", "one"], "at least two catalogs"),
        (
            ["PAIR a", "--from", "{a}"],
            "--from goes with one --interactions, no --items and no --name",
        ),
        (
            ["--from", "{a}", "--interactions", "{a}/interactions.csv", "--name", "x"],
            "--from goes with one --interactions, no --items and no --name",
        ),
        (["--from", "{a}", "--interactions", "{a}/interactions.csv"], "is not a recommender"),
    ],
)
def test_what_cannot_be_fitted_together_is_refused(files, tmp_path, command, words, message):
    given = []
    for word in words:
        if word.startswith("PAIR"):
            given += pair(files, word[-1])
        else:
            given.append(word.format(a=files / "a", b=files / "b"))
    answer = command("fit", *given, "--out", tmp_path / "out")
    assert answer.status == 2
    assert re.search(message, answer.message), answer.message
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_transferred_is_refused(files, tmp_path, command, recommender_folder):
    out = tmp_path / "out"
    items = ["--items", files / "c" / "items.csv"]
    answer = command("transfer", files / "a", *items, "--out", out)
    assert (answer.status, "is not a recommender" in answer.message) == (2, True)
    answer = command("transfer", recommender_folder, "--items", tmp_path / "none.csv", "--out", out)
    assert answer.status == 2
    answer = command("transfer", recommender_folder, *items, "--out", recommender_folder)
    assert (answer.status, "exists already" in answer.message) == (2, True)
    answer = command("transfer", recommender_folder, *items, "--text-weight", 2, "--out", out)
    assert answer.status == 2
    assert list(tmp_path.iterdir()) == []
