"""A catalog that was never trained on, and a few users of it."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from genrec import Catalog, FitSettings, GenerativeRecommender, SyntheticShop
from genrec.common.errors import ConfigError, InputError
from genrec.data import generate
from genrec.data.split_settings import SplitSettings
from genrec.evaluation.judge import Judge
from genrec.fitting.few_shot import FewShot, without_training
from genrec.fitting.further import fit_further, further_settings
from genrec.language_model.weights import hash_weights
from genrec.recommender.measure import judge_of
from genrec.recommender.transfer import TransferSettings, transfer


@pytest.fixture(scope="module")
def other():
    """Another shop whose customers follow the same law: other items, other users."""
    return generate(SyntheticShop(items=90, users=200, seed=21))


@pytest.fixture
def moved(recommender, other):
    return recommender.transfer(other.catalog, other.log)


def test_only_items_of_the_new_catalog_are_named_and_each_can_be(moved, recommender, other):
    ids = other.catalog.item_ids
    lists = moved.recommend([[], ids[:2], ids[5:9]], k=20)
    assert {item.item_id for row in lists for item in row} <= set(ids)
    everything = moved.recommend([ids[:1]], k=len(ids))[0]
    assert {item.item_id for item in everything} == set(ids[1:])
    assert moved.language_model.core is recommender.language_model.core
    assert moved.semantic_ids.codebook_sizes == recommender.semantic_ids.codebook_sizes


def test_nothing_is_trained_and_the_first_recommender_stays(recommender, other):
    before = recommender.recommend([recommender.catalog.item_ids[:3]])
    weights = hash_weights(recommender.language_model)
    recommender.transfer(other.catalog, other.log)
    assert hash_weights(recommender.language_model) == weights
    assert recommender.recommend([recommender.catalog.item_ids[:3]]) == before


def test_a_catalog_transferred_to_itself_has_the_codes_that_its_texts_get(recommender):
    """Without behaviour in the vectors, that is the codes of the fit."""
    settings = recommender.settings.replace(
        collaborative=recommender.settings.collaborative.replace(weight=0.0),
        language_model=recommender.settings.language_model.replace(item_vectors="none"),
    )
    fitted = GenerativeRecommender.fit(
        recommender.catalog,
        recommender.log,
        settings.replace(training=settings.training.replace(max_steps=2)),
    )
    again = fitted.transfer(fitted.catalog, fitted.log)
    own = fitted.item_tokenizer.encode(fitted.vectorizer.vectors(fitted.catalog, settings))
    found = again.item_tokenizer.encode(again.vectorizer.vectors(again.catalog, settings))
    assert np.array_equal(own, found)
    histories = [fitted.catalog.item_ids[i : i + 3] for i in range(0, 60, 3)]
    if np.array_equal(again.semantic_ids.codes, fitted.semantic_ids.codes):
        assert again.alone().recommend(histories) == fitted.alone().recommend(histories)


def test_what_the_law_has_in_common_is_recommended_at_once(recommender, other):
    """Better than chance, after a second of training: titles carry the chains along which customers buy."""
    moved = recommender.transfer(other.catalog, other.log)
    [alone] = judge_of(moved, "test").measure([moved.alone()])
    chance = 10 / len(other.catalog)
    assert alone.confidence["recall@10"][0] > 1.2 * chance


def test_counts_stay_behind_and_likeness_of_texts_comes(recommender, other, tmp_path):
    moved = transfer(recommender, other.catalog, None, TransferSettings(text_weight=0.4))
    assert (moved.settings.memory.weight, moved.settings.memory.text_weight) == (0.0, 0.4)
    [texts] = moved.components
    assert (texts.name, texts.likeness.shape) == ("texts", (90, 90))
    assert moved.recommend([other.catalog.item_ids[:2]])[0]
    silent = transfer(recommender, other.catalog, None, TransferSettings(text_weight=0))
    assert silent.components == ()
    with pytest.raises(InputError, match="no log to be measured on"):
        judge_of(silent)
    with pytest.raises(InputError, match="no log to learn from"):
        fit_further(silent, further_settings(silent), tmp_path / "x")


def test_without_a_log_its_catalog_is_looked_at_and_lives(recommender, other):
    from genrec.cli.inspect import inspection_tables
    from genrec.recommender.inspection import inspect_recommender

    moved = recommender.transfer(other.catalog)
    gone = other.catalog.item_ids[3]
    left = moved.remove_items([gone])
    assert len(left.catalog) == 89
    assert gone not in {item.item_id for item in left.recommend([[]], k=89)[0]}
    document = inspect_recommender(moved)
    assert document["items"] == 90
    assert len(inspection_tables(document)) > 0


def test_a_catalog_too_large_to_compare_is_left_to_the_language_model(recommender, other, caplog):
    few = recommender.settings.memory.replace(text_items=50)
    from dataclasses import replace

    narrow = replace(recommender, settings=recommender.settings.replace(memory=few))
    with caplog.at_level(logging.WARNING):
        moved = narrow.transfer(other.catalog)
    assert moved.components == ()
    assert "texts of 90 items are not compared" in caplog.text


def test_what_training_makes_worse_stays_as_it_was(moved, tmp_path):
    """At such a rate nothing is learned, and the weights remain."""
    from dataclasses import replace

    words = ["training.max_steps=6", "training.learning_rate=10", "split.train_share=0.05"]
    copy = replace(moved, language_model=moved.language_model.merged())
    before = hash_weights(copy.language_model)
    further = fit_further(copy, further_settings(copy, words=words), tmp_path / "further")
    assert hash_weights(further.language_model) == before
    assert further.metrics["training"]["best_step"] == 0


def test_saved_and_opened_it_is_the_same(moved, tmp_path):
    moved.save_pretrained(tmp_path / "moved")
    opened = GenerativeRecommender.from_pretrained(tmp_path / "moved")
    histories = [moved.catalog.item_ids[:3], []]
    assert opened.recommend(histories) == moved.recommend(histories)
    assert "transferred_from" in opened.data


def test_an_encoder_that_knows_no_other_words_is_warned_of(recommender, other, caplog):
    with caplog.at_level(logging.WARNING):
        recommender.transfer(other.catalog)
    assert "encoder.name=minilm" in caplog.text


def test_codes_that_number_items_mean_nothing_elsewhere(shop, quick_settings, other):
    settings = FitSettings.model_validate(
        quick_settings | {"item_tokenizer": {"kind": "sequential"}}
    )
    settings = settings.replace(training=settings.training.replace(max_steps=2))
    numbered = GenerativeRecommender.fit(shop.catalog, shop.log, settings)
    with pytest.raises(InputError, match="number its own items"):
        numbered.transfer(other.catalog)


def test_more_items_than_codes_are_refused(recommender):
    room = int(np.prod(recommender.semantic_ids.codebook_sizes))
    many = pa.table({"item_id": [f"x{i}" for i in range(room + 1)]})
    with pytest.raises(InputError, match=r"tuples|semantic IDs"):
        recommender.transfer(Catalog.from_table(many))


def test_a_log_of_another_catalog_is_refused(recommender, shop, other):
    with pytest.raises(InputError, match="read with another catalog"):
        recommender.transfer(other.catalog, shop.log)


def test_fitting_on_learns_the_new_log_and_chooses_the_weights_anew(moved, tmp_path):
    words = ["training.max_steps=60", "split.train_share=0.5"]
    settings = further_settings(moved, words=words)
    assert (settings.memory.weight, settings.memory.text_weight) == (None, None)
    from dataclasses import replace

    copy = replace(moved, language_model=moved.language_model.merged())
    weights = hash_weights(moved.language_model)
    fitted = fit_further(copy, settings, tmp_path / "further")
    assert hash_weights(moved.language_model) == weights
    assert hash_weights(fitted.language_model) != weights
    assert fitted.settings.memory.weight is not None
    assert fitted.metrics["components"]
    assert fitted.metrics["further"]["of"] == weights
    opened = GenerativeRecommender.from_pretrained(tmp_path / "further")
    assert opened.settings.split.train_share == 0.5
    judge = Judge(moved.catalog, moved.log, SplitSettings().apply(moved.log, 0), "test")
    before, after = judge.measure([moved.alone(), opened.alone()])
    assert after.metrics["ndcg@10"] > before.metrics["ndcg@10"]


def test_a_fit_that_goes_on_knows_its_log_and_no_other_takes_it_over(moved, tmp_path, monkeypatch):
    from dataclasses import replace

    from genrec.training import loop

    settings = further_settings(
        moved, words=["training.max_steps=4", "training.checkpoint_seconds=0"]
    )
    again = generate(
        SyntheticShop(items=90, users=150, seed=21)
    ).log  # other users of the same catalog
    assert again.catalog.item_ids == moved.catalog.item_ids

    def run(log):
        copy = replace(moved, log=log, language_model=moved.language_model.merged())
        return fit_further(copy, settings, tmp_path / "out")

    step, count = loop._Run._step, iter(range(10))

    def killed(self, epoch, batch):
        if next(count) == 2:
            raise KeyboardInterrupt
        return step(self, epoch, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(moved.log)
    with pytest.raises(InputError, match="unfinished fit with other data"):
        run(again)
    fitted = run(moved.log)
    assert fitted.data["interactions"]["users"] == 200
    assert "transferred_from" in fitted.data


@pytest.mark.parametrize(
    "word", ["encoder.dimension=8", "item_tokenizer.kind=rqvae", "language_model.compact.width=8"]
)
def test_what_a_recommender_is_made_of_cannot_change(moved, word):
    with pytest.raises(ConfigError, match=f"{word.split('.')[0]} cannot change"):
        further_settings(moved, words=[word])


def test_every_row_of_the_comparison_ranks(moved, quick_settings, tmp_path):
    from genrec.fitting.baselines.fit import BaselineSettings

    few = FewShot(
        moved,
        FitSettings.model_validate(quick_settings),
        ("training.max_steps=5",),
        BaselineSettings.model_validate(
            {
                "model": {"kind": "sasrec", "width": 8, "layers": 1},
                "training": {"epochs": 1, "max_steps": 5},
            }
        ),
        tmp_path,
    )
    parts = SplitSettings().apply(moved.log, 0)
    rankers = without_training(moved, parts) | few.fitted(0.1)
    assert len(rankers) == 10
    measured = Judge(moved.catalog, moved.log, parts, "valid", (10,)).measure(
        list(rankers.values())
    )
    assert all(0 <= row.metrics["recall@10"] <= 1 for row in measured)
    opened = few.fitted(0.1)  # nothing is fitted twice
    again = Judge(moved.catalog, moved.log, parts, "valid", (10,)).measure(list(opened.values()))
    assert [row.metrics for row in again] == [row.metrics for row in measured[-3:]]
