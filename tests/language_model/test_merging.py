"""Merged models: plain Transformers models that say the same."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from genrec.common.errors import InputError
from genrec.decoding import BeamSearch, BeamSettings
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.testing.fakes import ARCHITECTURES

TUNINGS = ["lora", "full", "vocabulary"]
CASES = [(name, "lora") for name in ARCHITECTURES]
CASES += [(name, tuning) for name in ("qwen3", "qwen3-untied", "gpt2") for tuning in TUNINGS[1:]]


@pytest.mark.parametrize(("architecture", "tuning"), CASES)
def test_merged_is_a_plain_model_with_the_same_logits(lab, bases, tmp_path, architecture, tuning):
    lm = lab.make(bases(architecture), tuning=tuning)
    lab.train(lm)
    expected, trains = lab.logits(lm), lm.parameters()
    plain = lm.merged()
    torch.testing.assert_close(lab.logits(plain), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(lab.logits(lm), expected), "the original is touched"
    assert lm.parameters() == trains
    assert type(plain.model) is type(lm.core)
    assert not any("lora" in n or "delta" in n for n, _ in plain.model.named_parameters())
    table, head = plain.core.get_input_embeddings(), plain.core.get_output_embeddings()
    assert (head.weight is table.weight) == plain.core.config.tie_word_embeddings

    plain.save(tmp_path / "plain")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    with torch.no_grad():
        alone = model(input_ids=lab.ids(lm)).logits
    torch.testing.assert_close(alone, expected, atol=1e-4, rtol=1e-4)
    assert tokenizer.get_vocab() == lm.tokenizer.get_vocab()
    assert model.config.vocab_size == expected.shape[-1]


@pytest.mark.parametrize("tuning", TUNINGS)
def test_loading_merged_is_merging(lab, bases, tmp_path, tuning):
    settings = LanguageModelSettings(backbone=str(bases("qwen3-untied")), tuning=tuning)
    lm = lab.make(bases("qwen3-untied"), tuning=tuning)
    lab.train(lm)
    back = lab.reload(lm, tmp_path / "saved", settings, merged=True)
    assert torch.equal(lab.logits(back), lab.logits(lm.merged()))
    assert back.base is None
    # What was merged is saved whole, and needs its base model no more.
    nowhere = settings.replace(backbone=str(tmp_path / "gone"))
    again = lab.reload(back, tmp_path / "again", nowhere)
    assert torch.equal(lab.logits(again), lab.logits(back))


def test_merging_what_has_nothing_to_merge_gives_a_copy(lab):
    lm = lab.make("compact")
    plain = lm.merged()
    assert torch.equal(lab.logits(plain), lab.logits(lm))
    assert plain.model is not lm.model


def test_a_quantized_model_is_not_merged(lab, bases):
    lm = lab.make(bases("qwen3"))
    lm.core.is_quantized = True
    with pytest.raises(InputError, match="quantization = none first"):
        lm.merged()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["qwen3", "qwen3-untied", "gpt2"])
def test_a_search_finds_the_same_items_loaded_and_merged(lab, bases, tmp_path, architecture, dtype):
    settings = LanguageModelSettings(backbone=str(bases(architecture)), dtype=dtype)
    lm = lab.make(bases(architecture), dtype=dtype)
    lab.train(lm)
    lm.save(tmp_path / "saved")

    def search(model):
        engine = BeamSearch(model.core, model.vocabulary, lab.catalog.trie, BeamSettings(beams=12))
        return engine.search([row.numpy() for row in lab.ids(model)], 12)

    items, scores = search(lm)
    sizes = lab.catalog.codebook_sizes
    loaded_items, loaded_scores = search(LanguageModel.load(tmp_path / "saved", settings, sizes))
    np.testing.assert_array_equal(loaded_items, items)
    np.testing.assert_array_equal(loaded_scores, scores)
    merged = search(LanguageModel.load(tmp_path / "saved", settings, sizes, merged=True))
    np.testing.assert_allclose(
        np.sort(merged[1]), np.sort(scores), atol=1e-4 if dtype == "float32" else 0.2
    )
