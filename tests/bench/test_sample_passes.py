"""The rival way of training, one sample a position, against the causal pass it must agree with."""

import numpy as np
import pytest
import torch

from bench.sample_passes import SampleLoss, SampleSource, fresh_model
from genrec.data.histories import Histories
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.testing.fakes import TinyCatalog
from genrec.training import TrainingSettings
from genrec.training.sources import Part

SIZES = (4, 5)
HISTORIES = Histories.of([[3, 1, 2, 5], [0], [], [7, 8, 9, 1, 4]])


@pytest.fixture(scope="module")
def losses():
    tiny = TinyCatalog.random(12, SIZES)
    settings = LanguageModelSettings(compact={"width": 16, "layers": 1, "heads": 2, "dropout": 0})
    vectors = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    model = LanguageModel.create(settings, tiny.codes, vectors, SIZES, max_items=8, seed=0)
    arguments = (model, tiny.codes, tiny.trie, "catalog")
    return NextItemLoss(*arguments).eval(), SampleLoss(*arguments).eval()


@pytest.mark.parametrize("by_length", [True, False])
def test_every_position_is_one_sample_with_its_newest_items(by_length):
    settings = TrainingSettings(max_items=2, batch_items=6)
    epoch = SampleSource(HISTORIES, settings, 0, by_length).epoch(0)
    rows = [
        tuple(row[row >= 0].tolist())
        for batch in range(len(epoch))
        for row in epoch.part(batch, Part(0, 1))[0]
    ]
    expected = [(3,), (3, 1), (3, 1, 2), (1, 2, 5), (0,)]
    expected += [(7,), (7, 8), (7, 8, 9), (8, 9, 1), (9, 1, 4)]
    assert sorted(rows) == sorted(expected)
    assert sum(epoch.units(batch) for batch in range(len(epoch))) == len(expected)


def test_samples_of_whole_histories_cost_what_the_causal_pass_costs(losses):
    causal, sampled = losses
    settings = TrainingSettings(max_items=8, batch_items=100)
    epoch = SampleSource(HISTORIES, settings, 0).epoch(0)
    total = sum(sampled(epoch.part(batch, Part(0, 1))[0]) for batch in range(len(epoch)))
    whole = torch.tensor([[3, 1, 2, 5, -1], [0, -1, -1, -1, -1], [7, 8, 9, 1, 4]])
    torch.testing.assert_close(total, causal(whole), rtol=1e-5, atol=1e-5)


def test_a_fresh_model_is_what_is_searched_and_trained(recommender):
    fresh, histories = fresh_model(recommender, seed=1), Histories.of([[3, 1, 2]])
    before = fresh.rank(histories, 5, exclude_seen=True).scores
    assert not np.array_equal(before, recommender.rank(histories, 5, exclude_seen=True).scores)
    with torch.no_grad():
        for parameter in fresh.language_model.model.parameters():
            parameter.mul_(2.0)
    assert not np.array_equal(before, fresh.rank(histories, 5, exclude_seen=True).scores)
