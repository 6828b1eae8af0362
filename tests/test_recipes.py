"""The recipes: their settings load, they stay short, and the demos run end to end by path."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genrec.common.config import Settings, load_settings
from genrec.common.errors import ConfigError, DataError, GenrecError
from genrec.common.recipe import run_recipe
from genrec.data.settings import DataSettings
from genrec.data.synthetic import SyntheticShop, generate

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tokenizers", "train", "eval")
RECIPES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))
VALUES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.yaml"))


def name(path):
    return f"{path.parent.name}/{path.name}"


def recipe_of(values):
    """The recipe that a YAML file is for: ``train/sft_demo.yaml`` belongs to ``train/sft.py``."""
    words = values.stem.split("_")
    names = ["_".join(words[:count]) + ".py" for count in range(len(words), 0, -1)]
    return next(path for path in map(values.with_name, names) if path.exists())


def load(recipe, monkeypatch):
    """Import a recipe by path, under a name of its own."""
    alias = f"recipe_under_test_{recipe.parent.name}_{recipe.stem}"
    spec = importlib.util.spec_from_file_location(alias, recipe)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, alias, module)
    spec.loader.exec_module(module)
    return module


def run(words, folder, expect=0):
    """Run a recipe as a reader would, from another folder, with short paths resolved."""
    script, *rest = [str(ROOT / word) if (ROOT / word).is_file() else word for word in words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, script, *rest]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expect, done.stderr
    return done


@pytest.mark.parametrize("values", VALUES, ids=name)
def test_every_yaml_loads_into_its_recipe(values, monkeypatch):
    kind = load(recipe_of(values), monkeypatch).Config
    assert isinstance(load_settings(kind, values), kind)


@pytest.mark.parametrize("values", VALUES, ids=name)
def test_every_yaml_opens_with_its_command_and_what_it_needs(values):
    comments = [line for line in values.read_text().splitlines() if line.startswith("#")]
    assert comments[0].endswith(f" {name(recipe_of(values))} {name(values)}")
    assert any("Needs: " in line for line in comments)


@pytest.mark.parametrize("values", VALUES, ids=name)
def test_every_yaml_has_a_row_in_its_readme(values):
    assert f"| `{values.name}` |" in (values.parent / "README.md").read_text()


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_a_recipe_is_one_page_with_one_config(recipe, monkeypatch):
    source = recipe.read_text()
    assert len(source.splitlines()) < 130
    module = load(recipe, monkeypatch)
    assert f"python {name(recipe)} " in module.__doc__
    assert module.Config.model_config["frozen"]
    assert all(field.description for field in module.Config.model_fields.values())
    settings = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Settings)]
    assert [c.__name__ for c in settings if c.__module__ == module.__name__] == ["Config"]
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    assert "main" in {function.name for function in functions}
    assert all(f.end_lineno - f.lineno < 45 for f in functions)


def test_fit_demo(tmp_path):
    words = ["data.shop.items=80", "data.shop.users=150", "item_tokenizer.codes=16", "out=ids"]
    done = run(["tokenizers/fit.py", "tokenizers/fit_demo.yaml", *words], tmp_path)
    assert "| rqkmeans | 16x16 |" in done.stdout
    quality = json.loads((tmp_path / "ids" / "quality.json").read_text())
    assert quality["quality"]["after"]["items"] == 0
    lines = (tmp_path / "ids" / "semantic_ids.jsonl").read_text().splitlines()
    assert len({tuple(json.loads(line)["codes"]) for line in lines}) == len(lines) == 80
    again = run(["tokenizers/fit.py", "tokenizers/fit_demo.yaml", *words], tmp_path, expect=2)
    assert "exists already" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.slow
def test_compare_demo_then_another_row(tmp_path):
    words = ["fit.training.max_steps=5", "fit.validation_users=20"]
    done = run(["tokenizers/compare.py", "tokenizers/compare_demo.yaml", *words], tmp_path)
    out = tmp_path / "runs" / "compare_demo.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    first = json.loads(out.read_text())["rows"]
    assert list(first) == ["residual k-means", "the same, numbered", "random"]
    numbered = first["the same, numbered"]
    assert numbered["by_codes"] > numbered["validation"]["metrics"]["recall@10"]
    assert first["random"]["by_codes"] is None
    assert all(0 <= row["validation"]["metrics"]["recall@10"] <= 1 for row in first.values())
    run(["tokenizers/compare.py", "tokenizers/compare_demo.yaml", *words], tmp_path)
    assert json.loads(out.read_text())["rows"] == first, "a row that is there is not measured again"


def test_codes_of_several_catalogs_in_one_that_they_never_saw(tmp_path):
    recipe = ["tokenizers/elsewhere.py", "tokenizers/elsewhere_demo.yaml"]
    steps = "rows.finite scalars.steps=20"
    done = run([*recipe, steps], tmp_path)
    out = tmp_path / "runs" / "elsewhere_demo.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    rows = json.loads(out.read_text())["rows"]
    assert [row["catalog"] for row in rows] == ["large", "small", "third"] * 2
    assert [row["seen"] for row in rows] == [True, True, False] * 2
    assert all(row["after"]["items"] == 0 for row in rows)
    kmeans = {row["catalog"]: row["reconstruction_error"] for row in rows[:3]}
    assert kmeans["third"] > kmeans["large"], "what was not fitted on is reconstructed less well"
    refused = run([*recipe, "rows.numbers.kind=sequential"], tmp_path, expect=2)
    assert "sequential numbers the items of one catalog" in refused.stderr


def test_published_counts_of_a_small_shop(tmp_path):
    words = ["data={shop: {items: 80, users: 150}}", "out=runs/counts.json"]
    done = run(["eval/published_counts.py", "eval/published_counts_toys.yaml", *words], tmp_path)
    out = tmp_path / "runs" / "counts.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    document = json.loads(out.read_text())
    assert list(document["rows"]) == ["pctm", "seqrules"]
    recall = document["rows"]["pctm"]["metrics"]["recall@10"]
    assert f"| pctm | recall@10 | {recall:.4f} | 0.1130 |" in done.stdout
    assert document["rows"]["pctm"]["users"] <= 150


@pytest.mark.slow
def test_sft_demo_then_rank_queries_dpo_and_passes_demo(tmp_path):
    short = ["data.shop.items=80", "data.shop.users=200", "fit.validation_users=50"]
    short += ["fit.training.max_steps=20", "fit.training.validations=1"]
    done = run(["train/sft.py", "train/sft_demo.yaml", *short], tmp_path)
    assert "recommender in runs/sft_demo" in done.stdout
    assert not (tmp_path / "runs" / "sft_demo.partial").exists()
    done = run(["eval/rank.py", "eval/rank_demo.yaml"], tmp_path)
    table = (tmp_path / "runs" / "rank_demo.md").read_text()
    assert table.strip() == done.stdout.strip()
    document = json.loads((tmp_path / "runs" / "rank_demo.json").read_text())
    assert document["users"] == 200
    assert document["invalid"] == 0
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert rows == ["recommender", "---", "genrec", *document["baselines"]]
    done = run(["eval/queries.py", "eval/queries_demo.yaml", "ks=[10]"], tmp_path)
    document = json.loads((tmp_path / "runs" / "queries_demo.json").read_text())
    assert (tmp_path / "runs" / "queries_demo.md").read_text().strip() == done.stdout.strip()
    others = document["baselines"]
    assert document["metrics"]["recall@10"] > 2 * others["genrec, not asked"]["recall@10"]
    assert others["text neighbours"]["recall@10"] > 2 * others["popularity"]["recall@10"]
    refused = run(["eval/queries.py", "eval/queries_demo.yaml", "first=true"], tmp_path, expect=2)
    assert "split.protocol=user-holdout" in refused.stderr
    quick = ["preferring.training.max_steps=3", "preferring.cases=1"]
    done = run(["train/dpo.py", "train/dpo_demo.yaml", *quick], tmp_path)
    document = json.loads((tmp_path / "runs" / "dpo_demo.json").read_text())
    before, after = (document[name]["metrics"]["ndcg@10"] for name in ("before", "after"))
    assert document["differences"]["ndcg@10"]["value"] == pytest.approx(after - before)
    assert (
        f"| before | {document['before']['metrics']['recall@10']:.4f} | {before:.4f} |"
        in done.stdout
    )
    assert (tmp_path / "runs" / "dpo_demo" / "recommender.json").is_file()
    quick = ["seconds=0.1", "validation_users=20"]
    done = run(["eval/passes.py", "eval/passes_demo.yaml", *quick], tmp_path)
    user, *position = json.loads((tmp_path / "runs" / "passes_demo.json").read_text())["results"]
    assert user["items"] < position[0]["items"] == position[1]["items"]
    assert user["sequences"] < position[0]["sequences"]
    assert all(result["steps"] >= 1 for result in (user, *position))


@pytest.mark.slow
def test_serving_demo(tmp_path, recommender_folder):
    quick = [f"recommender={recommender_folder}", "clients=4", "rounds=1", "seconds=0.4"]
    quick += ["memory_requests=30", "queue=1", "users=20"]
    done = run(["eval/serving.py", "eval/serving_demo.yaml", *quick], tmp_path)
    assert (tmp_path / "runs" / "serving_demo.md").read_text().strip() == done.stdout.strip()
    document = json.loads((tmp_path / "runs" / "serving_demo.json").read_text())
    assert list(document["servers"]) == ["gathered", "each by itself"]
    for server in document["servers"].values():
        assert server["same_lists"] == server["asked_alone"] == 20
        assert list(server["statuses"]) == ["200"]
        assert 0 < server["p50_ms"] <= server["p99_ms"]
    assert document["memory"]["statuses"] == {"200": 30}
    assert set(document["short_queue"]["statuses"]) == {"200", "429"}


@pytest.mark.slow
def test_batch_demo(tmp_path, recommender_folder):
    """300 customers 20 times over: three parts, killed at the first and at the second."""
    words = [f"recommender={recommender_folder}", "copies=20", "k=3", "kills=[0.1,0.5]"]
    done = run(["eval/batch.py", "eval/batch_demo.yaml", *words], tmp_path)
    assert (tmp_path / "runs" / "batch_demo.md").read_text().strip() == done.stdout.strip()
    document = json.loads((tmp_path / "runs" / "batch_demo.json").read_text())
    runs = document["runs"]
    assert [r["killed"] for r in runs.values()] == [False, True, True, False]
    assert runs["killed, 1"]["parts"] < runs["killed, 2"]["parts"] < 3
    assert runs["gone on to the end"]["parts_before"] == runs["killed, 2"]["parts"]
    assert all(10 < r["rss_end"] <= r["rss_peak"] < 4096 for r in runs.values())
    same = document["compared"]["gone on to the end"]
    assert same["rows"] == same["equal"] == 3 * document["users"] == 18_000
    assert same["same_bytes"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "batch_demo.json",
        "batch_demo.md",
    ]
    refused = run(["eval/batch.py", "eval/batch_demo.yaml", "kills=[0.5,0.2]"], tmp_path, expect=2)
    assert "give shares between 0 and 1, rising" in refused.stderr


@pytest.mark.slow
def test_robustness_demo(tmp_path, recommender_folder):
    quick = [f"recommender={recommender_folder}", "texts.products=1", "texts.users=20"]
    quick += ["texts.cleanings={default: {}}", "data.shop.items=100", "data.shop.users=300"]
    quick += ["users.attacks=[bandwagon]", "users.share=0.05", "fit.training.min_steps=20"]
    done = run(["eval/robustness.py", "eval/robustness_demo.yaml", *quick], tmp_path)
    out = tmp_path / "runs" / "robustness_demo.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    document = json.loads(out.read_text())
    asked = [row for row in document["texts"] if row["ranker"] == "history and query"]
    ranks = {row["strategy"]: row["mean"] for row in asked}
    assert ranks["bestseller's whole text"] < ranks["as it is"]
    fits = [(fit["attack"], fit["defended"]) for fit in document["users"]]
    assert fits == [(None, False), (None, True), ("bandwagon", False), ("bandwagon", True)]
    exposure = {fit: row["exposure"][0] for fit, row in zip(fits, document["users"], strict=True)}
    assert exposure["bandwagon", False] > exposure[None, False]


@pytest.mark.slow
def test_serving_changes_demo(tmp_path, recommender_folder):
    quick = [f"recommender={recommender_folder}", "clients=3", "seconds=2", "users=20", "new=2"]
    done = run(["eval/serving_changes.py", "eval/serving_changes_demo.yaml", *quick], tmp_path)
    out = tmp_path / "runs" / "serving_changes_demo.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    document = json.loads(out.read_text())
    assert document["failed"] == document["mixed"] == 0
    assert document["catalogs"] >= 1
    changes = document["changes"]
    assert changes["reloads"] == changes["adds"] >= 1
    assert changes["removes"] == 2 * changes["adds"]


@pytest.mark.slow
def test_distill_demo_then_again(tmp_path):
    shop = ["data.shop.items=80", "data.shop.users=200", "fit.validation_users=50"]
    shop += ["fit.training.max_steps=10", "fit.language_model.compact.layers=2"]
    run(["train/sft.py", "train/sft_demo.yaml", *shop, "out=runs/sft_demo_3"], tmp_path)
    recipe = ["train/distill.py", "train/distill_demo.yaml", "layers=[1]", "rank_users=50"]
    short = "student.training.max_steps=4"
    done = run([*recipe, short], tmp_path)
    out = tmp_path / "runs" / "distill_demo.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    first = json.loads(out.read_text())["rows"]
    assert [row["layers"] for row in first.values()] == [2, 1, 1]
    assert list(first) == ["teacher", "distilled-1", "fine-tuned-1"]
    assert first["distilled-1"]["parameters"] < first["teacher"]["parameters"]
    student = tmp_path / "runs" / "distill_demo" / "distilled-1"
    made = (student / "recommender.json").read_bytes()
    run([*recipe, short], tmp_path)
    assert (student / "recommender.json").read_bytes() == made, "a student that is there stays"
    other = run([*recipe, "student.training.max_steps=5"], tmp_path, expect=2)
    assert "something other than this student" in other.stderr


@pytest.mark.slow
def test_speed_smoke_then_again(tmp_path):
    done = run(["eval/speed.py", "eval/speed_smoke.yaml"], tmp_path)
    runs = tmp_path / "runs"
    assert (runs / "speed_smoke.md").read_text().strip() == done.stdout.strip()
    assert {path.suffix for path in runs.iterdir()} == {".json", ".md", ".png", ".svg"}
    cells = json.loads((runs / "speed_smoke.json").read_text())["cells"]
    [reference] = [cell["result"] for cell in cells if "named/reference" in cell["names"]]
    searches = (
        "generate, callback",
        "generate, processor",
        "generate, prompt cache",
        "genrec, vocabulary",
    )
    for name in searches:
        assert reference["contenders"][name]["same_lists"] == 1
    found = [
        cell["result"][key]
        for cell in cells
        for key in ("contenders", "filters")
        if key in cell["result"]
    ]
    assert {found["invalid"] for part in found for found in part.values()} == {0, None}
    again = run(["eval/speed.py", "eval/speed_smoke.yaml", "cells=users"], tmp_path)
    assert again.stdout == done.stdout
    assert again.stderr.count("measured before") == 2


def test_reading_smoke(tmp_path):
    done = run(["eval/reading.py", "eval/reading_smoke.yaml"], tmp_path)
    runs = tmp_path / "runs"
    assert (runs / "reading_smoke.md").read_text() == done.stdout
    points = json.loads((runs / "reading_smoke.json").read_text())["points"]
    assert list(points) == ["plain", "quoted"]
    assert all((point["items"], point["events"]) == (100, 2000) for point in points.values())
    assert all(0.01 < point["peak_gib"] < 4 for point in points.values())


@pytest.mark.slow
def test_scale_smoke(tmp_path):
    done = run(["eval/scale.py", "eval/scale_smoke.yaml"], tmp_path)
    runs = tmp_path / "runs"
    assert (runs / "scale_smoke.md").read_text() == done.stdout
    assert {path.suffix for path in runs.iterdir()} == {".json", ".md", ".png", ".svg"}
    points = json.loads((runs / "scale_smoke.json").read_text())["points"]
    assert [point["items"] for point in points] == [500, 2000]
    assert all(0.05 < point["peak_gib"] < 4 for point in points)
    again = ["measured=runs/scale_smoke.json", "out=runs/again.json"]
    assert run(["eval/scale.py", "eval/scale_smoke.yaml", *again], tmp_path).stdout == done.stdout
    assert (runs / "again.svg").read_bytes() == (runs / "scale_smoke.svg").read_bytes()
    assert not (runs / "again.json").exists()


@pytest.mark.slow
def test_components_demo_then_its_rows_in_a_table(tmp_path):
    shop = ["data.shop.items=80", "data.shop.users=200"]
    short = ["fit.training.max_steps=20", "fit.training.validations=1", "fit.validation_users=50"]
    text = ["fit.text_model.training.min_steps=20", "fit.text_model.training.epochs=1"]
    run(["train/sft.py", "train/sft_demo.yaml", *shop, *short, *text], tmp_path)
    quick = ["baseline.training.min_steps=20", "baseline.training.validations=1"]
    run(["train/baseline.py", "train/baseline_demo.yaml", *shop, *quick], tmp_path)
    done = run(["eval/components.py", "eval/components_demo.yaml"], tmp_path)
    out = tmp_path / "runs" / "components_demo.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    placed = "sasrec in the language model's place"
    assert rows["genrec"]["weights"].keys() == rows[placed]["weights"].keys()
    assert sum(rows[placed]["weights"].values()) == pytest.approx(1)
    made = {
        "genrec": "components_demo_genrec",
        "genrec without the language model": "components_demo_without_the_language_model",
        "SASRec in its place": "components_demo_sasrec_in_the_language_models_place",
    }
    cases = {name: f"runs/{stem}.parquet" for name, stem in made.items()}
    words = [f"cases={json.dumps(cases)}", "collect=true", "against=genrec"]
    words += ["ranks=runs/ranks.parquet", "out=runs/table.md"]
    lines = run(["eval/table.py", *words], tmp_path).stdout.splitlines()
    found = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    for name, row in zip(made, ("genrec", "without the language model", placed), strict=True):
        assert f"| {rows[row]['metrics']['ndcg@10']:.4f} (" in found[name]
    lost = rows["without the language model"]["differences"]["ndcg@10"]["value"]
    assert f"| {-lost:+.4f} (" in found["genrec without the language model"]
    elsewhere = ["split=valid", "network=runs/sft_demo"]
    refused = run(
        ["eval/components.py", "eval/components_demo.yaml", *elsewhere], tmp_path, expect=2
    )
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("data", ["beauty", "toys"])
def test_the_published_table_follows_from_the_ranks_beside_it(data, tmp_path):
    done = run(["eval/table.py", f"eval/table_{data}.yaml"], tmp_path)
    published = (ROOT / "eval" / "README.md").read_text()
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) > 8
    assert [row for row in rows if row not in published] == []


def test_a_missing_file_is_one_clear_line(tmp_path):
    inside = tmp_path / "nothing" / "beside"
    inside.mkdir(parents=True)
    done = run(["tokenizers/fit.py", "tokenizers/fit_rqkmeans.yaml"], inside, expect=2)
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ../shared/data/beauty/items.jsonl.gz")


class Toy(Settings):
    """Settings of a recipe that only records them."""

    data: DataSettings = DataSettings(shop=SyntheticShop(items=60, users=10))
    """Where from."""
    steps: int = 1
    """How many."""
    overwrite: bool = False
    """Whether."""


def recorded(*words):
    calls = []
    run_recipe(calls.append, Toy, words)
    [config] = calls
    return config


def test_words_override_the_yaml_file(tmp_path):
    (tmp_path / "toy.yaml").write_text("steps: 5\n")
    path = str(tmp_path / "toy.yaml")
    assert recorded(path).steps == 5
    assert recorded(path, "steps=7", "data.shop.items=61").data.shop.items == 61
    assert recorded("steps=7") == Toy(steps=7)
    assert recorded("--steps=7", "--overwrite") == Toy(steps=7, overwrite=True)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("bad"), 2, "Error: bad\n"),
        (DataError("bad"), 2, "Error: bad\n"),
        (GenrecError("bad"), 1, "genrec failed: bad\n"),
    ],
)
def test_errors_become_a_line_and_a_status(error, status, line, capsys):
    def main(config):
        raise error

    with pytest.raises(SystemExit) as exit_:
        run_recipe(main, Toy, ["steps=1"])
    assert exit_.value.code == status
    assert capsys.readouterr().err == line


def test_an_unknown_setting_is_refused_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as exit_:
        recorded("stepps=3")
    assert exit_.value.code == 2
    assert "did you mean 'steps'?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--help"], ["steps=1", "-h"]])
def test_help_names_every_setting(words, capsys):
    run_recipe(lambda config: pytest.fail("must not run"), Toy, words)
    shown = capsys.readouterr().out
    assert re.search(r"steps +How many\.", shown)
    assert "The recipes" in shown


def test_data_settings_read_files_and_shops_alike(tmp_path):
    shop = SyntheticShop(items=60, users=20)
    items, interactions = generate(shop).write(tmp_path)
    made, made_log = DataSettings(shop=shop).read()
    read, read_log = DataSettings(items=items, interactions=interactions).read()
    assert read.item_ids == made.item_ids
    np.testing.assert_array_equal(read_log.histories.items, made_log.histories.items)


@pytest.mark.parametrize(
    "values",
    [{}, {"items": "a.csv"}, {"interactions": "b.csv"}, {"items": "a.csv", "shop": {}}],
    ids=["nothing", "no log", "no catalog", "both"],
)
def test_data_settings_want_two_files_or_a_shop(values):
    with pytest.raises(ValueError, match="either items and interactions"):
        DataSettings.model_validate(values)


@pytest.mark.slow
def test_joint_demo_then_zero_shot_demo(tmp_path):
    quick = ["fit.training.max_steps=20", "fit.training.min_steps=20", "fit.validation_users=50"]
    done = run(["train/joint.py", "train/joint_demo.yaml", *quick], tmp_path)
    assert done.stdout.rstrip().endswith("recommenders in runs/joint_demo: large, small")
    words = [
        "data.shop.items=80",
        "data.shop.users=60",
        "shares=[0.5]",
        "fit.training.max_steps=5",
        "further=[training.max_steps=5]",
        "baseline.training.max_steps=5",
    ]
    done = run(["eval/zero_shot.py", "eval/zero_shot_demo.yaml", *words], tmp_path)
    out = tmp_path / "runs" / "zero_shot_demo.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    assert set(json.loads(out.read_text())) == {"config", "seen items left out", "seen items kept"}
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")]
    assert rows.count("genrec, transferred, 50 % of the log") == 2
    assert rows.count("SASRec, 50 % of the log") == 2
    again = run(["eval/zero_shot.py", "eval/zero_shot_demo.yaml", *words], tmp_path)
    columns = [line.split("|")[1:4] for line in done.stdout.splitlines()]
    assert [line.split("|")[1:4] for line in again.stdout.splitlines()] == columns


@pytest.mark.slow
def test_joint_opposite_demo_then_adapters_demo(tmp_path):
    quick = ["fit.training.max_steps=10", "fit.training.min_steps=10", "fit.validation_users=20"]
    quick += ["catalogs.onward.shop.users=80", "catalogs.backward.shop.users=80"]
    run(["train/joint.py", "train/joint_opposite_demo.yaml", *quick], tmp_path)
    words = [
        "data.shop.items=80",
        "data.shop.users=60",
        "shares=[0.5]",
        "adapter.training.max_steps=4",
        "weights.training.max_steps=4",
        "further=[training.max_steps=4]",
    ]
    done = run(["train/adapters.py", "train/adapters_demo.yaml", *words], tmp_path)
    out = tmp_path / "runs" / "adapters_demo.json"
    assert out.with_suffix(".md").read_text().strip() == done.stdout.strip()
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")]
    assert rows[2:6] == [
        "base",
        "single adapter of all domains",
        "adapter onward",
        "adapter backward",
    ]
    assert {"equal weights", "weights learned on 50 % of the log"} < set(rows)
    assert {"adapter of its own on 50 % of the log", "TF-IDF neighbours"} < set(rows)
    kept = sorted(path.name for path in (tmp_path / "runs" / "adapters_demo").iterdir())
    assert kept == [
        "adapters",
        "further_base_0.5",
        "further_equal_weights_0.5",
        "further_learned_0.5",
        "further_single_adapter_0.5",
        "learned_0.5",
    ]
    again = run(["train/adapters.py", "train/adapters_demo.yaml", *words], tmp_path)
    columns = [line.split("|")[1:4] for line in done.stdout.splitlines()]
    assert [line.split("|")[1:4] for line in again.stdout.splitlines()] == columns
    words[3] = "adapter.training.max_steps=5"
    other = run(["train/adapters.py", "train/adapters_demo.yaml", *words], tmp_path, expect=2)
    assert "holds an adapter of another base or other settings" in other.stderr
