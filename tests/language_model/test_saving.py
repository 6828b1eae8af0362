"""Folders of language models: small, the same when they come back, and sure of their base model."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from genrec.common.errors import RecommenderError
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.testing.fakes import ARCHITECTURES, TinyCatalog, save_tiny_pretrained, tiny_causal_lm

CASES = [(name, "lora") for name in ARCHITECTURES]
CASES += [
    (n, tuning) for n in ("qwen3", "qwen3-untied", "gpt2") for tuning in ("full", "vocabulary")
]


@pytest.mark.parametrize(("architecture", "tuning"), CASES)
def test_a_folder_comes_back_bit_for_bit_and_again(lab, bases, tmp_path, architecture, tuning):
    settings = LanguageModelSettings(backbone=str(bases(architecture)), tuning=tuning)
    lm = lab.make(bases(architecture), tuning=tuning)
    lab.train(lm)
    state = torch.get_rng_state()
    back = lab.reload(lm, tmp_path / "saved", settings)
    assert torch.equal(torch.get_rng_state(), state)
    assert back.prefix == lm.prefix
    assert not back.model.training
    assert torch.equal(lab.logits(back), lab.logits(lm))
    again = lab.reload(back, tmp_path / "again", settings)
    assert torch.equal(lab.logits(again), lab.logits(lm))


def parts(folder):
    """Bytes of a saved adapter's LoRA weights and of its token rows, as the tensors say."""
    lora, rows = 0, 0
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(name)
            lora += tensor.nbytes if "lora_" in name else 0
            rows += tensor.nbytes if "lora_" not in name else 0
    return lora, rows


@pytest.mark.parametrize(("architecture", "tables"), [("qwen3", 1), ("qwen3-untied", 2)])
@pytest.mark.parametrize("tuning", ["lora", "vocabulary"])
def test_an_adapter_holds_new_rows_only(lab, tmp_path, architecture, tables, tuning):
    base = save_tiny_pretrained(tmp_path / "base", architecture)
    tiny_causal_lm(architecture, 150_000).save_pretrained(base)
    catalog = TinyCatalog.random(50, (512, 512))
    lm = lab.make(base, catalog, tuning=tuning)
    lm.save(tmp_path / "saved")
    lora, rows = parts(tmp_path / "saved")
    assert rows == tables * 1024 * 32 * 4
    assert (lora > 0) == (tuning == "lora")
    size = (tmp_path / "saved" / "adapter_model.safetensors").stat().st_size
    assert size < 1.1 * (lora + rows)
    everything = sum(path.stat().st_size for path in (tmp_path / "saved").iterdir())
    assert everything < 2 * (lora + rows) + 300_000  # tokenizer and lists of token ids


def test_a_folder_says_what_it_needs_and_no_more(lab, bases, tmp_path):
    lab.make(bases("qwen3")).save(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "base_model.json"} <= names
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    assert "README.md" not in names
    for name in ("adapter_config.json", "base_model.json", "tokenizer_config.json"):
        words = json.loads((tmp_path / "saved" / name).read_text())
        paths = [v for v in json.dumps(words).split('"') if v.startswith("/")]
        assert set(paths) <= {str(bases("qwen3"))}  # as the settings gave it, and nothing else


@pytest.fixture
def tuned(lab, tmp_path):
    """A tuned model whose base is about to change, its folder and its settings."""
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    lm = lab.make(base)
    lab.train(lm)
    lm.save(tmp_path / "saved")
    return lm, base, LanguageModelSettings(backbone=str(base))


def load(lm, base, settings):
    return LanguageModel.load(base.parent / "saved", settings, lm.vocabulary.codebook_sizes)


def test_a_base_that_is_gone_is_named(tuned):
    lm, base, settings = tuned
    base.rename(base.with_name("elsewhere"))
    with pytest.raises(RecommenderError, match=r"tuned on '.*base', without which.*base=…"):
        load(lm, base, settings)


def test_a_base_may_move(lab, tuned):
    lm, base, settings = tuned
    moved = base.rename(base.with_name("elsewhere"))
    back = load(lm, base, settings.replace(backbone=str(moved)))
    assert torch.equal(lab.logits(back), lab.logits(lm))
    assert back.base.name == str(moved)


