"""The page in a real browser, from the token to the tree; skipped where there is none.

Needs the package playwright, which the extra dev has, and a Chromium on the PATH.
"""

import re
import shutil

import pyarrow as pa
import pytest

from genrec.data import Catalog
from genrec.recommender.nearest_items import NearestItem
from genrec.recommender.titles import WrittenTitle, write_titles

from .conftest import TOKEN, Stand, listening

playwright = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")

HOSTILE = "<img src=x onerror=alert(1)//<>"
"""Live in HTML, and left in titles, which lose tags that are plainly written."""


class Writer(Stand):
    """Writes one title for whoever has a history."""

    def write(self, histories, n, settings):
        if not len(histories.items):
            return write_titles(self.recommender, histories, n, settings)
        near = NearestItem("P0001", f"near {HOSTILE}", 0.625)
        return [[WrittenTitle(f"written {HOSTILE}", -2.5, (near,))] for _ in histories]


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on the PATH (on Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(recommender, make_app):
    """A server whose every title is hostile."""
    table = recommender.catalog.table
    titles = pa.array([f"{title} {HOSTILE}" for title in recommender.catalog.titles])
    table = table.set_column(table.column_names.index("title"), "title", titles)
    hostile = recommender.changed(
        catalog=Catalog.from_table(table),
    )
    with listening(make_app(Writer(hostile), tokens=[TOKEN])) as url:
        yield url


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop", "phone"])
def page(request, browser, address):
    """The page after its token was given; whatever went wrong in it fails the test."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    context.set_default_timeout(10_000)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto(address)
    for token in ("not-the-token", TOKEN):
        page.fill("#token", token)
        page.keyboard.press("Enter")
        if token != TOKEN:
            page.get_by_text("does not know this token").wait_for()
    page.locator("#recommended li").first.wait_for()
    yield page
    assert [words for words in wrong if not re.search("status of (401|422)", words)] == []
    assert page.locator("img").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    context.close()


def add(page, item_id, recommender):
    title = recommender.catalog.titles[recommender.catalog.item_ids.index(item_id)]
    page.fill("#words", title)
    page.keyboard.press("Enter")
    page.locator("#found li", has_text=item_id).get_by_role("button").click()


def test_the_token_stays_in_the_tab(page):
    assert page.locator("#token-form").is_hidden()
    assert page.evaluate("() => [localStorage.length, document.cookie]") == [0, ""]


def test_a_history_is_built_and_answered_with_what_is_shared(page, recommender):
    for place, item in enumerate(["P0001", "P0002"]):
        add(page, item, recommender)
        page.get_by_text(f"for a history of {place + 1} item").wait_for()
    [found] = recommender.recommend([["P0001", "P0002"]], k=10)
    rows = page.locator("#recommended > li")
    assert rows.count() == len(found)
    codes = dict(
        zip(recommender.catalog.item_ids, recommender.semantic_ids.codes.tolist(), strict=True)
    )
    for row, item in zip(rows.all(), found, strict=True):
        words = row.inner_text()
        assert f"{item.title} {HOSTILE}" in words
        assert f"{item.item_id} · score {item.score:.2f}" in words
        shared = max(same(codes[item.item_id], codes[other]) for other in ("P0001", "P0002"))
        first = row.locator(".codes").first
        assert first.locator(".code").all_inner_texts() == list(map(str, codes[item.item_id]))
        assert first.locator(".same").count() == shared


def test_reasons_are_told_in_words(page, recommender):
    history = ["P0001", "P0002", "P0003"]
    for place, item in enumerate(history):
        add(page, item, recommender)
        page.get_by_text(f"for a history of {place + 1} item").wait_for()
    [found] = recommender.recommend([history], k=10, explain=2)
    lengths = set()
    for row, item in zip(page.locator("#recommended > li").all(), found, strict=True):
        told = [f"{r.title} {HOSTILE}" for r in item.reasons]
        falls = [f"by {-r.score_change:.2f}" for r in item.reasons]
        first = [f"Without {told[0]} its score would fall {falls[0]}"] if told else []
        rest = [f"without {t} {f}" for t, f in zip(told[1:], falls[1:], strict=True)]
        words = "; ".join(first + rest) or "No single item of the history raises its score"
        assert row.locator(".reasons").inner_text() == f"{words}."
        lengths.add(len(told))
    assert max(lengths) == 2
    page.click("#clear")
    page.get_by_text("for an empty history").wait_for()
    assert page.locator(".reasons").count() == 0


def test_search_history_and_answers_need_no_mouse(page, recommender):
    """From the top of the page on, nothing but keys: words, items, a condition, the tree."""
    page.evaluate("() => document.activeElement.blur()")
    for place, item in enumerate(["P0001", "P0002"]):
        tab_to(page, "#words")
        page.keyboard.press("Control+A")
        page.keyboard.type(recommender.catalog.titles[recommender.catalog.index_of([item])[0]])
        page.keyboard.press("Enter")
        page.locator("#found li", has_text=item).wait_for()
        tab_to(page, f"#found li:has-text('{item}') button")
        page.keyboard.press("Enter")
        page.get_by_text(f"for a history of {place + 1} item").wait_for()
    assert page.locator("#history small").all_inner_texts() == ["P0001", "P0002"]
    best = page.locator("#recommended > li").first
    [found] = recommender.recommend([["P0001", "P0002"]], k=1)
    assert f"score {found[0].score:.2f}" in best.inner_text()
    assert "its score would fall by" in best.inner_text()
    tab_to(page, "#where")
    page.keyboard.type("price<40")
    tab_to(page, "#options button")
    page.keyboard.press("Space")
    [cheap] = recommender.recommend([["P0001", "P0002"]], k=10, where=["price<40"])
    page.locator("#recommended > li", has_text=cheap[0].item_id).first.wait_for()
    page.wait_for_function(
        "n => document.querySelectorAll('#recommended > li').length === n", arg=len(cheap)
    )
    tab_to(page, "#write")
    page.keyboard.press("Enter")
    page.locator("#titles li").first.wait_for()
    tab_to(page, "#blocks button")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('#path li').length > 1")


def tab_to(page, selector):
    """Press Tab until something that the selector names has the focus, around the page once at most."""
    wanted = page.locator(selector).first.element_handle()
    for _ in range(150):
        if page.evaluate("element => element === document.activeElement", wanted):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"no key leads to {selector}")


def same(one, other):
    """How many first codes are equal."""
    differ = [
        level for level, pair in enumerate(zip(one, other, strict=True)) if len(set(pair)) == 2
    ]
    return differ[0] if differ else len(one)


def test_the_history_is_changed_by_keyboard(page, recommender):
    for item in ("P0001", "P0002", "P0003"):
        add(page, item, recommender)
    ids = page.locator("#history small")
    page.locator("#history li").nth(2).get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert ids.all_inner_texts() == ["P0003", "P0001", "P0002"]
    page.locator("#history li").nth(1).get_by_role("button", name="Remove").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    assert ids.all_inner_texts() == ["P0003"]
    page.get_by_text("for a history of 1 item").wait_for()


def test_a_query_that_changes_nothing_is_said(page):
    page.fill("#query", "xyzzy")
    page.click("#options button")
    page.locator("#recommend-status", has_text="But the query 'xyzzy' changes nothing").wait_for()
    page.fill("#query", "tent")
    page.click("#options button")
    page.locator("#recommended", has_text="Tent").wait_for()
    page.wait_for_function(
        "() => !document.querySelector('#recommend-status').textContent.includes('But')"
    )


def test_errors_and_missing_titles_are_said_in_words(page):
    page.fill("#where", "prise<20")
    page.click("#options button")
    page.locator("#recommend-error", has_text="prise").wait_for()
    page.click("#write")
    page.locator("#titles-status", has_text="has not learned to write titles").wait_for()


def test_titles_are_shown_with_the_items_nearest_to_them(page, recommender):
    add(page, "P0001", recommender)
    page.click("#write")
    page.get_by_text("Likeliest first").wait_for()
    words = page.locator("#titles li").inner_text()
    assert f"written {HOSTILE}" in words
    assert f"nearest items: near {HOSTILE} (0.63)" in words
    assert "-2.50" in words
    add(page, "P0002", recommender)
    page.locator("#titles-status", has_text="write anew").wait_for()
    assert page.locator("#titles li").count() == 0


def test_the_tree_is_opened_down_to_an_item(page, recommender):
    blocks = page.locator("#blocks button")
    assert blocks.count() == len(set(recommender.semantic_ids.codes[:, 0].tolist()))
    blocks.first.focus()
    for key, place in {
        "ArrowRight": 1,
        "End": blocks.count() - 1,
        "ArrowUp": -2,
        "Home": 0,
    }.items():
        page.keyboard.press(key)
        focused = page.evaluate("() => document.activeElement.ariaLabel")
        assert focused == blocks.all()[place].get_attribute("aria-label")
        assert page.locator("#blocks [tabindex='0']").get_attribute("aria-label") == focused
    for depth in range(1, recommender.semantic_ids.codes.shape[1] + 1):
        page.keyboard.press("Enter")
        page.wait_for_function(
            "depth => document.querySelectorAll('#path li').length > depth"
            " || !document.querySelector('#leaf').hidden",
            arg=depth,
        )
        if page.locator("#leaf").is_visible():
            break
    assert HOSTILE in page.locator("#leaf h3").inner_text()
    page.locator("#leaf button").click()
    assert page.locator("#history li").count() == 1
    page.locator("#blocks .marked").first.wait_for()
