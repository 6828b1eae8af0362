"""The command: its documents, its tables, its help."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import typer
from rich.console import Console

from genrec import SyntheticShop
from genrec.cli import app, demo
from genrec.cli.inspect import inspection_tables
from genrec.data import Interactions, synthetic
from genrec.data.split_settings import SplitSettings
from genrec.evaluation import Protocol, evaluate
from genrec.evaluation.case_files import read_cases
from genrec.fitting.baselines.fit import BaselineSettings
from genrec.fitting.baselines.folder import fit_baseline_folder
from genrec.recommender.inspection import inspect_recommender

COMMANDS = [
    "demo",
    "fit",
    "refit",
    "transfer",
    "adapters",
    "evaluate",
    "recommend",
    "titles",
    "inspect",
    "export",
    "items",
    "serve",
]
INNER = ["adapters fit", "adapters combine", "items add", "items remove"]
HISTORY = "P0001,P0002,P0003"


def plain(text):
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def test_help_names_the_commands_that_work(command):
    answer = command("--help")
    assert (answer.status, answer.err) == (0, "")
    assert re.findall(r"^│ ([a-z]+)\s", answer.out.split("Commands")[1], re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS + INNER)
def test_help_of_each_command_shows_an_example(name, command):
    answer = command(*name.split(), "--help")
    assert (answer.status, answer.err) == (0, "")
    assert f"Example genrec {name}" in plain(answer.out).replace("Examples", "Example")


def every_command(group):
    """The commands of a group, and those of the groups in it."""
    for found in group.commands.values():
        yield found
        if hasattr(found, "commands"):
            yield from every_command(found)


def examples():
    """Every ``genrec …`` in the commands' epilogs."""
    for one in every_command(typer.main.get_command(app)):
        text = re.sub(r"\[/?bold\]", "", one.epilog)
        for found in re.findall(r"genrec (.+?)(?=$|\n|   then )", text):
            yield found.replace(" … ", " --items i --interactions c ")


def test_there_are_examples():
    assert len(list(examples())) >= len(COMMANDS) + 3


@pytest.mark.parametrize("example", examples())
def test_every_example_parses(example):
    group, [name, *words] = typer.main.get_command(app), shlex.split(example)
    while hasattr(found := group.commands[name], "commands"):
        group, [name, *words] = found, words
    found.make_context(name, words)


def test_version_and_no_arguments(command):
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", command("--version").out)
    assert "Usage" in command().out + command().err


def test_recommend_prints_one_document(command, recommender_folder, recommender):
    answer = command("recommend", recommender_folder, "--history", HISTORY, "-k", 4, "--json")
    assert answer.status == 0
    expected = recommender.recommend([HISTORY.split(",")], k=4)[0]
    assert answer.json == {"recommendations": [item.facts() for item in expected]}
    assert [list(item) for item in answer.json["recommendations"]] == [
        ["item_id", "title", "score", "basis"]
    ] * 4


def test_recommend_prints_a_table(command, recommender_folder, recommender):
    answer = command("recommend", recommender_folder, "--history", HISTORY, "-k", 4)
    for item in recommender.recommend([HISTORY.split(",")], k=4)[0]:
        assert item.item_id in answer.out
        assert item.title in answer.out


def test_recommend_explains(command, recommender_folder, recommender):
    words = ["recommend", recommender_folder, "--history", HISTORY, "-k", 4, "--explain", 2]
    [expected] = recommender.recommend([HISTORY.split(",")], k=4, explain=2)
    assert command(*words, "--json").json == {
        "recommendations": [
            item.facts() | {"reasons": [vars(reason) for reason in item.reasons]}
            for item in expected
        ]
    }
    table = command(*words).out
    reasons = [reason for item in expected for reason in item.reasons]
    assert reasons
    for reason in reasons:
        assert f"{reason.title}: {reason.score_change:.3f}" in table
    assert "without" not in command(*words[:-2]).out


