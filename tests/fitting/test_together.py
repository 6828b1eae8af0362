"""One language model for several catalogs."""

import json

import numpy as np
import pyarrow as pa
import pytest

from genrec import Catalog, FitSettings, GenerativeRecommender, SyntheticShop
from genrec.common.errors import ConfigError, InputError, RecommenderError
from genrec.data import generate
from genrec.fitting.together import Shop, fit_together, shared_ids, shared_settings
from genrec.language_model.weights import hash_weights
from genrec.semantic_ids.rqkmeans import RQKMeans, RQKMeansSettings


@pytest.fixture(scope="module")
def shops():
    made = {
        "tents": generate(SyntheticShop(items=120, users=300, seed=3)),
        "stoves": generate(SyntheticShop(items=70, users=80, seed=8)),
    }
    return {name: Shop(data.catalog, data.log) for name, data in made.items()}


@pytest.fixture(scope="module")
def settings(quick_settings):
    quick = {name: value for name, value in quick_settings.items() if name != "collaborative"}
    return FitSettings.model_validate(quick)


@pytest.fixture(scope="module")
def folder(shops, settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("joint") / "both"
    fit_together(GenerativeRecommender, shops, settings, out)
    return out


@pytest.fixture(scope="module")
def both(folder):
    return {
        name: GenerativeRecommender.from_pretrained(folder / name) for name in ("tents", "stoves")
    }


def test_each_catalog_has_a_recommender_of_its_own_items(both, shops):
    for name, recommender in both.items():
        assert recommender.catalog.item_ids == shops[name].catalog.item_ids
        found = recommender.recommend([[], recommender.catalog.item_ids[:3]], k=10)
        assert {item.item_id for row in found for item in row} <= set(recommender.catalog.item_ids)
        assert recommender.metrics["validation"]["metrics"]["ndcg@10"] > 0
    assert both["tents"].metrics["together_with"] == ["stoves"]


def test_weights_and_codebooks_are_shared(both):
    tents, stoves = both.values()
    assert hash_weights(tents.language_model) == hash_weights(stoves.language_model)
    assert tents.semantic_ids.codebook_sizes == stoves.semantic_ids.codebook_sizes
    vectors = [r.vectorizer.vectors(tents.catalog, r.settings) for r in (tents, stoves)]
    codes = [r.item_tokenizer.encode(v) for r, v in zip((tents, stoves), vectors, strict=True)]
    assert np.array_equal(*codes)


def test_both_catalogs_were_learned(both):
    """Each is better than its most popular items; the one of 80 users by the other's help."""
    from genrec.recommender.measure import judge_of, measure

    for recommender in both.values():
        alone, baselines = measure(
            recommender.alone(), judge_of(recommender, "valid"), baselines=True
        )
        popularity = next(b for b in baselines if b.name == "popularity")
        assert alone.metrics["recall@10"] > popularity.metrics["recall@10"]


def test_an_interrupted_fit_goes_on_and_ends_the_same(
    folder, shops, settings, tmp_path, monkeypatch
):
    from genrec.training import loop

    step, count = loop._Run._step, iter(range(10**9))

    def killed(self, epoch, batch):
        if next(count) == 40:
            raise KeyboardInterrupt
        return step(self, epoch, batch)

    out = tmp_path / "both"
    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            fit_together(GenerativeRecommender, shops, settings, out)
    assert not out.exists()
    fit_together(GenerativeRecommender, shops, settings, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both"]
    one, other = (GenerativeRecommender.from_pretrained(where / "tents") for where in (folder, out))
    assert hash_weights(one.language_model) == hash_weights(other.language_model)


def test_the_whole_folder_is_no_recommender_and_may_be_replaced(folder, shops, settings, tmp_path):
    with pytest.raises(
        RecommenderError, match=r"each of several catalogs: give one .*stoves, tents"
    ):
        GenerativeRecommender.from_pretrained(folder)
    manifest = json.loads((folder / "recommenders.json").read_text())
    assert manifest["recommenders"] == ["tents", "stoves"]
    with pytest.raises(InputError, match="exists already"):
        fit_together(GenerativeRecommender, shops, settings, folder)


def test_a_numbered_level_is_as_large_as_the_most_crowded_catalog_needs():
    vectors = np.repeat(np.eye(4, dtype=np.float32), [3, 1, 1, 1], axis=0)
    tokenizer = RQKMeans(RQKMeansSettings(levels=1, codes=4)).fit(vectors)
    catalogs = {
        name: Catalog.from_table(pa.table({"item_id": [f"{name}{i}" for i in range(n)]}))
        for name, n in (("a", 6), ("b", 3))
    }
    own = {"a": vectors, "b": vectors[3:]}
    ids = shared_ids(tokenizer, catalogs, own, FitSettings(collisions="extra_level"))
    assert ids["a"].codebook_sizes == ids["b"].codebook_sizes == (4, 3)
    assert ids["b"].codes[:, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vectors": [{"path": "x.npy"}]}, "leave out vectors"),
        ({"collaborative": {"weight": 0.5}}, r"set collaborative\.weight=0"),
        ({"item_tokenizer": {"kind": "sequential"}}, "numbers the items of one catalog"),
    ],
)
def test_what_only_one_catalog_can_have_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        shared_settings(FitSettings.model_validate(values))


def test_one_catalog_is_not_several(shops, settings, tmp_path):
    with pytest.raises(ConfigError, match="at least two catalogs"):
        fit_together(GenerativeRecommender, {"tents": shops["tents"]}, settings, tmp_path / "x")


def test_text_alone_is_what_they_share():
    assert shared_settings(FitSettings()).collaborative.weight == 0
