"""A fitted catalog that follows a feed: values are taken over, codes and events kept."""

import numpy as np
import pyarrow as pa
import pytest

from genrec import FitSettings, InputError
from genrec.data import Catalog
from genrec.recommender.catalog import FittedCatalog
from genrec.recommender.memory import compare_texts
from genrec.recommender.vectorizer import Vectorizer
from genrec.semantic_ids.building import build_semantic_ids, fit_any

CODES = {"kind": "rqkmeans", "levels": 2, "codes": 24}
SMALL = {
    "encoder": {"dimension": 16},
    "collaborative": {"dimension": 8},
    "item_tokenizer": CODES,
    "memory": {"weight": 0.1, "text_weight": 0.1, "text_neighbors": 5},
}


def fitted_catalog(shop, **more):
    """What a fit makes of the shop but the language model, and vectors for one to read."""
    settings = FitSettings.model_validate(SMALL | more)
    split = settings.split.apply(shop.log, 0)
    vectorizer = Vectorizer.fit(shop.catalog, split.train, settings)
    vectors = vectorizer.vectors(shop.catalog, settings)
    tokenizer = fit_any(settings.item_tokenizer, vectors, shop.catalog, split)
    ids = build_semantic_ids(tokenizer, shop.catalog, vectors, settings.collisions)
    likeness = compare_texts(shop.catalog.texts(settings.template), settings.memory)
    parts = (shop.catalog, ids, tokenizer, vectorizer, settings, shop.log, likeness)
    return FittedCatalog(*parts, item_vectors=vectors.astype(np.float16))


@pytest.fixture(scope="module")
def before(shop):
    return fitted_catalog(shop)


def feed_of(catalog, **columns):
    """The catalog with other values: column -> item index -> value."""
    table = catalog.table
    for name, values in columns.items():
        column = table[name].to_pylist()
        for item, value in values.items():
            column[item] = value
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(column, table[name].type))
    return Catalog.from_table(table, source="feed")


def same_codes(one, other, items=slice(None)):
    return (one.semantic_ids.codes[items] == other.semantic_ids.codes[items]).all()


def test_a_price_changes_and_nothing_else(before):
    after, change = before.update(feed_of(before.catalog, price={3: 1234.5}))
    assert (change.changed, change.columns, change.known) == (1, {"price": 1}, 119)
    assert (change.added, change.removed, change.recoded, change.events) == (0, 0, 0, 0)
    assert after.catalog.where(["price>1234"]).tolist() == [3]
    assert same_codes(before, after)
    assert after.log.histories is before.log.histories
    assert after.log.catalog is after.catalog
    assert (after.item_vectors == before.item_vectors).all()
    record = after.data["changes"][-1]
    assert (record["changed"], record["columns"]) == (1, {"price": 1})
    assert "examples" not in record


def test_a_feed_that_says_nothing_new_changes_nothing(before):
    after, change = before.update(before.catalog)
    assert after is before
    assert (change.known, change.changed) == (120, 0)


@pytest.mark.parametrize("items", [[7], [7, 8, 119, 0], range(30), range(120)])
def test_likeness_of_texts_follows_changed_titles(before, items):
    donor = before.catalog.titles
    titles = {item: f"{donor[(item + 11) % 120]} anew" for item in items}
    after, _ = before.update(feed_of(before.catalog, title=titles))
    fresh = compare_texts(after.catalog.texts(before.settings.template), before.settings.memory)
    found = after.likeness.toarray()
    assert found.shape == (120, 120)
    for item in items:  # the row of a changed item is that of a likeness made afresh
        expected = fresh.toarray()[item]
        assert np.allclose(np.sort(found[item])[-5:], np.sort(expected)[-5:], atol=1e-5)
    if len(items) == 1:
        others = np.setdiff1d(np.arange(120), items)
        old = before.likeness.toarray()[np.ix_(others, others)]
        assert (found[np.ix_(others, others)] == old).all()


