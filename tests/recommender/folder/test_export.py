"""A recommender on a tuned model: opened merged, exported, used without genrec."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from genrec import FitSettings, GenerativeRecommender
from genrec.common.errors import InputError, RecommenderError
from genrec.recommender.folder.export import export_model
from genrec.testing.fakes import save_tiny_pretrained

HISTORIES = [["P0001", "P0002"], ["P0005"], []]


@pytest.fixture(scope="module")
def tuned(shop, quick_settings, tmp_path_factory):
    """A recommender on a tiny pretrained model, and its folder; not to be changed."""
    folder = tmp_path_factory.mktemp("tuned")
    base = save_tiny_pretrained(folder / "base", "qwen3-untied")
    training = quick_settings["training"] | {"max_steps": 10}
    values = {"language_model": {"backbone": str(base)}, "training": training}
    values["text_model"] = {"weight": 0.0}
    settings = FitSettings.model_validate(quick_settings | values)
    recommender = GenerativeRecommender.fit(shop.catalog, shop.log, settings)
    recommender.save_pretrained(folder / "recommender")
    return recommender, folder / "recommender"


def answers(recommender):
    """Scores by item id, for all items of every history."""
    found = recommender.recommend(HISTORIES, k=120)
    return [{item.item_id: item.score for item in row} for row in found]


def same(ours, theirs, tolerance):
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.keys() == yours.keys()
        np.testing.assert_allclose(
            [mine[item] for item in yours], list(yours.values()), atol=tolerance
        )


def test_opened_as_it_was_fitted(tuned):
    recommender, folder = tuned
    assert answers(GenerativeRecommender.from_pretrained(folder)) == answers(recommender)


def test_opened_merged_saved_and_opened_again(tuned, tmp_path):
    recommender, folder = tuned
    merged = GenerativeRecommender.from_pretrained(folder, merged=True)
    assert not hasattr(merged.language_model.model, "peft_config")
    same(answers(merged), answers(recommender), 1e-4)
    merged.save_pretrained(tmp_path / "merged")
    assert not list((tmp_path / "merged").rglob("adapter*"))
    for again in (False, True):
        back = GenerativeRecommender.from_pretrained(tmp_path / "merged", merged=again)
        assert answers(back) == answers(merged)


def test_a_base_model_may_move(tuned, tmp_path):
    recommender, folder = tuned
    copy = tmp_path / "copy"
    shutil.copytree(folder.parent, copy)
    (folder.parent / "base").rename(folder.parent / "gone")
    try:
        with pytest.raises(RecommenderError, match=r"tuned on .*base=… of GenerativeRecommender"):
            GenerativeRecommender.from_pretrained(folder)
        back = GenerativeRecommender.from_pretrained(folder, base=str(copy / "base"))
        export_model(folder, tmp_path / "exported", base=str(copy / "base"))
    finally:
        (folder.parent / "gone").rename(folder.parent / "base")
    assert answers(back) == answers(recommender)
    back.save_pretrained(tmp_path / "moved")
    again = GenerativeRecommender.from_pretrained(tmp_path / "moved")
    assert again.settings.language_model.backbone == str(copy / "base")


@pytest.fixture(scope="module")
def exported(tuned, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "model"
    export_model(tuned[1], out)
    return out


def test_an_exported_model_needs_transformers_alone(tuned, exported):
    lm = tuned[0].language_model
    model = AutoModelForCausalLM.from_pretrained(exported).eval()
    tokenizer = AutoTokenizer.from_pretrained(exported)
    rows = pq.read_table(exported / "items.parquet").to_pylist()
    catalog = tuned[0].catalog
    assert [(row["item_id"], row["title"]) for row in rows] == list(
        zip(catalog.item_ids, catalog.titles, strict=True)
    )
    words = "".join(row["tokens"] for row in rows[:3])
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    codes = tuned[0].semantic_ids.codes[:3]
    assert ids == lm.vocabulary.encode(codes).ravel().tolist()
    batch = torch.tensor([[*lm.prefix, *ids]])
    with torch.no_grad():
        torch.testing.assert_close(
            model(input_ids=batch).logits, lm.model(input_ids=batch).logits, atol=1e-4, rtol=1e-4
        )


def test_the_program_in_the_readme_recommends(tuned, exported):
    recommender = tuned[0]
    [code] = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    history = list(recommender.catalog.item_ids[:2])
    expected = recommender.alone().recommend([history], k=10, exclude_seen=False)[0]
    assert done.stdout.splitlines()[0] == f"{expected[0].item_id} {expected[0].title}"
    assert len(set(done.stdout.splitlines())) == 10


def test_the_compact_model_is_exported_too(command, shop, quick_settings, tmp_path):
    """One that reads codes alone; by default it reads what the text model learned, too."""
    plain = {"item_vectors": "none"} | quick_settings["language_model"]
    short = quick_settings["training"] | {"max_steps": 10}
    values = quick_settings | {"language_model": plain, "training": short}
    settings = FitSettings.model_validate(values)
    recommender = GenerativeRecommender.fit(shop.catalog, shop.log, settings)
    recommender.save_pretrained(tmp_path / "plain")
    answer = command("export", tmp_path / "plain", "--out", tmp_path / "model")
    assert (answer.status, answer.out) == (0, "")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    batch = torch.tensor([recommender.language_model.prefix])
    with torch.no_grad():
        ours = recommender.language_model.model(input_ids=batch).logits
        assert torch.equal(model(input_ids=batch).logits, ours)


def test_what_stands_in_the_way_stays(command, recommender_folder, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    answer = command("export", recommender_folder, "--out", tmp_path)
    assert answer.status == 2
    assert "exists already: choose another --out" in answer.message
    with pytest.raises(InputError, match="is not a recommender"):
        export_model(tmp_path, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command_recommends_from_the_merged_model(command, tuned):
    recommender, folder = tuned
    answer = command("recommend", folder, "--history", "P0001,P0002", "-k", 120, "--json")
    found = {item["item_id"]: item["score"] for item in answer.json["recommendations"]}
    same([found], answers(recommender)[:1], 1e-4)
