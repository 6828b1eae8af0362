"""Preference optimisation: its loss by hand, its probabilities against the search, and what it teaches."""

import math

import numpy as np
import pytest
import torch

from genrec.data.histories import Histories
from genrec.decoding import BeamSearch, BeamSettings
from genrec.fitting.objectives.preference import (
    Choices,
    ChoiceSource,
    PreferenceLoss,
    PreferenceSettings,
    preference_loss,
)
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.testing.fakes import TinyCatalog
from genrec.training import TrainingSettings, train
from genrec.training.sources import Part

CATALOG = TinyCatalog.random(12, (3, 3, 2), seed=2)
HISTORIES = [[3, 1, 4], [], [5], [9, 2]]


def model(dropout=0.0):
    shape = {"width": 16, "layers": 2, "heads": 2, "dropout": dropout}
    vectors = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
    lm = LanguageModel.create(
        LanguageModelSettings.model_validate({"compact": shape}),
        CATALOG.codes,
        vectors,
        CATALOG.codebook_sizes,
        max_items=8,
        seed=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in lm.model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return lm


def loss_of(lm, normalization="catalog", **settings):
    chosen = PreferenceSettings(**settings)
    return PreferenceLoss(lm, CATALOG.codes, CATALOG.trie, normalization, chosen)


def choices_of(candidates, reference=None):
    candidates = np.array(candidates, np.int32)
    known = np.zeros(candidates.shape) if reference is None else np.array(reference)
    histories = Histories.of(HISTORIES[: len(candidates)])
    return Choices(histories, candidates, known.astype(np.float32))


def test_the_loss_counted_by_hand():
    found = torch.log(torch.tensor([[0.5, 0.2, 0.1], [0.25, 0.5, 1.0]]))
    reference = torch.log(torch.tensor([[0.25, 0.4, 0.1], [0.5, 0.25, 1.0]]))
    real = torch.tensor([[True, True, True], [True, True, False]])
    # Gains with beta 2: (2, 1/2, 1) squared, and (1/2, 2) squared; -log sigmoid(-log x) = log(1 + x).
    first = math.log(1 + (0.25 + 1.0) / 4.0)
    second = math.log(1 + 4.0 / 0.25)
    likelihood = -math.log(0.5) - math.log(0.25)
    settings = PreferenceSettings(beta=2, likelihood=0.5)
    loss = preference_loss(found, reference, real, settings).item()
    assert loss == pytest.approx(first + second + 0.5 * likelihood, rel=1e-5)


def test_a_choice_that_nothing_stands_against_has_its_likelihood_alone():
    found = torch.tensor([[-1.5, 0.0], [-0.5, 0.0]], requires_grad=True)
    real = torch.tensor([[True, False], [True, False]])
    loss = preference_loss(found, torch.zeros(2, 2), real, PreferenceSettings(likelihood=2))
    loss.backward()
    assert loss.item() == pytest.approx(4.0)
    assert found.grad.tolist() == [[-2.0, 0.0], [-2.0, 0.0]]


@pytest.mark.parametrize("normalization", ["catalog", "level", "vocabulary"])
def test_log_probabilities_are_those_of_the_search(normalization):
    lm = model()
    search = BeamSearch(
        lm.core, lm.vocabulary, CATALOG.trie, BeamSettings(beams=12, normalization=normalization)
    )
    prompts = [
        np.concatenate([lm.prefix, lm.vocabulary.encode(CATALOG.codes[h]).ravel()]).astype(int)
        for h in HISTORIES
    ]
    items, scores = search.search(prompts, 12)
    candidates = items.copy()
    candidates[1, 5:] = -1
    batch = choices_of(candidates).batch(np.arange(4))
    with torch.no_grad():
        found = loss_of(lm, normalization).eval().log_probabilities(batch).numpy()
    expected = np.where(candidates >= 0, scores, 0.0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_dropout_is_off_in_training_too():
    lm = model(dropout=0.5)
    loss = loss_of(lm).train()
    batch = choices_of([[0, 1], [2, 3], [4, 5], [6, 7]]).batch(np.arange(4))
    assert torch.equal(loss(batch), loss(batch))
    assert not lm.model.training


def test_parts_of_an_epoch_hold_every_choice_once():
    candidates = [[0, 1, 2], [3, 4, -1], [5, 6, 7], [8, 9, 10]]
    source = ChoiceSource(choices_of(candidates), TrainingSettings(batch_items=9), 0, 3)
    epoch = source.epoch(0)
    seen = [
        tuple(row)
        for batch in range(len(epoch))
        for number in range(2)
        for part, counts in [epoch.part(batch, Part(number, 2))]
        if counts
        for row in part.candidates.tolist()
    ]
    assert sorted(seen) == sorted(map(tuple, candidates))
    assert sum(epoch.units(batch) for batch in range(len(epoch))) == 4
    # Three copies of 3 + 1 items, two of 0 + 1, three of 1 + 1 and of 2 + 1; three tokens each.
    assert sum(epoch.tokens(batch) for batch in range(len(epoch))) == 3 * (12 + 2 + 6 + 9)


def test_the_chosen_item_comes_to_stand_above_the_others(tmp_path):
    lm = model()
    loss = loss_of(lm)
    choices = choices_of([[0, 1, 2], [3, 4, -1], [5, 6, 7], [8, 9, 10]])
    everything = choices.batch(np.arange(4))
    with torch.no_grad():
        before = loss.eval().log_probabilities(everything)
    known = choices_of(choices.candidates, before.numpy())
    run = TrainingSettings(
        max_steps=60, min_steps=60, validations=1, learning_rate=1e-2, warmup_steps=0
    )
    train(loss, ChoiceSource(known, run, 0), run, None, folder=tmp_path, seed=0)
    with torch.no_grad():
        after = loss.log_probabilities(everything)
    others = (everything.candidates >= 0)[:, 1:]
    margin = (after[:, :1] - after[:, 1:]).masked_fill(~others, 9.0)
    assert (margin > 1.0).all()
    assert (after[:, 0] > before[:, 0]).all()  # the likelihood keeps the chosen item likely
