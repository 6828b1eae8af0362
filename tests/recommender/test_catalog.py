"""A catalog that grows and shrinks under a fitted recommender."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from genrec import FitSettings, GenerativeRecommender, InputError
from genrec.data import Catalog
from genrec.recommender.catalog import FittedCatalog
from genrec.recommender.vectorizer import Vectorizer
from genrec.semantic_ids.building import build_semantic_ids, fit_any
from genrec.semantic_ids.collisions import POLICIES

SMALL = {"encoder": {"dimension": 16}, "collaborative": {"dimension": 8}}
CODES = {"kind": "rqkmeans", "levels": 2, "codes": 24}


def fitted_catalog(shop, **more):
    """What a fit makes of the shop but the language model."""
    settings = FitSettings.model_validate(SMALL | {"item_tokenizer": CODES} | more)
    split = settings.split.apply(shop.log, 0)
    vectorizer = Vectorizer.fit(shop.catalog, split.train, settings)
    vectors = vectorizer.vectors(shop.catalog, settings)
    tokenizer = fit_any(settings.item_tokenizer, vectors, shop.catalog, split)
    ids = build_semantic_ids(tokenizer, shop.catalog, vectors, settings.collisions)
    return FittedCatalog(shop.catalog, ids, tokenizer, vectorizer, settings, shop.log)


def new_items(shop, rows, prefix="N"):
    """Items that read like those of the shop's rows, under other ids."""
    table = shop.catalog.table.take(list(rows))
    ids = [f"{prefix}{place}-{row}" for place, row in enumerate(rows)]
    return Catalog.from_table(table.set_column(0, "item_id", pa.array(ids)))


def collide(fitted, items):
    """Whether an item has the codes of another."""
    _, vectors = fitted.vectorizer.grown(items, fitted.settings)
    codes = np.concatenate([fitted.semantic_ids.codes, fitted.item_tokenizer.encode(vectors)])
    return len(np.unique(codes, axis=0)) < len(codes)


@pytest.fixture(scope="module")
def catalogs(shop):
    """By collision policy; and one by an indexing, which has none."""
    made = {name: fitted_catalog(shop, collisions=name) for name in POLICIES if name != "refuse"}
    kinds = {"refuse": CODES | {"codes": 400}, "indexing": {"kind": "category", "spare": 2}}
    for name, codes in kinds.items():
        policy = {"collisions": "refuse"} if name == "refuse" else {}
        made[name] = fitted_catalog(shop, item_tokenizer=codes, **policy)
    return made


@pytest.mark.parametrize("name", [*POLICIES, "indexing"])
@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=25,
)
@given(data=st.data())
def test_old_items_keep_their_codes_and_new_ones_get_free_ones(shop, catalogs, name, data):
    before = catalogs[name]
    gone = data.draw(st.sets(st.integers(0, 119), max_size=20), "gone")
    rows = data.draw(st.lists(st.integers(0, 119), min_size=1, max_size=20), "like")
    names = [shop.catalog.item_ids[item] for item in gone]
    less = before.remove(names)[0] if names else before
    codes = dict(zip(less.catalog.item_ids, less.semantic_ids.codes.tolist(), strict=True))
    items = new_items(shop, rows)
    if name == "refuse" and collide(less, items):
        with pytest.raises(InputError, match="the collision policy is 'refuse'"):
            less.add(items)
        return
    after, change = less.add(items)
    found = dict(zip(after.catalog.item_ids, after.semantic_ids.codes.tolist(), strict=True))
    assert {item: found[item] for item in codes} == codes
    assert len(set(map(tuple, found.values()))) == len(found) == len(codes) + len(rows)
    assert after.semantic_ids.item_ids == after.catalog.item_ids
    assert after.semantic_ids.codebook_sizes == before.semantic_ids.codebook_sizes
    assert (change.added, change.items) == (len(rows), len(found))
    assert 0 <= change.far <= change.moved <= len(rows) or name == "indexing"
    assert before.semantic_ids.item_ids == shop.catalog.item_ids, "the old one is as it was"


