"""Depth pruning: the same language model with fewer of its decoder layers.

Of a tuned recommender's layers the deep ones add little; the shallow ones, trained on for a while, nearly
reach it at a fraction of the cost (SLMRec, Xu et al. 2024). What follows on the pruning stands in
`genrec.fitting.objectives.distillation`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from genrec.common.errors import InputError
from genrec.language_model import tuning
from genrec.language_model.backbone import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Keep", "kept_layers", "layer_count", "prune_layers"]

Keep = Literal["first", "even"]
"""``first``: the layers next to the tokens, as SLMRec does; ``even``: evenly spaced, first and last too."""

_PREFIXES = {"gpt2": "transformer.h."}
_PREFIXES |= dict.fromkeys(
    ("gemma", "gemma2", "gemma3_text", "llama", "mistral", "qwen2", "qwen3", "smollm3"),
    "model.layers.",
)
"""Architecture (``config.model_type``) -> what the names of its decoder layers' weights begin with.

Only what is known (and tested) to read no more of a layer's number than its config says.
"""
_PER_LAYER = ("layer_types", "no_rope_layers")
"""Values of a config that hold one entry a layer."""


def layer_count(language_model: LanguageModel) -> int:
    """Count the decoder layers."""
    return int(language_model.core.config.num_hidden_layers)


def kept_layers(layers: int, of: int, keep: Keep) -> list[int]:
    """Choose which layers stay, ascending, counted from 0.

    Args:
        layers: how many stay.
        of: how many there are.
        keep: which of them.

    Raises:
        InputError: fewer than 1 or more than there are.
    """
    if not 1 <= layers <= of:
        raise InputError(
            f"layers = {layers}: the language model has {of}, so a number from 1 to {of} can be kept"
        )
    if keep == "first":
        return list(range(layers))
    return [int(layer) for layer in np.linspace(0, of - 1, layers).round()]


def prune_layers(language_model: LanguageModel, layers: int, keep: Keep = "first") -> LanguageModel:
    """Copy with only some of the decoder layers: a plain model, in evaluation mode, all of which can train.

    An adapter is merged first. Nothing is shared with the original but the tokenizer, which is only read.
    With all layers the logits stay the same.

    Args:
        language_model: to be pruned; it stays as it is.
        layers: how many layers the copy has.
        keep: which ones.

    Raises:
        InputError: there are not so many layers, it is an architecture whose layers are not known, or the
            model is quantized.
    """
    core = language_model.core
    kind = str(core.config.model_type)
    if kind not in _PREFIXES:
        raise InputError(
            f"a language model of type {kind!r} cannot be pruned; of these types it can: "
            + ", ".join(sorted(_PREFIXES))
        )
    kept = kept_layers(layers, layer_count(language_model), keep)
    whole = language_model
    if tuning.is_adapted(language_model.model) or language_model.quantized:
        whole = language_model.merged()
    pruned = _rebuilt(whole.core, _shorter(whole.core.config, kept))
    _copy_weights(whole.core, pruned, _PREFIXES[kind], kept)
    pruned.eval()
    parts: Any = {name: copy.deepcopy(part) for name, part in language_model.parts.items()}
    return replace(language_model, model=pruned, base=None, **parts)


def _shorter(config: Any, kept: Sequence[int]) -> Any:
    """Copy of a config that describes the kept layers only."""
    values = {
        name: [whole[layer] for layer in kept]
        for name in _PER_LAYER
        if (whole := getattr(config, name, None)) is not None
    }
    shorter = copy.deepcopy(config)
    shorter.num_hidden_layers = len(kept)
    for name, value in values.items():
        setattr(shorter, name, value)
    return shorter


def _rebuilt(model: PreTrainedModel, config: Any) -> PreTrainedModel:
    """Make a model of the same class, precision and place; torch's random state stays as it was.

    Made anew instead of cut, so that each layer knows its place in the KV cache, and whatever else a model
    derives from its config is what the saved model derives when it is opened.
    """
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        made: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    made.generation_config = copy.deepcopy(model.generation_config)
    return made.to(model.device)


def _copy_weights(whole: nn.Module, pruned: nn.Module, prefix: str, kept: Sequence[int]) -> None:
    """Load the weights of the kept layers, each under its new number, and of everything around them."""
    places = {old: new for new, old in enumerate(kept)}
    weights = {}
    for name, value in whole.state_dict().items():
        if not name.startswith(prefix):
            weights[name] = value
            continue
        number, rest = name.removeprefix(prefix).split(".", 1)
        if int(number) in places:
            weights[f"{prefix}{places[int(number)]}.{rest}"] = value
    pruned.load_state_dict(weights)
