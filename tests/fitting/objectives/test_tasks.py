"""Packed rows against sequences alone, and a mixture of tasks against what was planted in it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from genrec.data.histories import Histories
from genrec.fitting.objectives.batches import pad_items
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.fitting.objectives.packing import first_fit, packs, stack
from genrec.fitting.objectives.task_loss import TaskLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.language_model.prompts import Example
from genrec.testing.fakes import TinyCatalog, save_tiny_pretrained

CATALOG = TinyCatalog.random(12, (4, 3), seed=2)
VECTORS = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
PACKABLE = ["qwen3", "qwen3-untied", "llama", "mistral-window", "gemma2-window", "gpt2"]


def tuned(folder, architecture="qwen3", tuning="lora"):
    """A tiny pretrained model with new code rows, in evaluation mode: no dropout."""
    base = save_tiny_pretrained(folder / f"base-{architecture}", architecture)
    settings = LanguageModelSettings(backbone=str(base), tuning=tuning, instruction="a b")
    lm = LanguageModel.create(
        settings, CATALOG.codes, VECTORS, CATALOG.codebook_sizes, max_items=8, seed=0
    )
    lm.model.eval()
    return lm


def levels_of(lm):
    return lm.vocabulary.levels_of(lm.core.get_input_embeddings().weight.shape[0])


def examples(lm, seed=0):
    """Sequences of words and codes of different lengths; some answers are words, some items, some both."""
    rng = np.random.default_rng(seed)
    word = list(range(2, 11))  # the others are codes
    codes = lm.vocabulary.encode(CATALOG.codes)
    made = []
    for n in (3, 9, 5, 14, 2):
        item = int(rng.integers(12))
        prompt, text = rng.choice(word, n), rng.choice(word, int(rng.integers(1, 6)))
        for answer in ([codes[item]], [text], [codes[item], text]):
            tokens = np.concatenate([prompt, *answer]).astype(np.int64)
            made.append(Example(tokens, n, item))
    return made


def loss_and_gradients(lm, loss, rows):
    lm.model.zero_grad()
    total = sum(loss(stack(part, levels_of(lm))) for part in rows)
    total.backward()
    grads = {n: p.grad.clone() for n, p in lm.model.named_parameters() if p.grad is not None}
    return float(total.detach()), grads


@pytest.mark.parametrize("architecture", PACKABLE)
def test_a_packed_batch_has_the_loss_and_gradients_of_its_sequences_apart(tmp_path, architecture):
    lm = tuned(tmp_path, architecture, "lora")
    assert packs(lm.core, lm.vocabulary.all_tokens + lm.vocabulary.all_tokens)
    loss = TaskLoss(lm, CATALOG.trie, "catalog", text_weight=0.3)
    made = examples(lm)
    apart, expected = loss_and_gradients(lm, loss, [[[example]] for example in made])
    packed, found = loss_and_gradients(lm, loss, [[made[0:4], made[4:9], made[9:15]]])
    assert packed == pytest.approx(apart, rel=1e-4)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("architecture", ["mamba", "lfm2"])
def test_a_model_that_carries_state_across_the_border_is_not_packed(tmp_path, architecture):
    base = save_tiny_pretrained(tmp_path / "base", architecture)
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    assert not packs(model, [*range(2, 11), *range(2, 11)])


def test_a_history_passed_over_has_the_loss_of_the_next_item_objective(tmp_path):
    lm = tuned(tmp_path)
    histories = Histories.of([[3, 1, 4], [5], [9, 2]])
    items = torch.from_numpy(pad_items(histories, np.arange(3)))
    expected = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog")(items)
    rows = []
    for history in histories:
        codes = lm.vocabulary.encode(CATALOG.codes[history]).ravel()
        tokens = np.concatenate([lm.prefix, codes]).astype(np.int64)
        rows.append(Example(tokens, len(lm.prefix), np.repeat(history.astype(np.int64), 2)))
    found = TaskLoss(lm, CATALOG.trie, "catalog", 1.0)(stack([rows], levels_of(lm)))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_words_are_scored_over_the_whole_vocabulary(tmp_path):
    lm = tuned(tmp_path)
    example = Example(np.array([5, 6, 7, 8, 9]), 2, 0)
    loss = TaskLoss(lm, CATALOG.trie, "catalog", text_weight=0.5)
    with torch.no_grad():
        logits = lm.model(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).logits[0].log_softmax(-1)
        found = loss(stack([[example]], levels_of(lm)))
    expected = -0.5 * sum(logits[i, t] for i, t in [(1, 7), (2, 8), (3, 9)])
    torch.testing.assert_close(found, expected)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 50))
@hypothesis_settings(max_examples=200)
def test_rows_hold_every_sequence_once_within_their_length(lengths, capacity):
    rows = first_fit(np.array(lengths), capacity)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(len(row) == 1 or sum(lengths[i] for i in row) <= capacity for row in rows)
    # Best fit leaves at most one row less than half full.
    assert sum(2 * sum(lengths[i] for i in row) < capacity for row in rows) <= 1
