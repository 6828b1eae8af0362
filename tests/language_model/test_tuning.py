"""What trains of a pretrained model, and what must not move: every shape of model, every tuning."""

import logging
import warnings

import pytest
import torch

from genrec.common.errors import ConfigError, InputError, RecommenderError
from genrec.language_model import LanguageModelSettings, LevelHead
from genrec.language_model.tuning import code_rows
from genrec.testing.fakes import ARCHITECTURES

TUNINGS = ["lora", "full", "vocabulary"]
each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
each_tuning = pytest.mark.parametrize("tuning", TUNINGS)
CASES = [(name, "lora") for name in ARCHITECTURES]
CASES += [(name, tuning) for name in ("qwen3", "qwen3-untied", "gpt2") for tuning in TUNINGS[1:]]
each_case = pytest.mark.parametrize(("architecture", "tuning"), CASES)


def rows_moved(before, after):
    return [(new != old).any(1) for old, new in zip(before, after, strict=True)]


@each_architecture
@pytest.mark.parametrize("tuning", ["lora", "vocabulary"])
def test_the_new_rows_train_and_nothing_else_of_the_tables(lab, bases, architecture, tuning):
    lm = lab.make(bases(architecture), tuning=tuning)
    before, weights = lab.tables(lm), {n: p.clone() for n, p in lm.model.named_parameters()}
    lab.train(lm)
    new = torch.zeros(len(before[0]), dtype=torch.bool)
    new[lm.vocabulary.all_tokens] = True
    for moved in rows_moved(before, lab.tables(lm)):
        assert torch.equal(moved, new)
    changed = {n for n, p in lm.model.named_parameters() if not torch.equal(p, weights[n])}
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in changed)
    assert any("lora_" in name for name in changed) == (tuning == "lora")


@each_architecture
def test_full_tuning_moves_every_parameter(lab, bases, architecture):
    lm = lab.make(bases(architecture), tuning="full")
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    lab.train(lm)
    still = [n for n, p in lm.model.named_parameters() if torch.equal(p, before[n])]
    assert still == []


@each_case
def test_a_warm_up_trains_the_new_rows_alone_and_can_be_ended(lab, bases, architecture, tuning):
    lm = lab.make(bases(architecture), tuning=tuning)
    trained = {name for name, p in lm.model.named_parameters() if p.requires_grad}
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    lab.loss(lm).backward()  # what a step left behind must not be stepped on again
    lm.train_only_codes(True)
    lm.train_only_codes(True)
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=0.01, weight_decay=0.5)
    lab.loss(lm).backward()
    optimizer.step()
    moved = {name for name, p in lm.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if "trainable_tokens_delta" in name}
    assert lm.parameters()[0] == sum(row.numel() for row in code_rows(lm.model))
    lm.train_only_codes(False)
    lm.train_only_codes(False)
    assert {name for name, p in lm.model.named_parameters() if p.requires_grad} == trained


def test_what_has_no_rows_of_its_own_cannot_train_them_alone(lab, bases, tmp_path):
    settings = LanguageModelSettings(backbone=str(bases("qwen3")))
    tuned = lab.make(bases("qwen3"))
    for lm in (lab.make("compact"), tuned.merged(), lab.reload(tuned, tmp_path / "x", settings)):
        lm.train_only_codes(False)
        with pytest.raises(InputError, match="cannot train alone"):
            lm.train_only_codes(True)


@each_architecture
def test_lora_reaches_every_linear_layer_but_no_table(lab, bases, architecture):
    lm = lab.make(bases(architecture))
    adapted = {n.split(".lora_A")[0] for n, _ in lm.model.named_parameters() if ".lora_A" in n}
    linear = {
        name.removesuffix(".base_layer")
        for name, layer in lm.model.named_modules()
        if type(layer).__name__ in ("Linear", "Conv1D") and "lora_" not in name
    }
    head = {name for name in linear if "lm_head" in name}
    assert adapted == linear - head
    assert len(adapted) >= 2 * 4


@each_tuning
@pytest.mark.parametrize("architecture", ["qwen3", "qwen3-untied", "gemma3-window", "gpt2"])
def test_nothing_is_warned_of(lab, bases, tmp_path, architecture, tuning, caplog):
    settings = LanguageModelSettings(backbone=str(bases(architecture)), tuning=tuning)
    logging.getLogger("transformers").addHandler(caplog.handler)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lm = lab.make(bases(architecture), tuning=tuning, gradient_checkpointing=True)
        lab.train(lm, steps=1)
        back = lab.reload(lm, tmp_path / "saved", settings)
        back.merged().save(tmp_path / "merged")
    logging.getLogger("transformers").removeHandler(caplog.handler)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