def test_a_new_item_is_encoded_as_any_other(shop, catalogs):
    before = catalogs["nearest_free"]
    after, _ = before.add(new_items(shop, [7, 8]))
    text = before.vectorizer.encoder.encode(shop.catalog.texts()[7:9])
    expected = before.vectorizer.signal.transform(text)
    np.testing.assert_allclose(
        after.vectorizer.vectors(after.catalog, after.settings)[-2:], expected, atol=1e-5
    )
    np.testing.assert_allclose(
        after.vectorizer.vectors(after.catalog, after.settings)[:-2],
        before.vectorizer.vectors(before.catalog, before.settings),
        atol=1e-5,
    )
    less, _ = after.remove([shop.catalog.item_ids[0]])
    np.testing.assert_allclose(
        less.vectorizer.vectors(less.catalog, less.settings),
        after.vectorizer.vectors(after.catalog, after.settings)[1:],
        atol=1e-5,
    )


def test_a_full_vocabulary_says_what_to_do(shop):
    full = fitted_catalog(shop, item_tokenizer=CODES | {"codes": 11})
    with pytest.raises(InputError, match=r"122 items.*\[11, 11\].*only 121: fit anew"):
        full.add(new_items(shop, [3, 4]))
    assert len(full.add(new_items(shop, [3]))[0].catalog) == 121


def test_an_extra_level_that_is_full_moves_the_item_next_door(shop, catalogs):
    before = catalogs["extra_level"]
    numbers = before.semantic_ids.codebook_sizes[-1]
    after, change = before.add(new_items(shop, [5] * (numbers + 1)))
    codes = after.semantic_ids.codes[len(shop.catalog) :]
    assert len(np.unique(codes[:, :2], axis=0)) > 1
    assert codes[:, 2].max() < numbers
    assert change.moved >= numbers


def test_what_the_change_did_is_on_record(shop, catalogs):
    before = catalogs["nearest_free"]
    item = shop.catalog.item_ids[4]
    events = int((shop.log.histories.items == 4).sum())
    after, change = before.remove([item, item])
    assert (change.removed, change.events, change.items) == (1, events, 119)
    assert len(after.log) == len(shop.log) - events
    assert len(after.log.histories) == len(shop.log.histories)
    again, _ = after.add(new_items(shop, [1]))
    assert [c["removed"] for c in again.data["changes"]] == [1, 0]
    assert again.data["items"]["rows"] == 120
    assert again.data["interactions"] == after.data["interactions"]
    same, nothing = again.add(new_items(shop, [1]))
    assert same is again
    assert (nothing.added, nothing.known) == (0, 1)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["P0001", "P9999x"], "item id 2 of 2 is not in the catalog"),
        ([], "no item to remove: give at least one id"),
        ("P0001", "put it in a list"),
        (None, "these are all 120 items"),
    ],
)
def test_what_cannot_be_removed(shop, catalogs, ids, says):
    with pytest.raises(InputError, match=says):
        catalogs["nearest_free"].remove(shop.catalog.item_ids if ids is None else ids)


@pytest.fixture
def vector_file(tmp_path):
    """Write vectors of items into a file of their own."""
    import pyarrow.parquet as pq

    def write(name, ids, dimension=4):
        rows = np.random.default_rng(len(ids)).normal(size=(len(ids), dimension))
        pq.write_table(pa.table({"item_id": ids, "v": list(rows)}), tmp_path / name)
        return tmp_path / name

    return write


def test_vectors_of_your_own_come_with_the_new_items(shop, vector_file):
    path = vector_file("fit.parquet", shop.catalog.item_ids)
    before = fitted_catalog(shop, vectors=[{"path": path, "weight": 2}])
    items = new_items(shop, [3, 4])
    after, _ = before.add(items, [vector_file("new.parquet", items.item_ids)])
    [table] = after.vectorizer.given
    assert table.shape == (122, 4)
    np.testing.assert_array_equal(table[:120], before.vectorizer.given[0])
    np.testing.assert_allclose(np.linalg.norm(table[120:].astype(float), axis=1), 1, atol=1e-3)
    less, _ = after.remove([shop.catalog.item_ids[0]])
    np.testing.assert_array_equal(less.vectorizer.given[0], table[1:])
    with pytest.raises(InputError, match=r"fit\.parquet.*1 wanted, 0 given"):
        before.add(items)
    with pytest.raises(InputError, match=r"new5\.parquet: vectors of 5 dim.*fitted on 4"):
        before.add(items, [vector_file("new5.parquet", items.item_ids, 5)])
    with pytest.raises(InputError, match="none of its item ids"):
        before.add(items, [path])


def test_vectors_nobody_asked_for_are_refused(shop, catalogs, vector_file):
    items = new_items(shop, [3])
    with pytest.raises(InputError, match="fitted without vectors of your own"):
        catalogs["nearest_free"].add(items, [vector_file("new.parquet", items.item_ids)])