def test_recommend_for_nobody_in_particular(command, recommender_folder, recommender):
    answer = command("recommend", recommender_folder, "--history", "", "-k", 3, "--json")
    assert answer.json["recommendations"] == [
        i.facts() for i in recommender.recommend([[]], k=3)[0]
    ]


def test_recommend_filters(command, recommender_folder, recommender):
    def ask(*words):
        answer = command(
            "recommend", recommender_folder, "--history", HISTORY, "-k", 120, "--json", *words
        )
        return [item["item_id"] for item in answer.json["recommendations"]]

    everything, seen = set(recommender.catalog.item_ids), set(HISTORY.split(","))
    assert set(ask()) == everything - seen
    assert set(ask("--keep-seen")) == everything
    assert set(ask("--deny", "P0004, P0005")) == everything - seen - {"P0004", "P0005"}
    assert set(ask("--allow", "P0004,P0005,P0001")) == {"P0004", "P0005"}
    assert ask("--allow", "P0004,P0005", "--deny", "P0005") == ["P0004"]
    assert set(ask("--allow", "P0001,P0004", "--keep-seen")) == {"P0001", "P0004"}
    assert ask("--allow", "") == []


def test_recommend_many_with_columns_of_another_name(
    command, recommender_folder, recommender, tmp_path
):
    users = tmp_path / "users.tsv"
    rows = "customer\tasin\twhen\nu1\tP0002\t9\nu1\tP0001\t3\nu2\tP0004\t1\nu2\tgone\t2\n"
    users.write_text(rows)
    words = ["--user-id", "customer", "--item-id", "asin", "--timestamp", "when", "-k", 2]
    words += ["--unknown-items", "drop", "--input", users]
    found = recommender.recommend([["P0001", "P0002"], ["P0004"]], k=2)
    answer = command("recommend", recommender_folder, *words, "--json")
    assert answer.status == 0
    assert answer.json == [
        {"user_id": user, "recommendations": [item.facts() for item in row]}
        for user, row in zip(("u1", "u2"), found, strict=True)
    ]
    target = tmp_path / "out.jsonl"
    answer = command("recommend", recommender_folder, *words, "--output", target)
    assert (answer.status, answer.out) == (0, "")
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {"user_id": user, "recommendations": [item.facts() for item in row]}
        for user, row in zip(("u1", "u2"), found, strict=True)
    ]


def test_evaluate_prints_the_document(command, recommender_folder, recommender):
    words = ["evaluate", recommender_folder, "--k", 5, "--k", 20, "--baselines", "--json", "-"]
    document = command(*words).json
    keys = {"protocol", "metrics", "confidence", "baselines", "users", "invalid"}
    assert document.keys() == keys | {"rates", "slices", "differences"}
    assert (document["users"], document["invalid"]) == (300, 0)
    facts = {"name": "leave-one-out", "split": "test", "ks": [5, 20], "exclude_seen": True}
    assert document["protocol"].items() >= facts.items()
    assert {"recall@5", "ndcg@5", "recall@20", "ndcg@20"} <= set(document["metrics"])
    for name, (low, high) in document["confidence"].items():
        assert 0 <= low <= document["metrics"][name] <= high <= 1
    assert "popularity" in document["baselines"]
    for name, metrics in document["baselines"].items():
        assert metrics.keys() == document["metrics"].keys() - {"ece"}
        assert 0 < document["differences"][name]["recall@5"]["p"] <= 1
    assert 0 <= document["metrics"]["ece"] < 1
    assert document["slices"]["head"]["cases"] + document["slices"]["tail"]["cases"] == 300


def test_evaluate_on_validation_repeats_what_the_fit_measured(
    command, recommender_folder, recommender
):
    document = command("evaluate", recommender_folder, "--split", "valid", "--json", "-").json
    measured = recommender.metrics["validation"]
    assert document["metrics"].items() >= measured["metrics"].items()
    assert document["confidence"] == measured["confidence"]
    assert document["protocol"] == measured["protocol"]
    assert document["baselines"] == {}