@each_case
def test_gradient_checkpointing_gives_the_same_gradients(lab, bases, architecture, tuning):
    gradients = []
    for checkpointing in (False, True):
        lm = lab.make(bases(architecture), tuning=tuning, gradient_checkpointing=checkpointing)
        assert checkpointing == any(
            getattr(layer, "gradient_checkpointing", False) for layer in lm.core.modules()
        )
        lm.model.train()
        torch.manual_seed(5)  # of dropout
        lab.loss(lm).backward()
        trains = [(n, p) for n, p in lm.model.named_parameters() if p.requires_grad]
        gradients.append({name: p.grad for name, p in trains if p.grad is not None})
    plain, checkpointed = gradients
    assert plain.keys() == checkpointed.keys()
    assert any("trainable_tokens_delta" in name for name in plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=name)


def test_checkpointing_computes_layers_again(lab, bases):
    calls = []
    for checkpointing in (False, True):
        lm = lab.make(bases("qwen3"), gradient_checkpointing=checkpointing)
        seen = []
        lm.core.model.layers[0].input_layernorm.register_forward_hook(
            lambda *_, seen=seen: seen.append(1)
        )
        lm.model.train()
        lab.loss(lm).backward()
        calls.append(len(seen))
    assert calls == [1, 2]


def test_an_architecture_that_cannot_checkpoint_is_refused(lab, bases, monkeypatch):
    from transformers import PreTrainedModel

    def refuse(*_, **__):
        raise ValueError("not compatible with gradient checkpointing")

    monkeypatch.setattr(PreTrainedModel, "_set_gradient_checkpointing", refuse)
    with pytest.raises(ConfigError, match="Qwen3ForCausalLM does not support it"):
        lab.make(bases("qwen3"), gradient_checkpointing=True)


@each_tuning
@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gemma2-window", "gpt2"])
def test_bfloat16_trains_and_comes_back_bit_for_bit(lab, bases, tmp_path, architecture, tuning):
    settings = LanguageModelSettings(
        backbone=str(bases(architecture)), tuning=tuning, dtype="bfloat16"
    )
    lm = lab.make(bases(architecture), tuning=tuning, dtype="bfloat16")
    assert {row.dtype for row in code_rows(lm.model)} == {torch.float32}
    first, last = float(lab.loss(lm).detach()), lab.train(lm, steps=8)
    assert last < first
    back = lab.reload(lm, tmp_path / "saved", settings)
    assert torch.equal(lab.logits(back), lab.logits(lm))


@each_case
def test_level_logits_equal_the_models_own(lab, bases, tmp_path, architecture, tuning):
    settings = LanguageModelSettings(backbone=str(bases(architecture)), tuning=tuning)
    lm = lab.make(bases(architecture), tuning=tuning)
    lab.train(lm, steps=1)
    for model in (lm, lab.reload(lm, tmp_path / "saved", settings), lm.merged()):
        head = LevelHead(model.core, model.vocabulary)
        head.check()
        with torch.no_grad():
            hidden = model.core.base_model(input_ids=lab.ids(model)).last_hidden_state
        full = lab.logits(model)
        for level, tokens in enumerate(model.vocabulary.tokens):
            own = full[..., tokens]
            torch.testing.assert_close(head.logits(hidden, level), own)
            few = torch.arange(hidden.shape[:2].numel()).view(*hidden.shape[:2], 1) % len(tokens)
            found = head.logits_of(hidden, level, few)
            torch.testing.assert_close(found, own.gather(-1, few), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantization": "4bit"}, "quantization is for a pretrained backbone"),
        ({"backbone": "x", "quantization": "8bit", "tuning": "full"}, "cannot train"),
        ({"tuning": "head"}, "'lora', 'full' or 'vocabulary'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    from genrec.common.config import validate

    with pytest.raises(ConfigError, match=message):
        validate(LanguageModelSettings, settings, source="options")


def test_a_backbone_that_is_no_causal_language_model_is_refused(lab, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RecommenderError, match="neither 'compact', nor a local folder"):
        lab.make(tmp_path)
