"""The HTML report: whole, self-contained, and safe whatever the titles say."""

import copy
import json
import re
import shutil
import sys
from xml.etree import ElementTree

import pytest

from genrec.cli.pages.inspection_page import inspection_page, require_page
from genrec.common.errors import MissingExtraError
from genrec.recommender.inspection import inspect_recommender
from genrec.recommender.tables import read_catalog
from genrec.testing.pages import Page

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> "A" & \'B\''


@pytest.fixture(scope="module")
def document(recommender):
    return inspect_recommender(recommender, against=recommender.semantic_ids)


def test_the_page_holds_every_section(document):
    page = Page(inspection_page(document, "shop"))
    assert ("h1", {}) in page.tags
    for title in (
        "Semantic IDs of shop",
        "Collisions",
        "Use of the codes",
        "What a shared prefix means",
        "Neighbours",
        "Families",
        "Churn",
    ):
        assert title in page.text
    assert f"{document['quality']['before']['share']:.1%}" in page.text
    assert document["families"][0]["titles"][0] in page.text
    assert f"{document['neighbors']['overlap']:.1%}" in page.text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(document):
    text = inspection_page(document, "shop")
    tags = Page(text).tags
    assert not {"script", "link", "img", "iframe", "object", "image"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    links = set(re.findall(r"https?://[^\"'\s<]+", text))
    assert links <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_plots_are_whole_take_the_pages_ink_and_share_no_ids(document):
    plots = re.findall(r"<svg.*?</svg>", inspection_page(document, "shop"), re.DOTALL)
    assert len(plots) >= 3
    ids = [
        element.get("id")
        for number, plot in enumerate(plots)
        for element in ElementTree.fromstring(plot).iter()
        if element.tag.endswith("clipPath") or element.tag.endswith("path")
        if element.get("id")
    ]
    assert len(ids) == len(set(ids))
    for plot in plots:
        assert "currentColor" in plot
        assert "#000000" not in plot


def test_the_same_document_makes_the_same_page(document):
    assert inspection_page(document, "shop") == inspection_page(copy.deepcopy(document), "shop")


def test_text_of_the_catalog_cannot_become_markup(document):
    spoilt = copy.deepcopy(document)
    spoilt["failures"] = [HOSTILE]
    spoilt["encoder"] = spoilt["item_tokenizer"] = spoilt["collision_policy"] = HOSTILE
    spoilt["families"] = [{"prefix": (1,), "size": 3, "titles": [HOSTILE] * 3}]
    spoilt["quality"]["worst_buckets"] = [{"codes": (1, 2), "size": 2, "titles": [HOSTILE] * 2}]
    page = Page(inspection_page(spoilt, HOSTILE))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert "Beyond the quality gate" in page.text


def test_a_page_of_codes_that_no_vector_made(document):
    bare = copy.deepcopy(document)
    bare["quality"] |= {"moves": None, "reconstruction_error": None}
    bare["quality"] |= {"purity": [], "agreement": [], "worst_buckets": []}
    bare |= {"families": [], "churn": None, "neighbors": None}
    page = Page(inspection_page(bare, "shop"))
    assert "Families" not in page.text
    assert "Churn" not in page.text
    assert "None" not in page.text


def test_the_command_writes_the_page(command, recommender_folder, tmp_path):
    target = tmp_path / "deep" / "report.html"
    answer = command("inspect", recommender_folder, "--out", target, "--json")
    assert answer.status == 0
    assert answer.json["churn"] is None
    assert f"Semantic IDs of {recommender_folder.name}" in Page(target.read_text("utf-8")).text
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]
    target.write_text("old")
    assert command("inspect", recommender_folder, "--out", target).status == 0
    assert target.read_text("utf-8") != "old"


def test_against_another_recommender(command, recommender, recommender_folder, tmp_path):
    other = shutil.copytree(recommender_folder, tmp_path / "other")
    answer = command("inspect", recommender_folder, "--against", other, "--json")
    churn = answer.json["churn"]
    assert (churn["common"], churn["added"], churn["changed"]) == (120, 0, 0)
    assert len(churn["levels"]) == len(recommender.semantic_ids.codebook_sizes)
    answer = command("inspect", recommender_folder, "--against", other)
    assert "Churn: 0.0% of 120 common items have other codes" in answer.out


def test_read_catalog_gives_items_and_codes_alone(recommender, recommender_folder):
    catalog, ids = read_catalog(recommender_folder)
    assert catalog.titles == recommender.catalog.titles
    assert ids.item_ids == recommender.semantic_ids.item_ids
    assert (ids.codes == recommender.semantic_ids.codes).all()
    facts = json.loads((recommender_folder / "recommender.json").read_text())["semantic_ids"]
    assert facts == recommender.semantic_ids.describe()
    assert set(facts) == {"codebook_sizes", "policy", "moved"}


def test_without_matplotlib_the_message_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'genrec\[plots\]'"):
        require_page(tmp_path / "report.html")


def test_sizes_of_codebooks_take_little_room(document):
    for sizes, shown in (
        ([256] * 4, "256 codes on each of 4 levels"),
        ([9, 1500], "9 \u00d7 1,500 codes"),
    ):
        page = Page(inspection_page(document | {"codebook_sizes": sizes}, "shop"))
        assert shown in page.text


def test_every_level_has_a_plot_of_its_own_and_ratios_are_readable(document):
    spoilt = copy.deepcopy(document)
    entry = {"length": 1, "pairs": 9, "observed": 0.5, "chance": 0.1, "ratio": 1234.5}
    spoilt["quality"] |= {"purity": [entry, entry | {"length": 2, "ratio": 41.26}], "agreement": []}
    page = Page(inspection_page(spoilt, "shop"))
    names = {attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"}
    drawn = {int(name[-1]) for name in names if name.startswith("use of the codes of level")}
    assert drawn == set(range(len(document["quality"]["levels"])))
    # The table's cell, and the bar's label.
    assert page.words.count("1,234") == page.words.count("41.3") == 2
