"""Base models in 8 and 4 bits: what is asked of bitsandbytes, and what is said where it cannot be had."""

from importlib.util import find_spec

import pytest
import torch

from genrec.common.errors import ConfigError, MissingExtraError
from genrec.language_model import LanguageModelSettings, pretrained
from genrec.language_model.tuning import code_rows
from genrec.testing import fakes

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="needs the extra 'quantize'"
)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A base whose rows fill whole blocks of 64 weights, as a real model's do.

    On a processor with AVX512-BF16, bitsandbytes packs 4-bit weights by such blocks and cannot pack less.
    """
    name, values = fakes.ARCHITECTURES["qwen3-untied"]
    sizes = {"hidden_size": 64, "intermediate_size": 64, "head_dim": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fakes.ARCHITECTURES, "wide", (name, values | sizes))
        return fakes.save_tiny_pretrained(tmp_path_factory.mktemp("wide"), "wide")


def settings(**values):
    return LanguageModelSettings(backbone="x", **values)


def test_the_missing_package_is_named(lab, bases, monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"quantization = 4bit.*pip install 'genrec\[quan"):
        lab.make(bases("qwen3"), quantization="4bit")


def test_what_is_asked_of_bitsandbytes(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda name: object())
    four = pretrained.quantizer(settings(quantization="4bit", dtype="bfloat16"))
    assert four.load_in_4bit
    assert four.bnb_4bit_quant_type == "nf4"
    assert four.bnb_4bit_use_double_quant
    assert four.bnb_4bit_compute_dtype == torch.bfloat16
    eight = pretrained.quantizer(settings(quantization="8bit"))
    assert eight.load_in_8bit
    assert not eight.load_in_4bit


def test_a_machine_that_cannot_quantize_says_so(lab, bases, monkeypatch):
    from transformers import AutoModelForCausalLM

    def refuse(*_, **options):
        assert options["quantization_config"].load_in_8bit
        raise RuntimeError("None of the available devices are supported")

    monkeypatch.setattr(pretrained, "find_spec", lambda name: object())
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(ConfigError, match=r"'8bit' cannot be had on this machine \(None of the"):
        lab.make(bases("qwen3"), quantization="8bit")


def test_a_quantized_model_keeps_its_precision(lab, bases):
    lm = lab.make(bases("qwen3"))
    lm.core.is_quantized = True
    with pytest.raises(ConfigError, match="leave dtype out"):
        lm.to(torch.device("cpu"), "bfloat16")
    lm.to(torch.device("cpu"))


@needs_bitsandbytes
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
@pytest.mark.parametrize("tuning", ["lora", "vocabulary"])
def test_a_quantized_base_is_tuned_saved_and_read(lab, wide, tmp_path, quantization, tuning):
    values = {"quantization": quantization, "tuning": tuning}
    chosen = LanguageModelSettings(backbone=str(wide), **values)
    lm = lab.make(wide, **values)
    assert lm.quantized
    first, last = float(lab.loss(lm).detach()), lab.train(lm, steps=8)
    assert last < first
    for merged in (False, True):
        back = lab.reload(lm, tmp_path / f"saved-{merged}", chosen, merged=merged)
        assert back.quantized
        assert torch.equal(lab.logits(back), lab.logits(lm))
    whole = chosen.replace(quantization="none")
    plain = lab.reload(lm, tmp_path / "saved", whole, merged=True)
    assert not plain.quantized
    assert not code_rows(plain.model)
    pair = [lab.logits(model).flatten() for model in (plain, lm)]
    assert torch.cosine_similarity(*pair, dim=0) > 0.9  # apart by what the quantization costs
