"""Words instead of a history, or beside one: fit and product by hand, planted answers, filters."""

import logging
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec import Catalog, InputError
from genrec.recommender.query import MOST_CHARS, QuerySettings, QueryWords, clean_query

TEXTS = ["red wool hat", "red silk scarf", "blue wool scarf", "чай зелёный", "green tea", "tea cup"]
SOLD = np.array([0, 4, 0, 1, 0, 1])


@pytest.fixture
def words():
    return QueryWords.of(TEXTS, SOLD, QuerySettings(power=2, share=0.8))


def test_popularity_leaves_nothing_out(words):
    np.testing.assert_allclose(words.popularity, np.array([1, 5, 1, 2, 1, 2]) / 12)


def test_a_word_fits_the_items_that_have_it(words):
    # All three texts of "wool"/"scarf" have two rare words and ones of equal weight beside them.
    assert np.flatnonzero(words.fit("scarf")).tolist() == [1, 2]
    assert np.flatnonzero(words.fit("A SCARF, please!")).tolist() == [1, 2]
    assert words.fit("blue scarf").argmax() == 2
    assert words.fit("blue scarf").max() == 1
    assert np.flatnonzero(words.fit("чай")).tolist() == [3]
    assert not words.fit("お茶").any()
    assert words.likelihood("spoon") is None


def test_the_product_by_hand(words):
    """Item 2 has every word; what is sold and what the model says decide between 1 and 2."""
    likelihood = words.likelihood("scarf")
    fit, popularity = words.fit("scarf"), np.array([1, 5, 1, 2, 1, 2]) / 12
    factor = 0.2 + 0.8 * fit / (popularity * fit).sum()
    model = np.array([[0.6, 0, 0.4, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0.5, 0, 0, 0]])
    expected = (model + popularity) / 2 * factor
    # What the model did not name counts as not fitting: nothing is missing in the first row.
    total = expected.sum(axis=1) + 0.2 * np.array([0, 1, 0.5]) / 2
    found = likelihood.posterior(model)
    np.testing.assert_allclose(found, expected / total[:, None])
    assert found[0].sum() == pytest.approx(1)
    assert found[0].argmax() == 2, "the history expects it, and the words fit"
    assert found[1].argmax() == 1, "nothing is expected: what sells"


def test_the_basis_is_what_made_most_of_it(words):
    likelihood = words.likelihood("scarf")
    assert likelihood.basis(2, 0.4) == "model and query"
    assert likelihood.basis(1, 0.0) == "query and popularity"
    assert likelihood.basis(0, 0.6) == "model"
    assert likelihood.basis(3, 0.0) == "popularity"


def test_a_word_in_most_texts_is_not_heard():
    texts = [f"brand: {name}" for name in ("Acme", "Acme", "Hollin", "Garrick", "Bay")]
    words = QueryWords.of(texts, np.zeros(5, int), QuerySettings())
    assert words.likelihood("brand") is None
    assert np.flatnonzero(words.fit("brand: acme")).tolist() == [0, 1]


@pytest.mark.parametrize("texts", [["?"], ["tea"], ["?", "!"], ["tea", "tea"]])
def test_catalogs_with_nothing_to_tell_apart(texts):
    words = QueryWords.of(texts, np.zeros(len(texts), int), QuerySettings())
    likelihood = words.likelihood("tea")
    assert (likelihood is not None) == (texts == ["tea"])


@given(st.text(max_size=MOST_CHARS))
def test_whatever_is_asked_is_one_clean_line_or_refused(text):
    if not re.search(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff]", text):
        with pytest.raises(InputError, match="blank"):
            clean_query(text)
        return
    clean = clean_query(text)
    assert clean == " ".join(clean.split())
    assert clean.encode().decode() == clean
    assert clean.isprintable() or not clean.isascii()
    assert clean_query(clean) == clean
    likelihood = QueryWords.of(TEXTS, SOLD, QuerySettings()).likelihood(clean)
    if likelihood is not None:
        found = likelihood.posterior(np.zeros((1, 6)))
        assert np.isfinite(found).all()
        assert (found > 0).all()


@pytest.mark.parametrize("query", ["", " \t\n", "\x00\x1b", "\u3000", "\udc80"])
def test_blank_queries_are_refused(recommender, query):
    with pytest.raises(InputError, match="is blank: say what is wanted in words"):
        recommender.recommend([[]], query=query)


@pytest.mark.parametrize(("query", "says"), [("x" * 1001, "1,001 characters"), (["a"], "one text")])
def test_queries_that_are_none_are_refused(recommender, query, says):
    with pytest.raises(InputError, match=says):
        recommender.recommend([[]], query=query)


