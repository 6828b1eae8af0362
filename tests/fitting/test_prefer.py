"""From a recommender's folder to one that prefers: what is learned from, round trips, what is refused."""

import numpy as np
import pytest
import torch

from genrec import FitSettings, GenerativeRecommender, InputError
from genrec.data.histories import Histories
from genrec.fitting import prefer as preferring
from genrec.fitting.prefer import (
    PreferenceTraining,
    PreferringSettings,
    _without,
    prefer,
    preferred_before,
    training_cases,
)
from genrec.testing.fakes import save_tiny_pretrained

QUICK = PreferringSettings(
    negatives=4,
    training=PreferenceTraining(max_steps=6, min_steps=6, batch_items=512, validations=2),
)


@pytest.fixture
def fitted(shop, quick_settings):
    settings = FitSettings.model_validate(quick_settings)
    return GenerativeRecommender.fit(shop.catalog, shop.log, settings)


def weights(recommender):
    return {n: p.detach().clone() for n, p in recommender.language_model.model.named_parameters()}


def test_training_cases_are_the_newest_items_of_the_training_part():
    cases = training_cases(Histories.of([[7], [1, 2], [], [3, 4, 5, 6]]), most=2)
    assert cases.users.tolist() == [1, 3, 3]
    assert cases.targets.tolist() == [2, 6, 5]
    assert [h.tolist() for h in cases.histories] == [[1], [3, 4, 5], [3, 4]]


def test_the_target_is_taken_out_of_what_was_found():
    found = np.array([[4, 2, 9], [1, 3, 5]], np.int32)
    taken = _without(found, np.array([2, 8], np.int32))
    assert taken.tolist() == [[4, 9, -1], [1, 3, 5]]


def test_the_folder_is_a_recommenders_and_the_weights_have_moved(fitted, tmp_path):
    before, weight = weights(fitted), fitted.settings.memory.weight
    out = tmp_path / "preferring"
    tuned = prefer(fitted, QUICK, out)
    assert any(not torch.equal(p, before[name]) for name, p in weights(tuned).items())
    opened = GenerativeRecommender.from_pretrained(out, device="cpu")
    history = [list(fitted.catalog.item_ids[:3])]
    assert opened.recommend(history, k=5) == tuned.recommend(history, k=5)
    assert opened.settings.memory.weight == weight
    assert opened.metrics["training"]["steps"] == 6
    assert opened.metrics["preference"]["negatives"] == 4
    assert not out.with_name("preferring.partial").exists()


def test_only_the_training_part_is_read(fitted, tmp_path, monkeypatch):
    """Every searched history and every target lies before the user's two held-out items."""
    seen, search = [], preferring._choices

    def watched(recommender, cases, negatives):
        seen.append(cases)
        return search(recommender, cases, negatives)

    monkeypatch.setattr(preferring, "_choices", watched)
    prefer(fitted, QUICK, tmp_path / "preferring")
    log = fitted.log.histories
    [cases] = seen
    for user, history, target in zip(cases.users, cases.histories, cases.targets, strict=True):
        known = log[user][:-2].tolist()
        length = len(history)
        assert known[: length + 1] == [*history.tolist(), target]


def test_one_setting_of_training_leaves_the_others_as_they_are():
    chosen = PreferringSettings.model_validate({"training": {"epochs": 3}}).training
    assert chosen == PreferenceTraining(epochs=3)
    assert chosen.learning_rate == 2e-4


def test_what_was_made_before_is_known_by_recommender_and_settings(fitted, tmp_path):
    out = tmp_path / "preferring"
    assert not preferred_before(fitted, QUICK, out)
    fitted.save_pretrained(tmp_path / "fitted")
    prefer(fitted, QUICK, out)
    again = GenerativeRecommender.from_pretrained(tmp_path / "fitted", device="cpu")
    assert preferred_before(again, QUICK, out)
    with pytest.raises(InputError, match="something other than this recommender, taught"):
        preferred_before(again, QUICK.replace(negatives=3), out)


def test_an_adapter_is_merged_first_and_then_needs_no_base(shop, quick_settings, tmp_path):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    tuned = {"backbone": str(base), "lora": {"rank": 2}}
    training = {"max_steps": 3, "batch_items": 256, "validations": 1}
    settings = quick_settings | {"language_model": tuned, "training": training}
    fitted = GenerativeRecommender.fit(shop.catalog, shop.log, FitSettings.model_validate(settings))
    fitted.save_pretrained(tmp_path / "fitted")
    with pytest.raises(InputError, match=r"adapter has to be merged .*: open .*merged=True"):
        prefer(fitted, QUICK, tmp_path / "preferring")
    merged = GenerativeRecommender.from_pretrained(tmp_path / "fitted", device="cpu", merged=True)
    result = prefer(merged, QUICK, tmp_path / "preferring")
    trainable, total = result.language_model.parameters()
    assert trainable == total
    base.rename(tmp_path / "gone")
    opened = GenerativeRecommender.from_pretrained(tmp_path / "preferring", device="cpu")
    history = [list(fitted.catalog.item_ids[:3])]
    assert opened.recommend(history, k=5) == result.recommend(history, k=5)


def test_a_user_with_one_item_is_no_choice(fitted, tmp_path):
    short = fitted.log.of_histories(fitted.catalog, fitted.log.histories.last(3))
    fitted.log = short
    with pytest.raises(InputError, match="no user has two items"):
        prefer(fitted, QUICK, tmp_path / "preferring")
