"""The real items of a written title: planted neighbours, exact titles, and a text nobody knows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from genrec.common.errors import InputError
from genrec.data import Catalog
from genrec.data.vectors import unit_rows
from genrec.encoders import TfidfEncoder
from genrec.recommender.nearest_items import NearestItems, NearestItemsSettings


def catalog_of(titles):
    ids = [f"i{n}" for n in range(len(titles))]
    return Catalog.from_table(pa.table({"item_id": ids, "title": list(titles)}))


class Planted:
    """An encoder that knows the vectors of some texts; any other has zeros."""

    def __init__(self, vectors):
        self.vectors = {text: np.array(vector, np.float32) for text, vector in vectors.items()}
        self.dimension = len(next(iter(vectors.values())))
        self.encoded = 0

    def encode(self, texts):
        self.encoded += len(texts)
        return np.stack([self.vectors.get(t, np.zeros(self.dimension)) for t in texts]).astype("f4")

    def encode_parts(self, parts):
        return map(self.encode, parts)

    def fit(self, texts):
        return self

    def fingerprint(self):
        return f"planted-{sorted((t, v.tolist()) for t, v in self.vectors.items())}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path))


@pytest.fixture
def planted():
    """Four items on a quarter circle, of any length, and a text between the first two."""
    titles = {"east": [5, 0], "north": [0, 2], "north east": [1, 1], "west": [-1, 0]}
    encoder = Planted(titles | {"text": [2, 1], "WEST": [1, 0]})
    return NearestItems(catalog_of(titles), encoder)


def found(rows):
    return [[item.item_id for item in row] for row in rows]


def test_planted_neighbours_come_in_order_with_their_cosines(planted):
    [row] = planted.search(["text"], k=3)
    assert [item.title for item in row] == ["north east", "east", "north"]
    assert [item.item_id for item in row] == ["i2", "i0", "i1"]
    expected = [3 / np.sqrt(10), 2 / np.sqrt(5), 1 / np.sqrt(5)]
    assert [item.similarity for item in row] == pytest.approx(expected, abs=1e-6)


def test_an_exact_title_comes_first_whatever_its_vector(planted):
    [row] = planted.search(["WEST"], k=2)
    assert [item.title for item in row] == ["west", "east"]
    assert [item.similarity for item in row] == [1, 1]


def test_equal_titles_all_come_first_and_the_very_one_before_them():
    vectors = {"Tent": [1, 0], "tent": [1, 0], "TENT": [0, 1], "rope": [1, 0.01]}
    items = NearestItems(catalog_of(["rope", "tent", "Tent", "TENT", "Tent"]), Planted(vectors))
    assert found(items.search(["Tent", "tent", "TENT", " tent"], k=4)) == [
        ["i2", "i4", "i1", "i3"],
        ["i1", "i2", "i3", "i4"],
        ["i3", "i1", "i2", "i4"],
        ["i1", "i2", "i3", "i4"],
    ]
    assert found(items.search(["Tent"], k=2)) == [["i2", "i4"]]
    assert len(items.search(["Tent"], k=99)[0]) == 5


def test_every_title_finds_itself_among_titles_of_one_vector():
    """TF-IDF counts words and pairs: these titles differ in words that it does not see."""
    titles = [f"red tent {mark * n}".strip() for n in range(1, 6) for mark in "!?"]
    items = NearestItems(catalog_of(titles))
    assert [row[0] for row in found(items.search(titles, k=3))] == items.catalog.item_ids


def test_a_text_without_a_known_word_has_no_neighbours(planted):
    assert planted.search(["nowhere", ""], k=2) == [[], []]
    titles = catalog_of(["!!!", "red tent"])
    assert found(NearestItems(titles).search(["!!!", "?"], k=2)) == [["i0"], []]


def test_fewer_items_than_asked_for(planted):
    assert len(planted.search(["text"], k=100)[0]) == 4


def test_without_an_encoder_tfidf_of_the_titles_is_fitted():
    titles = ["red tent", "blue tent", "red rope", "tin cup"]
    items = NearestItems(catalog_of(titles))
    rows = items.search(["a large cup", "tent red"], k=2)
    assert rows[0][0].title == "tin cup"
    assert rows[1][0].title == "red tent"
    vectors = unit_rows(TfidfEncoder().fit(titles).encode([*titles, "tent red"]))
    assert rows[1][0].similarity == pytest.approx(float(vectors[4] @ vectors[0]), abs=1e-5)


def random_items(settings=None, n=600):
    rng = np.random.default_rng(0)
    names = [f"t{i}" for i in range(n)]
    queries = [f"q{i}" for i in range(40)]
    vectors = dict(zip([*names, *queries], rng.normal(size=(n + 40, 8)), strict=True))
    encoder = Planted(vectors)
    items = NearestItems(catalog_of(names), encoder, settings or NearestItemsSettings())
    return items, queries, unit_rows(encoder.encode([*queries, *names]))


def test_exact_search_agrees_with_sorting_all_cosines():
    items, queries, vectors = random_items()
    expected = np.argsort(-(vectors[:40] @ vectors[40:].T), axis=1)[:, :10]
    assert found(items.search(queries, k=10)) == [[f"i{i}" for i in row] for row in expected]


@pytest.mark.parametrize("probed", [3, 15])
def test_past_the_stated_size_clusters_are_searched(probed):
    settings = NearestItemsSettings(exact_items=599, probed_clusters=probed)
    items, queries, vectors = random_items(settings)
    assert type(items._index).__name__ == "IndexIVFFlat"
    assert items._index.nlist == 15
    expected = np.argsort(-(vectors[:40] @ vectors[40:].T), axis=1)[:, :10]
    rows = found(items.search(queries, k=10))
    pairs = zip(rows, expected, strict=True)
    recall = np.mean([len(set(row) & {f"i{i}" for i in truth}) / 10 for row, truth in pairs])
    assert recall == 1 if probed == 15 else 0.4 < recall < 1
    assert found(items.search(["t7"], k=1)) == [["i7"]]
    cosine = items.similarity(queries[:1], np.array([5]))
    assert cosine == pytest.approx(float(vectors[0] @ vectors[45]), abs=1e-6)


def test_similarity_to_one_item_each(planted):
    texts = ["text", "text", "WEST", "nowhere", ""]
    cosines = planted.similarity(texts, np.array([0, 3, 3, 0, 0]))
    expected = [2 / np.sqrt(5), -2 / np.sqrt(5), 1, 0, 0]
    assert cosines == pytest.approx(expected, abs=1e-6)
    assert planted.similarity([], np.array([], np.int64)).shape == (0,)
    with pytest.raises(InputError, match="1 texts for 2 items"):
        planted.similarity(["text"], np.array([0, 1]))


def test_the_catalog_is_encoded_once_and_not_before_the_first_search(planted):
    assert planted.encoder.encoded == 0
    planted.search([])
    assert planted.encoder.encoded == 0
    planted.search(["text"])
    assert planted.encoder.encoded == 4 + 1
    planted.search(["text"])
    assert planted.encoder.encoded == 4 + 2


@pytest.mark.parametrize("k", [0, -1, 1.5, None])
def test_a_wrong_k_is_refused(planted, k):
    with pytest.raises(InputError, match=f"k = {k}"):
        planted.search(["text"], k=k)


def test_one_text_is_not_a_list(planted):
    with pytest.raises(InputError, match=r"put it in a list, \['text'\]"):
        planted.search("text")