def test_a_base_named_from_another_folder_is_found_beside_what_was_tuned(
    lab, tmp_path, monkeypatch
):
    save_tiny_pretrained(tmp_path / "runs" / "base", "qwen3")
    monkeypatch.chdir(tmp_path)
    lm = lab.make("runs/base")
    lm.save(tmp_path / "runs" / "tuned" / "saved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = LanguageModelSettings(backbone="runs/base")
    sizes = lm.vocabulary.codebook_sizes
    back = LanguageModel.load(tmp_path / "runs" / "tuned" / "saved", settings, sizes)
    assert torch.equal(lab.logits(back), lab.logits(lm))


def test_a_base_with_another_vocabulary_is_refused(tuned):
    lm, base, settings = tuned
    tiny_causal_lm("qwen3", 40).save_pretrained(base)
    with pytest.raises(RecommenderError, match="it has 40 token rows instead of 14"):
        load(lm, base, settings)


def test_a_base_that_was_trained_on_is_refused(tuned):
    lm, base, settings = tuned
    path = base / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last weight of the last tensor
    path.write_bytes(content)
    with pytest.raises(RecommenderError, match="not that model any more: it has other weights"):
        load(lm, base, settings)


def test_settings_that_name_another_base_are_refused(tuned, bases):
    lm, base, _ = tuned
    other = LanguageModelSettings(backbone=str(bases("qwen3-untied")))
    with pytest.raises(RecommenderError, match="is not that model any more"):
        load(lm, base, other)


@pytest.mark.parametrize("content", [None, "{}", "no json", '{"name": "x"}'])
def test_an_adapter_that_forgot_its_base_is_refused(tuned, content):
    lm, base, settings = tuned
    record = base.parent / "saved" / "base_model.json"
    record.unlink() if content is None else record.write_text(content)
    with pytest.raises(RecommenderError, match=r"base_model.json.*cannot be read"):
        load(lm, base, settings)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("lora_A", "lacks .*embed_tokens.token_adapter.trainable_tokens_delta"),
        ("token_adapter", "another model's: it lacks or has in excess 28 tensors, such as base"),
        (None, "cannot be read"),
    ],
)
def test_an_adapter_without_all_of_its_tensors_is_refused(tuned, keep, message):
    lm, base, settings = tuned
    path = base.parent / "saved" / "adapter_model.safetensors"
    if keep is None:
        path.write_bytes(b"nothing")
    else:
        save_file({name: t for name, t in load_file(path).items() if keep in name}, path)
    with pytest.raises(RecommenderError, match=f"the adapter in .*{message}"):
        load(lm, base, settings)


def hub_folder(cache, base, commit):
    """Lay a model out as the hub's client does, so that it is found there without a network."""
    repository = cache / "models--tiny--qwen"
    snapshot = repository / "snapshots" / commit
    shutil.copytree(base, snapshot)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    return snapshot


@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants
    from transformers.utils import hub as transformers_hub

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert transformers_hub.is_offline_mode()
    return tmp_path / "hub"


def test_a_hub_model_is_pinned_to_its_commit(lab, bases, tmp_path, hub):
    old, new = "a" * 40, "b" * 40
    hub_folder(hub, bases("qwen3"), old)
    settings = LanguageModelSettings(backbone="tiny/qwen")
    lm = lab.make("tiny/qwen")
    lab.train(lm)
    assert lm.base.revision == old
    lm.save(tmp_path / "saved")
    hub_folder(hub, bases("qwen3-untied"), new)  # main moves on
    back = LanguageModel.load(tmp_path / "saved", settings, lab.catalog.codebook_sizes)
    assert torch.equal(lab.logits(back), lab.logits(lm))
    assert json.loads((tmp_path / "saved" / "base_model.json").read_text())["revision"] == old
    shutil.rmtree(hub / "models--tiny--qwen" / "snapshots" / old)
    with pytest.raises(RecommenderError, match="tuned on 'tiny/qwen', without which"):
        LanguageModel.load(tmp_path / "saved", settings, lab.catalog.codebook_sizes)


def test_weights_in_several_files_are_all_looked_at(lab, tmp_path):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    tiny_causal_lm("qwen3", 14).save_pretrained(base, max_shard_size="20KB")
    (base / "model.safetensors").unlink()
    shards = sorted(base.glob("model-*.safetensors"))
    assert len(shards) > 1
    before = lab.make(base).base.fingerprint
    assert lab.make(base).base.fingerprint == before
    for shard in shards:
        kept = shard.read_bytes()
        weights = {name: tensor * 1.01 for name, tensor in load_file(shard).items()}
        save_file(weights, shard, metadata={"format": "pt"})
        assert lab.make(base).base.fingerprint != before
        shard.write_bytes(kept)


def test_new_rows_start_from_the_seed(lab, bases):
    logits = [lab.logits(lab.make(bases("qwen3"))) for _ in range(2)]
    assert torch.equal(*logits)
    assert np.isfinite(logits[0].numpy()).all()