def test_evaluate_writes_the_document(command, recommender_folder, tmp_path):
    target = tmp_path / "deep" / "result.json"
    answer = command("evaluate", recommender_folder, "--json", target, "--keep-seen")
    document = json.loads(target.read_text())
    assert document["protocol"]["exclude_seen"] is False
    assert f"{document['metrics']['recall@10']:.4f}" in answer.out
    assert [path.name for path in target.parent.iterdir()] == ["result.json"]


def test_evaluate_shows_what_each_part_brings(command, recommender_folder, tmp_path):
    plain = command("evaluate", recommender_folder, "--json", "-").json
    words = ["evaluate", recommender_folder, "--components", "--baselines"]
    document = command(*words, "--json", "-").json
    assert {name: document[name] for name in plain.keys() - {"baselines", "differences"}} == {
        name: plain[name] for name in plain.keys() - {"baselines", "differences"}
    }
    assert "popularity" in document["baselines"]
    whole, *rows = document["components"]
    assert (whole["name"], whole["metrics"]) == ("genrec", plain["metrics"])
    assert whole["differences"] is None
    without = {row["name"]: row for row in rows if row["differences"]}
    assert len(without) == len(whole["weights"]) + 1, "one without language model and text model"
    for name, row in without.items():
        assert name.startswith("without the ")
        lost = whole["metrics"]["ndcg@10"] - row["metrics"]["ndcg@10"]
        assert row["differences"]["ndcg@10"]["value"] == pytest.approx(lost)
    page = tmp_path / "report.html"
    answer = command(*words, "--report", page)
    found = without["without the language model"]["differences"]["ndcg@10"]
    for text in (answer.out, page.read_text()):
        assert "What each part brings" in text
        assert f"{found['value']:+.4f}" in text
        assert f"({found['low']:+.4f} to {found['high']:+.4f})" in text
        assert f"{whole['weights']['language_model']:.3f}" in text


@pytest.mark.parametrize("words", [["--split", "valid"], ["--keep-seen"], ["-k", 3, "-k", 30]])
def test_evaluate_takes_parts_apart_in_every_way_that_it_measures(
    command, recommender_folder, words
):
    plain = command("evaluate", recommender_folder, *words, "--json", "-").json
    answer = command("evaluate", recommender_folder, *words, "--components", "--json", "-").json
    assert answer["components"][0]["metrics"] == answer["metrics"] == plain["metrics"]
    assert answer["protocol"] == plain["protocol"]


def test_evaluate_writes_every_case(command, recommender_folder, recommender, tmp_path):
    target = tmp_path / "deep" / "cases.parquet"
    document = command("evaluate", recommender_folder, "--cases", target, "--json", "-").json
    assert document["metrics"] == read_cases(target).metrics
    table = pq.read_table(target)
    assert set(table["target_item_id"].to_pylist()) <= set(recommender.catalog.item_ids)
    assert len(set(table["user_id"].to_pylist())) == 300


def test_evaluate_compares_two(command, recommender_folder, tmp_path):
    other = shutil.copytree(recommender_folder, tmp_path / "other")
    answer = command("evaluate", recommender_folder, other, "--json", "-")
    assert answer.json["other"]["name"] == "other"
    assert answer.json["other"]["metrics"] == answer.json["metrics"]
    for found in answer.json["other"]["differences"].values():
        assert found == {"value": 0, "low": 0, "high": 0, "p": 1}
    answer = command("evaluate", recommender_folder, other)
    assert "recommender less other" in answer.out
    assert "+0.0000" in answer.out


def test_evaluate_does_not_compare_what_differs(command, recommender, recommender_folder, tmp_path):
    cut = Interactions.of_histories(recommender.catalog, recommender.log.histories.last(5))
    recommender.changed(
        log=cut,
    ).save_pretrained(tmp_path / "cut")
    answer = command("evaluate", recommender_folder, tmp_path / "cut")
    assert answer.status == 2
    assert "recommender and cut cannot be compared: protocol field 'data_hash'" in answer.message