@pytest.fixture(scope="module")
def model(shop, quick_settings):
    """A recommender whose memory hears counts and texts."""
    memory = {"weight": 0.2, "text_weight": 0.3, "text_neighbors": 5}
    settings = quick_settings | {"memory": memory}
    settings["text_model"] = settings["text_model"] | {"weight": 0.2}
    settings = FitSettings.model_validate(settings)
    return GenerativeRecommender.fit(shop.catalog, shop.log, settings)


@pytest.fixture(scope="module")
def asked(shop):
    ids = shop.catalog.item_ids
    return [[ids[item] for item in shop.log.histories[user]] for user in range(30)]


def test_each_new_item_can_be_recommended(shop, model, asked):
    before = model.recommend(asked, k=5)
    items = new_items(shop, range(0, 120, 6))
    grown = model.add_items(items)
    for item_id in items.item_ids:
        [found] = grown.recommend([[]], allow=[item_id])
        assert [item.item_id for item in found] == [item_id]
    everything = grown.recommend([[]], k=140)[0]
    assert sorted(item.item_id for item in everything) == sorted(grown.catalog.item_ids)
    assert grown.recommend([items.item_ids[:3]], k=5) != grown.recommend([[]], k=5)
    assert model.recommend(asked, k=5) == before, "the old one is as it was"


def test_text_leads_to_new_items_from_old_ones_and_back(shop, model):
    grown = model.add_items(new_items(shop, [10]))
    likeness = grown.likeness.toarray()
    assert likeness[10, 120] == pytest.approx(1.0), "the same words"
    assert likeness[120, 10] == pytest.approx(1.0)
    crowded = model.add_items(new_items(shop, range(0, 120, 2)))
    assert np.diff(crowded.likeness.indptr).max() > 5, "what was pushed out stays in the folder"
    [heard] = [part for part in crowded.components if part.name == "texts"]
    assert np.diff(heard.likeness.indptr).max() == 5, "and is not heard"


def test_removed_items_are_gone(shop, model, asked):
    gone = shop.catalog.item_ids[::3]
    less = model.remove_items(gone)
    histories = [[item for item in history if item not in gone] for history in asked]
    for found in less.recommend(histories, k=80, exclude_seen=False):
        assert not {item.item_id for item in found} & set(gone)
        assert len(found) == 80
    kept = [item not in gone for item in shop.catalog.item_ids]
    likeness = model.likeness.toarray()[kept][:, kept]
    np.testing.assert_array_equal(less.likeness.toarray(), likeness)
    with pytest.raises(InputError, match="not in the catalog"):
        less.recommend([[gone[0]]])
    with pytest.raises(InputError, match="not in the catalog"):
        less.recommend([[]], allow=[gone[0]])


def test_added_and_removed_is_as_before_bit_for_bit(shop, model, asked, tmp_path):
    items = new_items(shop, [*range(40), *range(0, 120, 7)])
    grown = model.add_items(items)
    back = grown.remove_items(items.item_ids)
    assert back.recommend(asked, k=20) == model.recommend(asked, k=20)
    grown.save_pretrained(tmp_path / "grown")
    opened = GenerativeRecommender.from_pretrained(tmp_path / "grown", device="cpu")
    assert opened.recommend(asked, k=20) == grown.recommend(asked, k=20)
    again = opened.remove_items(items.item_ids)
    assert again.recommend(asked, k=20) == model.recommend(asked, k=20)
    assert again.semantic_ids.codes.tolist() == model.semantic_ids.codes.tolist()
    rank = {"k": 10, "exclude_seen": True}
    cases = model.split.test
    np.testing.assert_array_equal(
        again.rank(cases.histories, **rank).items, model.rank(cases.histories, **rank).items
    )


def test_in_any_order_of_adding(shop, model, asked):
    """Two files one after the other, the first one removed: as if only the second had come."""
    first, second = new_items(shop, [1, 2, 3], "A"), new_items(shop, [60, 61], "B")
    both = model.add_items(first).add_items(second).remove_items(first.item_ids)
    one = model.add_items(second)
    assert both.catalog.item_ids == one.catalog.item_ids
    ids = dict(zip(one.semantic_ids.item_ids, one.semantic_ids.codes.tolist(), strict=True))
    for item, codes in zip(both.semantic_ids.item_ids, both.semantic_ids.codes, strict=True):
        if not item.startswith("B"):
            assert ids[item] == codes.tolist()
