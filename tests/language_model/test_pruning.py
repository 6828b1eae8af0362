"""Pruned models against the whole model's own layers, its KV cache and its saved self."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from genrec.common.errors import InputError
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.language_model.pruning import kept_layers, layer_count, prune_layers
from genrec.testing.fakes import ARCHITECTURES, tiny_causal_lm

V, DEPTH = 40, 4
MORE = {
    "gemma": {"hidden_size": 32, "head_dim": 8, "num_key_value_heads": 2, "pad_token_id": None},
    "smollm3": {"hidden_size": 32, "num_key_value_heads": 2, "pad_token_id": None},
}
"""Further architectures; SmolLM3 leaves every fourth layer without positions."""


def whole(name, depth=DEPTH, **values):
    """A random model of so many layers, far from uniform, as a `LanguageModel`."""
    shape = {"num_hidden_layers": depth, "num_attention_heads": 4, "intermediate_size": 48}
    if name in MORE:
        config = AutoConfig.for_model(name, vocab_size=V, **shape, **MORE[name], **values)
    else:
        config = tiny_causal_lm(name, V).config.to_dict()
        kind, shape["layer_types"] = config.pop("model_type"), None
        known = {key: value for key, value in shape.items() if key in config}
        layers = {"n_layer": depth} if kind == "gpt2" else {}
        config = AutoConfig.for_model(kind, **config | known | layers | values)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return LanguageModel(model.eval(), None, None, [0])


def tokens(length=20):
    return torch.randint(0, V, (2, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(lm, ids=None):
    return lm.model(input_ids=tokens() if ids is None else ids, use_cache=False).logits


@torch.no_grad()
def by_hand(lm, layers):
    """Logits from the states in front of layer `layers`: final norm, head, cap."""
    model = lm.model
    states = model.base_model(input_ids=tokens(), output_hidden_states=True).hidden_states[layers]
    norm = model.base_model.norm if hasattr(model.base_model, "norm") else model.base_model.ln_f
    found = model.get_output_embeddings()(norm(states))
    cap = getattr(model.config, "final_logit_softcapping", None)
    return found if cap is None else cap * torch.tanh(found / cap)


NAMES = [*ARCHITECTURES, *MORE]


@pytest.mark.parametrize("name", NAMES)
def test_all_layers_give_the_same_logits_and_fewer_those_computed_by_hand(name):
    lm = whole(name)
    assert layer_count(lm) == DEPTH
    expected = logits(lm)
    assert torch.equal(logits(prune_layers(lm, DEPTH)), expected)
    for layers in (1, 3):
        pruned = prune_layers(lm, layers)
        assert layer_count(pruned) == layers
        torch.testing.assert_close(logits(pruned), by_hand(lm, layers))
    assert torch.equal(logits(lm), expected), "the original is touched"


@pytest.mark.parametrize("keep", ["first", "even"])
@pytest.mark.parametrize("name", NAMES)
def test_cached_decoding_is_uncached_decoding(name, keep):
    pruned = prune_layers(whole(name), 2, keep)
    ids, cache, steps = tokens(), None, []
    with torch.no_grad():
        for n in range(ids.shape[1]):
            step = ids[:, n : n + 1]
            out = pruned.model(input_ids=step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            steps.append(out.logits)
    torch.testing.assert_close(torch.cat(steps, 1), logits(pruned), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("keep", ["first", "even"])
@pytest.mark.parametrize("name", NAMES)
def test_a_saved_pruned_model_opens_as_it_was(name, keep, tmp_path):
    pruned = prune_layers(whole(name), 2, keep)
    pruned.model.save_pretrained(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(opened(input_ids=tokens(), use_cache=False).logits, logits(pruned))


@pytest.mark.parametrize("keep", ["first", "even"])
@pytest.mark.parametrize("name", ["gemma3-window", "qwen3", "smollm3"])
def test_a_kept_layer_brings_its_weights_and_its_kind(name, keep):
    lm = whole(name, depth=7)
    pruned, kept = prune_layers(lm, 3, keep), kept_layers(3, 7, keep)
    assert kept == ([0, 1, 2] if keep == "first" else [0, 3, 6])
    layers = lm.model.base_model.layers
    for new, old in enumerate(kept):
        theirs, mine = layers[old].state_dict(), pruned.model.base_model.layers[new].state_dict()
        assert theirs.keys() == mine.keys()
        assert all(torch.equal(theirs[key], mine[key]) for key in theirs)
        assert pruned.model.base_model.layers[new].self_attn.layer_idx == new
    for field in ("layer_types", "no_rope_layers"):
        if whole_list := getattr(lm.model.config, field, None):
            assert getattr(pruned.model.config, field) == [whole_list[layer] for layer in kept]


def test_nothing_is_shared_and_everything_can_train():
    lm = whole("qwen3")
    lm.model.requires_grad_(False)
    pruned = prune_layers(lm, 2)
    before = logits(lm)
    assert all(parameter.requires_grad for parameter in pruned.model.parameters())
    assert not {p.data_ptr() for p in lm.model.parameters()} & {
        p.data_ptr() for p in pruned.model.parameters()
    }
    assert lm.model.config.num_hidden_layers == DEPTH
    with torch.no_grad():
        for parameter in pruned.model.parameters():
            parameter.add_(1.0)
    assert torch.equal(logits(lm), before)
    table, head = pruned.core.get_input_embeddings(), pruned.core.get_output_embeddings()
    assert head.weight is table.weight, "tied tables stay tied"


def test_pruning_draws_nothing_from_the_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    prune_layers(whole("gpt2"), 1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("tuning", ["lora", "full", "vocabulary"])
@pytest.mark.parametrize("name", ["qwen3", "qwen3-untied", "gpt2"])
def test_an_adapter_is_merged_and_its_base_needed_no_more(lab, bases, tmp_path, name, tuning):
    settings = LanguageModelSettings(backbone=str(bases(name)), tuning=tuning)
    lm = lab.make(bases(name), tuning=tuning)
    lab.train(lm)
    expected = lab.logits(lm)
    pruned = prune_layers(lm, 2)
    assert pruned.base is None
    torch.testing.assert_close(lab.logits(pruned), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(lab.logits(lm), expected), "the original is touched"
    student = prune_layers(lm, 1)
    nowhere = settings.replace(backbone=str(tmp_path / "gone"), tuning="full")
    back = lab.reload(student, tmp_path / "saved", nowhere)
    assert torch.equal(lab.logits(back), lab.logits(student))


def test_the_compact_model_is_pruned(lab):
    lm = lab.make("compact")
    assert layer_count(lm) == 3
    torch.testing.assert_close(lab.logits(prune_layers(lm, 3)), lab.logits(lm), atol=0, rtol=0)
    assert prune_layers(lm, 1).parameters()[1] < lm.parameters()[1]


def test_precision_stays():
    lm = whole("qwen3")
    lm.model.to(torch.bfloat16)
    pruned = prune_layers(lm, 1)
    assert {parameter.dtype for parameter in pruned.model.parameters()} == {torch.bfloat16}
    assert pruned.model.base_model.rotary_emb.inv_freq.dtype == torch.float32


@pytest.mark.parametrize("layers", [0, -1, 5])
def test_no_more_layers_than_there_are_and_at_least_one(layers):
    with pytest.raises(InputError, match=f"layers = {layers}: .* has 4, so a number from 1 to 4"):
        prune_layers(whole("gpt2"), layers)


def test_an_architecture_that_is_not_known_is_refused():
    lm = LanguageModel(tiny_causal_lm("bloom", V), None, None, [0])
    with pytest.raises(InputError, match=r"'bloom' cannot be pruned; .* gpt2, .*qwen3"):
        prune_layers(lm, 1)


def test_a_quantized_model_is_refused(lab, bases):
    lm = lab.make(bases("qwen3"), tuning="full").merged()
    lm.core.is_quantized = True
    with pytest.raises(InputError, match="quantization = none first"):
        prune_layers(lm, 1)
