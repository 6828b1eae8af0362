"""A recommender whose language model reads items' vectors: fitted, kept, grown, moved."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from genrec import Catalog, FitSettings, GenerativeRecommender, Histories, SyntheticShop
from genrec.common.errors import ConfigError, InputError
from genrec.data import generate
from genrec.language_model.weights import hash_weights
from genrec.recommender.folder.export import export_model


@pytest.fixture(scope="module")
def reader(shop, quick_settings):
    chosen = quick_settings | {
        "language_model": quick_settings["language_model"] | {"item_vectors": "encoder"},
        "memory": {"weight": 0.0, "text_weight": 0.0},
    }
    return GenerativeRecommender.fit(shop.catalog, shop.log, FitSettings.model_validate(chosen))


@pytest.fixture(scope="module")
def folder(reader, tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "reader"
    reader.save_pretrained(path)
    return path


def histories(recommender):
    ids = recommender.catalog.item_ids
    return [ids[:3], ids[5:6], []]


def test_it_reads_the_vectors_of_the_fit(reader):
    vectors = reader.vectorizer.vectors(reader.catalog, reader.settings)
    assert np.array_equal(reader.item_vectors, vectors.astype(np.float16))


def test_vectors_matter(reader):

    blank = reader.changed(
        item_vectors=np.zeros_like(reader.item_vectors),
    )
    asked = histories(reader)
    assert blank.recommend(asked[:2]) != reader.recommend(asked[:2])
    assert blank.recommend(asked[2:]) == reader.recommend(asked[2:])  # no item, no vector


def test_its_weights_are_known_with_the_map_of_vectors(folder):
    model = GenerativeRecommender.from_pretrained(folder).language_model
    before = hash_weights(model)
    with torch.no_grad():
        model.item_projection.bias += 1
    assert hash_weights(model) != before


def test_opened_it_recommends_the_same(reader, folder):
    opened = GenerativeRecommender.from_pretrained(folder)
    assert opened.recommend(histories(reader)) == reader.recommend(histories(reader))
    assert opened.language_model.parameters() == reader.language_model.parameters()


def new_items():
    new = generate(SyntheticShop(items=60, users=10, seed=9)).catalog
    table = new.table.set_column(0, "item_id", [[f"N{i}" for i in range(len(new))]]).slice(0, 5)
    return Catalog.from_table(table)


def test_items_come_and_go_with_their_vectors(reader):
    grown = reader.add_items(new_items())
    assert grown.item_vectors.shape[0] == len(reader.catalog) + 5
    found = grown.recommend([["N0", "N1"]], allow=["N2"])[0]
    assert [item.item_id for item in found] == ["N2"]
    back = grown.remove_items([f"N{i}" for i in range(5)])
    assert np.array_equal(back.item_vectors, reader.item_vectors)
    assert back.recommend(histories(reader)) == reader.recommend(histories(reader))


def test_another_catalog_brings_its_own(reader):
    other = generate(SyntheticShop(items=70, users=60, seed=4))
    moved = reader.transfer(other.catalog, other.log)
    assert moved.item_vectors.shape == (70, reader.item_vectors.shape[1])
    assert moved.recommend([other.catalog.item_ids[:2]])[0]


def test_it_is_no_plain_model_to_export(folder, tmp_path):
    with pytest.raises(InputError, match=r"language_model\.item_vectors=none"):
        export_model(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def learned(shop, quick_settings):
    """By default a compact model reads the vectors that the text model learned."""
    by_default = quick_settings["language_model"] | {"item_vectors": "auto"}
    settings = FitSettings.model_validate(quick_settings | {"language_model": by_default})
    recommender = GenerativeRecommender.fit(shop.catalog, shop.log, settings)
    assert recommender.settings.language_model.item_vectors == "text_model"
    assert recommender.item_vectors is None
    return recommender


def test_vectors_that_the_text_model_learned_reach_the_language_model(learned):
    histories = Histories.of([[3, 5, 7]])
    other = replace(learned.text_model, vectors=np.zeros_like(learned.text_model.vectors))
    blind = learned.changed(text_model=other)
    items = np.arange(10, dtype=np.int32)[None]
    assert not np.allclose(
        learned.alone().score(histories, items), blind.alone().score(histories, items)
    )


def test_they_follow_the_catalog(learned):
    ids = learned.catalog.item_ids
    grown = learned.add_items(new_items())
    assert grown.alone().recommend([["N0", "N1"]], k=3) != grown.alone().recommend([[]], k=3)
    asked = [[ids[3], ids[5]]]
    before = learned.alone().recommend(asked, k=20)
    back = grown.remove_items([f"N{i}" for i in range(5)])
    assert back.alone().recommend(asked, k=20) == before


def test_elsewhere_they_are_those_of_the_words(learned):
    other_catalog = generate(SyntheticShop(items=70, users=60, seed=4)).catalog
    moved = learned.transfer(other_catalog)
    words = learned.text_model.of_texts(other_catalog.texts(learned.settings.template))
    np.testing.assert_array_equal(moved.text_model.vectors, words.astype(np.float16))
    assert "text_model" not in {part.name for part in moved.components}
    assert moved.recommend([other_catalog.item_ids[:2]])[0]


def test_a_text_model_that_is_not_trained_cannot_be_read(quick_settings, shop):
    reading = quick_settings["language_model"] | {"item_vectors": "text_model"}
    values = quick_settings | {"language_model": reading, "text_model": {"weight": 0.0}}
    with pytest.raises(ConfigError, match=r"text_model\.weight = 0 trains none"):
        GenerativeRecommender.fit(shop.catalog, shop.log, FitSettings.model_validate(values))
