"""The report of an evaluation: whole, self-contained, and safe whatever the titles say."""

import copy
import re
from xml.etree import ElementTree

import pytest

from genrec.cli.pages.evaluation_document import report_document
from genrec.cli.pages.evaluation_page import evaluation_page
from genrec.recommender.measure import judge_of, measure
from genrec.testing.pages import Page

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> "A" & \'B\''


@pytest.fixture(scope="module")
def results(recommender):
    mine, baselines = measure(recommender, baselines=True)
    return [mine, *baselines]


@pytest.fixture(scope="module")
def document(recommender, results):
    return report_document(recommender, "shop", results)


def test_the_page_holds_every_section(document, results):
    page = Page(evaluation_page(document))
    for title in (
        "Evaluation of shop",
        "Results",
        "Better, or lucky?",
        "By kind of case",
        "Recall at k",
        "What is shown",
        "Training",
        "Users",
        "Cost",
    ):
        assert title in page.text
    for result in results:
        low, high = result.confidence["recall@10"]
        assert f"{result.metrics['recall@10']:.4f} ({low:.4f} to {high:.4f})" in page.text
    assert results[0].protocol.data_hash in page.text
    assert "None" not in page.text
    assert "nan" not in page.text


def test_the_curve_ends_where_the_table_stands(document, results):
    for result in results:
        curve = document["recall"][result.name]
        assert len(curve) == 10
        assert curve == sorted(curve)
        assert curve[4] == pytest.approx(result.metrics["recall@5"])
        assert curve[9] == pytest.approx(result.metrics["recall@10"])


def test_ten_users_half_of_them_with_a_hit(document, recommender, results):
    examples = document["examples"]
    titles = recommender.catalog.titles
    assert len(examples) == 10
    assert sum(example["place"] is not None for example in examples) == 5
    cases = judge_of(recommender).cases
    known = {tuple(titles[item] for item in history) for history in cases.histories}
    for example in examples:
        assert tuple(example["history"]) in known
        marked = [place for place, (_, hit) in enumerate(example["recommended"], 1) if hit]
        assert marked == ([] if example["place"] is None else [example["place"]])
        for place in marked:
            assert example["recommended"][place - 1][0] == example["target"]
    assert evaluation_page(document).count("✔") == 5
    assert document["hit_share"] == (results[0].ranks < 10).mean()


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(document):
    text = evaluation_page(document)
    tags = Page(text).tags
    assert not {"script", "link", "img", "iframe", "object", "image"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == 4
    for plot in plots:
        ElementTree.fromstring(plot)
        assert "currentColor" in plot
        assert "#000000" not in plot


def test_words_from_outside_cannot_become_markup(document):
    spoilt = copy.deepcopy(document) | {"name": HOSTILE}
    example = {"history": [HOSTILE] * 20, "target": HOSTILE, "place": 1}
    spoilt["examples"] = [example | {"recommended": [(HOSTILE, True), (HOSTILE, False)]}]
    for result in spoilt["results"]:
        result["name"] = HOSTILE + "$x$"
    spoilt["recall"] = {HOSTILE + "_$x^$": spoilt["recall"]["genrec"]}
    spoilt["differences"] = {HOSTILE: next(iter(spoilt["differences"].values()))}
    page = Page(evaluation_page(spoilt))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.text.count("<script>alert(1)</script>") >= 15
    assert "… 8 earlier" in page.text


def test_a_page_of_a_recommender_alone_that_kept_nothing_of_its_fit(document):
    bare = copy.deepcopy(document) | {"differences": {}, "calibration": None, "fit": {}}
    bare |= {"examples": [], "results": bare["results"][:1]}
    for part in bare["results"][0]["slices"].values():
        part["cases"] = 0
    page = Page(evaluation_page(bare))
    for title in ("Better, or lucky?", "By kind of case", "Training", "Users"):
        assert title not in page.text
    assert "None" not in page.text


def test_the_same_document_makes_the_same_page(document):
    assert evaluation_page(document) == evaluation_page(copy.deepcopy(document))


def test_the_command_writes_the_page(command, recommender_folder, tmp_path):
    target = tmp_path / "deep" / "report.html"
    answer = command("evaluate", recommender_folder, "--report", target, "--json", "-")
    assert answer.status == 0
    assert answer.json["users"] == 300
    assert f"Evaluation of {recommender_folder.name}" in Page(target.read_text("utf-8")).text
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]
    refused = command("evaluate", recommender_folder, "--report", tmp_path / "report.pdf")
    assert refused.status == 2
    assert "so name it something.html" in refused.message
