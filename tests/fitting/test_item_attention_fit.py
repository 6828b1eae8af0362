"""A recommender of bidirectional items and noisy histories: fitted, kept, searched, made smaller, refused."""

import numpy as np
import pytest

from genrec import FitSettings, GenerativeRecommender
from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.fitting.distill import StudentSettings, distill
from genrec.fitting.fit import fit
from genrec.fitting.further import fit_further, further_settings
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model.item_attention import BidirectionalInputs
from genrec.recommender.folder.export import export_model


@pytest.fixture(scope="module")
def chosen(quick_settings):
    values = quick_settings | {
        "language_model": quick_settings["language_model"] | {"item_attention": "bidirectional"},
        "memory": {"weight": 0.0, "text_weight": 0.0},
        "text_model": {"weight": 0.0},
    }
    return FitSettings.model_validate(values)


@pytest.fixture(scope="module")
def fitted(shop, chosen):
    return GenerativeRecommender.fit(shop.catalog, shop.log, chosen)


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("bidirectional") / "fitted"
    fitted.save_pretrained(path)
    return path


def histories(recommender):
    ids = recommender.catalog.item_ids
    return [ids[:3], ids[5:6], [], ids[:40]]


def test_it_learns_and_opens_the_same(fitted, folder):
    curve = fitted.metrics["training"]["curve"]
    assert curve[-1]["loss"] < curve[0]["loss"]
    opened = GenerativeRecommender.from_pretrained(folder)
    assert isinstance(opened.inputs, BidirectionalInputs)
    assert opened.recommend(histories(fitted)) == fitted.recommend(histories(fitted))


def test_what_is_recommended_has_the_probabilities_that_were_trained(fitted):
    """The search's scores after a history are the loss of one more item."""
    import torch

    history, k = [3, 8, 15], 10
    found = fitted.rank(Histories.of([history]), k, exclude_seen=False)
    codes = fitted.semantic_ids.codes
    loss = NextItemLoss(fitted.language_model, codes, fitted.trie, "catalog", fitted.inputs).eval()
    with torch.inference_mode():
        before = loss(torch.tensor([history]))
        expected = [float(before - loss(torch.tensor([[*history, i]]))) for i in found.items[0]]
    np.testing.assert_allclose(found.scores[0], expected, atol=2e-5)


def test_with_causal_attention_the_model_is_another(fitted, shop, chosen):
    causal = chosen.language_model.replace(item_attention="causal")
    settings = chosen.replace(language_model=causal)
    other = GenerativeRecommender.fit(shop.catalog, shop.log, settings)
    assert other.recommend(histories(other)) != fitted.recommend(histories(fitted))


class Killed(Exception):
    """Stands for a SIGKILL."""


def test_a_killed_fit_ends_with_the_weights_of_an_undisturbed_one(
    fitted, shop, chosen, tmp_path, monkeypatch
):
    import torch

    often = chosen.replace(training=chosen.training.replace(checkpoint_seconds=0.0))
    forward, calls = NextItemLoss.forward, []

    def dying(self, batch):
        calls.append(1)
        if len(calls) == 40:
            raise Killed
        return forward(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(NextItemLoss, "forward", dying)
        with pytest.raises(Killed):
            fit(GenerativeRecommender, shop.catalog, shop.log, often, work=tmp_path / "work")
    resumed = fit(GenerativeRecommender, shop.catalog, shop.log, often, work=tmp_path / "work")
    pairs = zip(
        fitted.language_model.model.parameters(),
        resumed.language_model.model.parameters(),
        strict=True,
    )
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_student_and_a_further_fit_attend_alike(folder, tmp_path):
    opened = GenerativeRecommender.from_pretrained(folder)
    student = distill(opened, StudentSettings(layers=1), tmp_path / "student")
    assert student.language_model.item_attention == "bidirectional"
    settings = further_settings(opened, words=["training.max_steps=3"])
    further = fit_further(opened, settings, tmp_path / "further")
    assert further.language_model.item_attention == "bidirectional"
    assert further.metrics["training"]["steps"] == 3


def test_it_is_no_plain_model_to_export(folder, tmp_path):
    with pytest.raises(InputError, match=r"language_model\.item_attention=causal to export"):
        export_model(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
