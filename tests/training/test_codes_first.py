"""A warm-up of the code rows alone: what moves when, and that a kill anywhere changes nothing."""

import logging

import numpy as np
import pytest
import torch

from genrec import FitSettings
from genrec.common.config import validate
from genrec.common.errors import ConfigError, InputError
from genrec.data.histories import Histories
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.testing.fakes import TinyCatalog, save_tiny_pretrained
from genrec.training import TrainingSettings, train

CATALOG = TinyCatalog.random(12, (4, 3), seed=2)
VECTORS = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
DATA = Histories.of(np.random.default_rng(5).integers(0, 12, (30, 5)).tolist())


def train_on(loss, histories, settings, validate, *, seed, **options):
    """Train on histories alone."""
    source = HistorySource(histories, settings, seed)
    return train(loss, source, settings, validate, seed=seed, **options)


@pytest.fixture(scope="module", params=["qwen3", "qwen3-untied"])
def base(request, tmp_path_factory):
    return save_tiny_pretrained(tmp_path_factory.mktemp("base") / request.param, request.param)


def run(base, folder, steps, *, tuning="lora", kill=None, **more):
    """Train for `steps`; return parameters before and after, by name."""
    settings = LanguageModelSettings(backbone=str(base), tuning=tuning, instruction="a b")
    lm = LanguageModel.create(
        settings, CATALOG.codes, VECTORS, CATALOG.codebook_sizes, max_items=8, seed=0
    )
    before = {name: p.detach().clone() for name, p in lm.model.named_parameters()}
    loss = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog")
    values = {"batch_items": 30, "validations": 2, "checkpoint_seconds": 0} | more
    training = TrainingSettings(max_steps=steps, min_steps=steps, **values)

    def report(step, total, value):
        if step == kill:
            raise KeyboardInterrupt

    train_on(loss, DATA, training, None, folder=folder, seed=3, report=report)
    after = dict(lm.model.named_parameters())
    return before, after, {name for name in after if not torch.equal(before[name], after[name])}


def is_row(name):
    return ".trainable_tokens_delta." in name


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_only_the_rows_move_and_then_the_rest(base, tmp_path, tuning, caplog):
    _, after, moved = run(base, tmp_path / "a", 4, tuning=tuning, codes_first=4)
    assert "leaves nothing for the rest" in caplog.text
    caplog.clear()
    assert moved == {name for name in after if is_row(name)} != set()
    assert all(p.requires_grad for name, p in after.items() if is_row(name) or ".lora_" in name)
    _, _, moved = run(base, tmp_path / "b", 5, tuning=tuning, codes_first=4)
    assert any(not is_row(name) for name in moved)
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("kill", [2, 4, 6])
def test_a_kill_before_at_and_after_its_end_changes_nothing(base, tmp_path, kill):
    _, whole, _ = run(base, tmp_path / "whole", 8, codes_first=4, accumulate=2)
    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path / "cut", 8, codes_first=4, accumulate=2, kill=kill)
    _, resumed, _ = run(base, tmp_path / "cut", 8, codes_first=4, accumulate=2)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_has_no_pretrained_rest_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="codes_first"):
        validate(FitSettings, {"training": {"codes_first": 3}}, source="test")
    module = torch.nn.Linear(2, 1)
    with pytest.raises(InputError, match="no codes here"):
        train_on(module, DATA, TrainingSettings(codes_first=3), None, folder=tmp_path / "x", seed=0)