def test_evaluate_compares_with_a_baseline(command, recommender, recommender_folder, tmp_path):
    split = recommender.split
    settings = BaselineSettings.model_validate({"model": {"kind": "item-knn"}})
    N = len(recommender.catalog)
    fitted = fit_baseline_folder(split, N, settings, tmp_path / "knn")
    document = command("evaluate", recommender_folder, tmp_path / "knn", "--json", "-").json
    expected = evaluate(fitted, split.test, Protocol(), N)
    other = document["other"]
    assert other["name"] == "knn"
    assert other["metrics"]["recall@10"] == expected.metrics["recall@10"]
    assert other["protocol"]["data_hash"] == document["protocol"]["data_hash"]
    difference = document["metrics"]["recall@10"] - expected.metrics["recall@10"]
    assert other["differences"]["recall@10"]["value"] == pytest.approx(difference)


def test_evaluate_refuses_a_baseline_of_another_split(
    command, recommender, recommender_folder, tmp_path
):
    split = SplitSettings(protocol="user-holdout").apply(recommender.log, 0)
    settings = BaselineSettings.model_validate({"model": {"kind": "item-knn"}})
    fit_baseline_folder(split, len(recommender.catalog), settings, tmp_path / "knn")
    answer = command("evaluate", tmp_path / "knn")
    assert answer.status == 2
    assert (
        "holds a baseline, which is compared with a recommender: genrec evaluate" in answer.message
    )
    answer = command("evaluate", recommender_folder, tmp_path / "knn")
    assert answer.status == 2
    assert "fitted on another log, split or catalog than the recommender" in answer.message


def test_inspect_prints_the_document(command, recommender_folder, recommender, shop):
    answer = command("inspect", recommender_folder, "--json")
    assert answer.status == 0
    document = answer.json
    facts = {
        "items": 120,
        "users": 300,
        "interactions": len(shop.log),
        "encoder": "tfidf",
        "item_tokenizer": "rqkmeans",
        "codebook_sizes": list(recommender.semantic_ids.codebook_sizes),
        "collision_policy": "nearest_free",
        "backbone": "compact",
    }
    assert document.items() >= facts.items()
    assert document["fit"] == recommender.metrics
    assert document["quality"]["after"]["items"] == 0
    assert len(document["quality"]["levels"]) == len(document["codebook_sizes"])


def test_inspect_prints_tables(command, recommender_folder):
    answer = command("inspect", recommender_folder)
    assert answer.status == 0
    for title in ("Recommender", "Semantic IDs, level by level", "Largest collisions"):
        assert title in answer.out


def test_titles_in_the_tables_are_not_markup(recommender, capsys):
    document = inspect_recommender(recommender)
    titles = ["[/b] cable", "[red]rope"]
    document["quality"]["worst_buckets"] = [{"size": 2, "titles": titles}]
    Console(width=200).print(*inspection_tables(document))
    assert "[/b] cable · [red]rope" in capsys.readouterr().out


def test_the_demo_keeps_what_it_made(tmp_path, monkeypatch, quick_settings, command):
    monkeypatch.setattr(demo, "DEMO_SETTINGS", quick_settings)
    shop = SyntheticShop(items=80, users=120, seed=5)
    out = tmp_path / "demo"
    result = demo.run_demo(out, shop)
    assert {path.name for path in out.iterdir()} == {"items.csv", "interactions.csv", "recommender"}
    assert list(tmp_path.iterdir()) == [out]
    assert (
        0 < result.document["metrics"]["recall@10"] < result.document["best_possible"]["recall@10"]
    )
    again = command("evaluate", out / "recommender", "--baselines", "--json", "-").json
    assert again.items() <= result.document.items()
    asked = ["--history", ",".join(result.document["history"]), "-k", 5, "--json"]
    found = command("recommend", out / "recommender", *asked).json
    assert found["recommendations"] == result.document["recommendations"]
    refit = ["--items", out / "items.csv", "--interactions", out / "interactions.csv"]
    words = ["training.max_steps=2", "training.validations=1", "language_model.compact.width=8"]
    assert command("fit", *refit, "--out", tmp_path / "refit", *words).status == 0