def test_codes_follow_changed_titles_only_where_asked(before):
    titles = before.catalog.titles
    table = before.catalog.table
    # item 5 becomes a twin of item 50
    twin = {name: {5: table[name][50].as_py()} for name in table.column_names if name != "item_id"}
    feed = feed_of(before.catalog, **twin)
    kept, change = before.update(feed)
    assert kept.catalog.titles[5] == titles[50]
    assert same_codes(before, kept)
    assert change.recoded == 0
    after, change = before.update(feed, recode=True)
    others = np.setdiff1d(np.arange(120), [5])
    assert same_codes(before, after, others)
    assert len(np.unique(after.semantic_ids.codes, axis=0)) == 120
    assert after.semantic_ids.item_ids == after.catalog.item_ids
    assert (after.item_vectors[others] == before.item_vectors[others]).all()
    _, vectors = before.vectorizer.renewed(after.catalog, np.array([5]), before.settings)
    assert (after.item_vectors[5] == vectors[0].astype(np.float16)).all()
    assert change.recoded == int(
        (after.semantic_ids.codes[5] != before.semantic_ids.codes[5]).any()
    )
    assert change.recoded == 1


def test_an_indexing_gives_new_codes_too(shop):
    before = fitted_catalog(shop, item_tokenizer={"kind": "category", "spare": 2})
    table = before.catalog.table
    twin = {name: {5: table[name][50].as_py()} for name in ("title", "categories")}
    after, _ = before.update(feed_of(before.catalog, **twin), recode=True)
    assert same_codes(before, after, np.setdiff1d(np.arange(120), [5]))
    assert after.semantic_ids.codes[5, 0] == before.semantic_ids.codes[50, 0]


def test_new_items_come_and_missing_ones_go_where_asked(before):
    ids = before.catalog.item_ids
    table = before.catalog.table.slice(0, 110)
    news = before.catalog.table.slice(20, 2).set_column(0, "item_id", pa.array(["n1", "n2"]))
    feed = Catalog.from_table(pa.concat_tables([table, news]))
    more, change = before.update(feed)
    assert (change.added, change.removed, change.items) == (2, 0, 122)
    assert more.catalog.item_ids == [*ids, "n1", "n2"]
    less, change = before.update(feed, remove_missing=True)
    assert (change.added, change.removed, change.items, change.known) == (2, 10, 112, 110)
    assert change.events == sum(item >= 110 for item in before.log.histories.items)
    assert less.catalog.item_ids == [*ids[:110], "n1", "n2"]
    assert same_codes(before, less, slice(0, 110))
    assert [found["item_id"] for found in change.examples["removed"]] == ids[110:113]
    assert less.likeness.shape == (112, 112)


def test_a_feed_with_none_of_the_items_removes_nothing(before):
    ids = pa.array([f"x{i}" for i in range(120)])
    feed = Catalog.from_table(before.catalog.table.set_column(0, "item_id", ids), source="f.csv")
    with pytest.raises(InputError, match=r"f.csv, column 'item_id', value 'x0'.*genrec transfer"):
        before.update(feed, remove_missing=True)


def test_a_recommender_follows_a_feed(recommender):
    recommender = recommender.changed()
    assert recommender.components
    assert recommender.query_words
    ids = recommender.catalog.item_ids
    feed = feed_of(recommender.catalog, title={9: "Zyzzyva zyzzyva"}, price={4: 0.01})
    after = recommender.update_items(feed)
    assert type(after) is type(recommender)
    assert after.semantic_ids is recommender.semantic_ids
    [cheap] = after.recommend([[]], k=3, where=["price<0.02"])
    assert [item.item_id for item in cheap] == [ids[4]]
    [asked] = after.recommend([[]], k=1, query="zyzzyva")
    assert asked[0].item_id == ids[9]
    assert recommender.catalog.titles[9] != "Zyzzyva zyzzyva"
    assert recommender.update_items(recommender.catalog) is recommender
