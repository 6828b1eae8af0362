"""Refit: what it takes over from the fit, what it learns more, and what it refuses."""

import math

import numpy as np
import pytest

from genrec import GenerativeRecommender
from genrec.common.errors import InputError
from genrec.fitting.refit import refit_folder, refit_settings
from genrec.recommender.components import weights_of
from genrec.recommender.reranker import Layers, Reranker


@pytest.fixture(scope="module")
def reranking(recommender):
    """A recommender with a reranker that changes little."""
    weights = weights_of(recommender.settings)
    parts = sum(weight > 0 for weight in weights.values()) + (sum(weights.values()) < 1 - 1e-9)
    read = 2 * parts
    zeros = {"mean": np.zeros(read), "scale": np.ones(read), "inner": np.zeros((read, 1))}
    small = {"bias": np.zeros(1), "outer": np.zeros(1), "straight": np.full(read, 0.1)}
    layers = Layers(**zeros, **small, shift=np.zeros(1))
    return recommender.changed(reranker=Reranker(weights, layers))


@pytest.fixture(scope="module")
def refitted(reranking, tmp_path_factory):
    """The same on validation events too."""
    return refit_folder(reranking, tmp_path_factory.mktemp("refit") / "out")


def test_it_learns_from_validation_events_and_nothing_of_the_test(reranking, refitted):
    before, after = reranking.split, refitted.split
    assert len(after.valid) == 0
    assert len(after.train.items) == len(before.train.items) + len(before.valid)
    np.testing.assert_array_equal(after.test.targets, before.test.targets)
    counts = {part.name: part for part in refitted.components}["counts"]
    assert counts.counts.popularity.counts.sum() == len(after.train.items)


def test_it_takes_over_what_was_chosen(reranking, refitted):
    assert weights_of(refitted.settings) == weights_of(reranking.settings)
    assert refitted.settings.exclude_seen == reranking.settings.exclude_seen
    said = np.random.default_rng(0).random((4, len(reranking.reranker.layers.mean) // 2))
    np.testing.assert_array_equal(refitted.reranking.scores(said), reranking.reranking.scores(said))
    assert refitted.metrics["validation"] is None
    assert refitted.metrics["refit"]["validation"] == reranking.metrics["validation"]


def test_it_passes_over_the_log_as_often_as_was_best(reranking, refitted):
    train, valid = len(reranking.split.train.items), len(reranking.split.valid)
    for part in ("training", "text_model"):
        best = reranking.metrics[part]["best_step"]
        assert refitted.metrics[part]["steps"] == math.ceil(best * (train + valid) / train)


def test_the_folder_holds_it_and_its_card_says_so(refitted, reranking, tmp_path, command):
    folder = tmp_path / "fit"
    reranking.save_pretrained(folder)
    answer = command("refit", folder, "--out", tmp_path / "out")
    assert answer.status == 0, answer.err
    refused = command("refit", folder, "--out", tmp_path / "out")
    assert refused.status == 2
    assert "replace it with --overwrite" in refused.message
    again = GenerativeRecommender.from_pretrained(tmp_path / "out")
    histories = again.split.test.histories
    found, wanted = (r.rank(histories, 5, exclude_seen=True) for r in (again, refitted))
    np.testing.assert_array_equal(found.items, wanted.items)
    card = " ".join((tmp_path / "out" / "README.md").read_text().split())
    assert "Fitted again on training and validation events together" in card
    assert "The test part of the log was held out of training." in card


def test_what_was_refitted_or_made_otherwise_is_refused(refitted, reranking, tmp_path):
    with pytest.raises(InputError, match="fitted with a validation part"):
        refit_folder(refitted, tmp_path / "twice")
    further = reranking.changed(metrics=reranking.metrics | {"further": {}})
    with pytest.raises(InputError, match=r"made otherwise \(further\)"):
        refit_folder(further, tmp_path / "further")
    reduced = reranking.remove_items([reranking.catalog.item_ids[0]])
    with pytest.raises(InputError, match="items were removed since the fit"):
        refit_folder(reduced, tmp_path / "reduced")
    assert not list(tmp_path.iterdir())


def test_a_fit_of_an_earlier_version_trains_its_text_model_as_long_as_any(reranking):
    metrics = {name: value for name, value in reranking.metrics.items() if name != "text_model"}
    earlier = refit_settings(reranking.changed(metrics=metrics))
    assert earlier.text_model.training == reranking.settings.text_model.training
    assert earlier.training.max_steps != reranking.settings.training.max_steps