def test_the_demo_prints_one_document(monkeypatch, quick_settings, shop, command):
    monkeypatch.setattr(demo, "DEMO_SETTINGS", quick_settings)
    monkeypatch.setattr(synthetic, "generate", lambda settings: shop)
    document = command("demo", "--json").json
    assert {"metrics", "baselines", "best_possible", "recommendations"} <= set(document)
    answer = command("demo")
    assert answer.status == 0
    assert f"best possible {document['best_possible']['recall@10']:.3f}" in answer.out


def test_fit_says_what_it_read_and_what_is_next(command, shop_files, tmp_path, caplog):
    items, clicks = shop_files
    out = tmp_path / "deep" / "shop"
    words = ["training.max_steps=2", "training.validations=1", "language_model.compact.width=8"]
    with caplog.at_level("INFO", "genrec"):
        answer = command("fit", "--items", items, "--interactions", clicks, "--out", out, *words)
    assert (answer.status, answer.out) == (0, "")
    for said in (f"{items}: 120 of 120 rows read, 120 kept", "300 users", f"recommender in {out}"):
        assert said in caplog.text
    assert [path.name for path in out.parent.iterdir()] == ["shop"]
    assert command("fit", "--items", items, "--interactions", clicks, "--out", out).status == 2
    again = ["--overwrite", "seed=5", *words]
    answer = command("fit", "--items", items, "--interactions", clicks, "--out", out, *again)
    assert answer.status == 0
    assert json.loads((out / "recommender.json").read_text())["settings"]["seed"] == 5
    assert [path.name for path in out.parent.iterdir()] == ["shop"]


def test_a_process_prints_json_alone_and_no_bars_where_nobody_watches(recommender_folder):
    code = "from genrec.cli import main; main()"
    words = ["recommend", str(recommender_folder), "--history", HISTORY, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert len(json.loads(done.stdout)["recommendations"]) == 10
    assert done.stderr == ""


def test_importing_genrec_is_quick():
    code = "import time; t = time.perf_counter(); import genrec; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(5)]
    assert min(float(run.stdout) for run in runs) < 0.3


def test_help_needs_no_heavy_library():
    code = (
        "import sys\n"
        "from genrec.cli import main\n"
        "try:\n    main(['fit', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'faiss', 'duckdb', 'pyarrow', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_logs_item_column_may_have_another_name(command, shop_files, tmp_path):
    items, log = shop_files
    other = tmp_path / "log.csv"
    text = log.read_text(encoding="utf-8")
    other.write_text(text.replace("item_id", "sku", 1), encoding="utf-8")
    out = tmp_path / "out"
    words = ["--items", items, "--interactions", other, "--out", out, "training.max_steps=1"]
    assert command("fit", *words).status == 2
    assert command("fit", *words, "--log-item-id", "sku").status == 0
    assert (out / "recommender.json").is_file()


@pytest.mark.parametrize(
    ("words", "feed"),
    [
        (("update", "--dry-run"), "item_id,price\nP0001,3\nP0002,4\n"),
        (("update", "--dry-run"), "item_id,brand\nP0001,https://a.com/1\nP0002,https://a.com/2\n"),
        (("update", "--dry-run"), "item_id,brand\nP0001,a;b\nP0002,b;a\n"),
        (("add",), "item_id,brand\nN1,a;b\nN2,b;a\n"),
    ],
)
def test_a_feed_is_not_judged_as_a_catalog(
    tmp_path, command, recommender_folder, caplog, words, feed
):
    path = tmp_path / "feed.csv"
    path.write_text(feed)
    verb, *more = words
    if verb == "add":
        more = ["--out", tmp_path / "out"]
    answer = command("items", verb, recommender_folder, "--items", path, *more)
    assert answer.status == 0, answer
    assert "feed.csv: 2 of 2 rows read, 2 kept" in caplog.text
    for word in ("no item has a title", "no text", "--list-column", "template.fields"):
        assert word not in caplog.text
