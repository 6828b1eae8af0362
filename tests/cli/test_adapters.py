"""The command on domain adapters: fit, combine, and what becomes of it."""

import json

import pytest

from genrec import GenerativeRecommender

QUICK = ["training.max_steps=8", "training.validations=1"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder that the tests of this file share."""
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture
def adapter(work, command, recommender_folder):
    """An adapter of the shop."""
    out = work / "tents"
    if not out.exists():
        answer = command("adapters", "fit", recommender_folder, "--out", out, "lora.rank=2", *QUICK)
        assert answer.status == 0, answer.err
    return out


def weights_of(folder):
    record = json.loads((folder / "metrics.json").read_text())["adapters"]
    return [row["weight"] for row in record["weights"]]


def test_stated_equal_and_similar_weights(adapter, command, recommender_folder, tmp_path, caplog):
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 2
    for name, words, wanted in (
        ("stated", ["--adapter", f"{adapter}:0.5"], [0.5]),
        ("equal", ["--adapter", adapter, "--adapter", adapter], [0.5, 0.5]),
        ("similar", ["--adapter", adapter, "--weights", "similar"], [1.0]),
    ):
        out = tmp_path / name
        answer = command("adapters", "combine", recommender_folder, *words, "--out", out)
        assert answer.status == 0, answer.err
        assert f"recommender in {out}; next: genrec evaluate {out}" in caplog.text
        assert weights_of(out) == wanted
    found = command("recommend", out, "--history", "P0001,P0002", "--json").json
    ids = set(GenerativeRecommender.from_pretrained(out).catalog.item_ids)
    assert {item["item_id"] for item in found["recommendations"]} <= ids


def test_learned_weights(adapter, command, recommender_folder, tmp_path):
    out = tmp_path / "learned"
    words = ["--adapter", adapter, "--weights", "learned", "--out", out, "each_block=false", *QUICK]
    answer = command("adapters", "combine", recommender_folder, *words)
    assert answer.status == 0, answer.err
    [[weight]] = weights_of(out)
    assert weight != 1
    assert [path.name for path in tmp_path.iterdir()] == ["learned"]


def test_two_recommenders_of_one_name_and_one_of_another_model(
    work, command, recommender_folder, tmp_path
):
    import shutil

    again = tmp_path / "other" / recommender_folder.name
    shutil.copytree(recommender_folder, again)
    out = work / "all"
    words = [recommender_folder, "--with", again, "--out", out, *QUICK]
    assert command("adapters", "fit", *words).status == 0
    domains = json.loads((out / "adapter.json").read_text())["facts"]["domains"]
    assert list(domains) == [
        f"{folder.parent.name}/{folder.name}" for folder in (recommender_folder, again)
    ]


def test_an_adapter_is_no_recommender_and_a_recommender_no_adapter(
    adapter, command, recommender_folder, tmp_path
):
    answer = command("recommend", adapter, "--history", "P0001")
    assert (answer.status, "holds a domain adapter" in answer.message) == (2, True)
    words = ["--adapter", recommender_folder, "--out", tmp_path / "x"]
    answer = command("adapters", "combine", recommender_folder, *words)
    assert (answer.status, "is not a domain adapter" in answer.message) == (2, True)
    assert list(tmp_path.iterdir()) == []
