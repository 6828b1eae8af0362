"""Domain adapters: LoRA updates beside a frozen language model, one, or several with a weight each.

    W = W_0 + sum over adapters a of  w[a, g] * (alpha_a / rank_a) * B_a A_a       g: the block that W is in

After X-Cross (Hadad et al. 2025, "X-Cross: Dynamic Integration of Language Models for Cross-Domain Sequential
Recommendation"), which weighs the adapters' outputs layer by layer. Deliberately different: there the weights
are computed for every token by small networks, here they are constants, one an adapter and block. So a
combination is a plain model once it is merged, and a search costs what it did. What is added up are the
updates, not their factors: peft's ``add_weighted_adapter`` with ``linear`` would add products of one
adapter's A with another's B, and twice the same adapter at one half would not be that adapter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genrec.language_model import tuning
from genrec.language_model.backbone import LanguageModel
from genrec.language_model.settings import LoraSettings

__all__ = ["add_lora", "block_count", "load_loras", "merge_loras", "save_lora", "weigh_loras"]

_BLOCK = re.compile(r"\.(\d+)\.")


def add_lora(plain: LanguageModel, settings: LoraSettings, seed: int) -> LanguageModel:
    """Freeze a plain model and put an update beside it, in place, that trains and is zero as yet.

    Args:
        plain: weights whole, no adapter.
        settings: of the update.
        seed: of its first factors.
    """
    from peft import get_peft_model

    _freeze(plain)
    with torch.random.fork_rng(), tuning.quiet():
        torch.manual_seed(seed)
        model = get_peft_model(plain.model, tuning.lora_config(plain.model, settings))
    return replace(plain, model=model)


def save_lora(adapted: LanguageModel, folder: Path) -> None:
    """Write the update alone, as peft writes adapters."""
    model: Any = adapted.model
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a form that nobody filled in
    # peft names the base by the folder it was read from, which says nothing elsewhere.
    config = model.peft_config[model.active_adapter]
    config.base_model_name_or_path, config.inference_mode = None, True
    config.save_pretrained(folder)


def load_loras(plain: LanguageModel, folders: Sequence[Path]) -> LanguageModel:
    """Put saved updates beside a plain model, in place: all of them active, frozen, and of weight 1.

    Args:
        plain: the model that they were trained beside.
        folders: made by `save_lora`.
    """
    from peft import PeftModel

    names = [f"adapter_{place}" for place in range(len(folders))]
    with tuning.quiet():
        model: Any = PeftModel.from_pretrained(plain.model, folders[0], adapter_name=names[0])
        for name, folder in zip(names[1:], folders[1:], strict=True):
            model.load_adapter(folder, name)
        model.base_model.set_adapter(names)
    adapted = replace(plain, model=model)
    _freeze(adapted)
    model.eval()
    for _, layer in _layers(model):
        for name in layer.scaling:
            layer.lora_B[name].weight.mul_(layer.scaling[name])
            layer.scaling[name] = 1.0
    return adapted


def block_count(adapted: LanguageModel) -> int:
    """Blocks of the model that have updates; what stands outside of all blocks counts as one."""
    return len(_blocks(adapted.model))


def weigh_loras(adapted: LanguageModel, weights: Sequence[Sequence[float | Tensor]]) -> None:
    """Give the updates of `load_loras` their weights; parameters among these get gradients.

    Args:
        adapted: A adapters beside G blocks.
        weights: `(A, G)`.
    """
    blocks = _blocks(adapted.model)
    for block, layer in _layers(adapted.model):
        for own, name in zip(weights, layer.scaling, strict=True):
            layer.scaling[name] = own[blocks.index(block)]


def merge_loras(adapted: LanguageModel) -> LanguageModel:
    """Write the updates into the weights, in place: a plain model remains."""
    for _, layer in _layers(adapted.model):
        layer.scaling.update({name: torch.as_tensor(w).item() for name, w in layer.scaling.items()})
    return replace(adapted, model=tuning.merge(adapted.model))


def _freeze(language_model: LanguageModel) -> None:
    modules: list[nn.Module] = [language_model.model, *language_model.parts.values()]
    for module in modules:
        module.requires_grad_(False)


def _layers(model: nn.Module) -> list[tuple[int, Any]]:
    """Every layer with updates, and the number of its block; -1 outside of all blocks."""
    from peft.tuners.lora import LoraLayer

    found = []
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            number = _BLOCK.search(name)
            found.append((int(number[1]) if number else -1, layer))
    return found


def _blocks(model: nn.Module) -> list[int]:
    return sorted({block for block, _ in _layers(model)})