def of_type(recommender, kind):
    """Ids of the items whose title names a type of product."""
    pairs = zip(recommender.catalog.item_ids, recommender.catalog.titles, strict=True)
    return {item_id for item_id, title in pairs if kind in title}


KIND = "Sleeping Mat"


@pytest.mark.parametrize("history", [[], ["P0001", "P0002", "P0003"]])
def test_what_was_asked_for_comes_first(recommender, history):
    wanted = of_type(recommender, KIND) - set(history)
    assert 0 < len(wanted) < 30
    found = recommender.recommend([history], k=120, query=KIND.lower())[0]
    assert len(found) == 120 - len(history), "every item has a place"
    top = found[: len(wanted)]
    assert {item.item_id for item in top} == wanted
    assert {item.basis for item in top} <= {"model and query", "query and popularity"}
    assert {item.basis for item in found[-20:]} <= {"model", "popularity"}
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] <= 0
    assert sum(np.exp(scores)) <= 1 + 1e-5


def test_history_decides_among_what_was_asked_for(recommender):
    """Each history's own order of the wanted items: that of the recommendations without a query."""
    wanted = list(of_type(recommender, KIND))
    orders = set()
    for first in (f"P{number:04}" for number in range(1, 120, 8)):
        found = recommender.recommend([[first]], k=len(wanted), query=KIND)[0]
        orders.add(tuple(item.item_id for item in found))
    assert len(orders) > 1


def test_one_row_at_a_time_is_all_at_once(recommender, monkeypatch):
    histories = [[], ["P0001"], ["P0002", "P0003"], []]
    whole = recommender.recommend(histories, k=7, query=KIND)
    monkeypatch.setattr("genrec.recommender.answer.CHUNK_CELLS", 1)
    for history, row in zip(histories, whole, strict=True):
        [alone] = recommender.recommend([history], k=7, query=KIND)
        assert [item.item_id for item in alone] == [item.item_id for item in row]
        assert [i.score for i in alone] == pytest.approx([i.score for i in row], abs=1e-5)
    assert whole[0] == whole[3]
    assert recommender.recommend([], query=KIND) == []


def test_filters_hold(recommender):
    wanted = sorted(of_type(recommender, KIND))
    seen, gone, *rest = wanted
    options = {"k": 120, "query": KIND}
    found = recommender.recommend([[seen]], deny=[gone], where=["price<100"], **options)[0]
    cheap = {row["item_id"] for row in recommender.catalog.table.to_pylist() if row["price"] < 100}
    assert {item.item_id for item in found} == cheap - {seen, gone}
    assert found[0].item_id in rest
    found = recommender.recommend([[seen]], allow=["P0001", *wanted[:2]], **options)[0]
    assert {item.item_id for item in found} == {"P0001", gone} - {seen}
    kept = recommender.recommend([[seen]], exclude_seen=False, **options)[0]
    assert seen in {item.item_id for item in kept[: len(wanted)]}
    assert recommender.recommend([[seen]], allow=[], **options) == [[]]


@pytest.mark.parametrize("query", ["xylophone", "подарок", "礼物", "a", "brand: , price:", "🎁🎁"])
def test_words_that_fit_no_item_change_nothing(recommender, query):
    histories = [["P0001"], []]
    assert recommender.recommend(histories, query=query) == recommender.recommend(histories)


def test_items_that_were_added_are_found_by_their_words(recommender):
    new = pa.table({"item_id": ["N1"], "title": ["Xylophone of Rosewood"], "price": [9.0]})
    grown = recommender.add_items(Catalog.from_table(new))
    [found] = grown.recommend([["P0001"]], k=1, query="rosewood xylophone")
    assert [(item.item_id, item.basis) for item in found] == [("N1", "query and popularity")]
    shrunk = grown.remove_items(["N1"])
    assert shrunk.recommend([[]], query="xylophone") == shrunk.recommend([[]])


def test_nobody_in_particular_gets_what_the_model_expects(recommender):
    assert {item.basis for item in recommender.recommend([[]])[0]} == {"model"}


def test_on_the_command_line(command, recommender_folder, recommender, caplog):
    words = ["--query", f"\x07{KIND}\n", "-k", 3]
    answer = command("recommend", recommender_folder, *words, "--json")
    assert answer.status == 0
    expected = recommender.recommend([[]], k=3, query=KIND)[0]
    assert answer.json == {"recommendations": [item.facts() for item in expected]}
    answer = command("recommend", recommender_folder, "--history", "P0001", *words)
    assert "by model and query (" in answer.out or "by query and popularity (" in answer.out
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        answer = command("recommend", recommender_folder, "--query", "xylophone", "-k", 2)
    assert "by model (2)" in answer.out
    [note] = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert note.startswith("the query 'xylophone' changes nothing: its words are in no item's text")
