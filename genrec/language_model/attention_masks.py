"""Attention masks that a model's layers heed: how far back they look, and whether they heed one at all."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

__all__ = ["SlidingWindow", "additive_mask", "mask_obstacle"]


@dataclass(frozen=True)
class SlidingWindow:
    """The attention windows of a model's layers.

    Attributes:
        size: keys a windowed layer sees, itself included; None where every layer sees everything.
        mask_per_kind: the model takes one mask for each kind of layer.
    """

    size: int | None
    mask_per_kind: bool

    @classmethod
    def of(cls, config: PreTrainedConfig) -> SlidingWindow | None:
        """Read a model's config; None where a layer is of a kind for which no mask is known."""
        config = config.get_text_config()
        if getattr(config, "attention_types", None):  # GPT-Neo cuts its window inside the layer
            return None
        kinds = set(getattr(config, "layer_types", None) or ())
        if kinds - {"full_attention", "sliding_attention"}:
            return None
        size: int | None = getattr(config, "sliding_window", None)
        windowed = size is not None and (not kinds or "sliding_attention" in kinds)
        return cls(size if windowed else None, "sliding_attention" in kinds)


def mask_obstacle(model: PreTrainedModel) -> str | None:
    """Why 4-D masks cannot steer this model's attention, as far as can be said without running it."""
    if getattr(model, "_is_stateful", False):
        return "keeps a running state instead of keys and values"
    if SlidingWindow.of(model.config) is None:
        return "has layers that do not read one cache as a mask says"
    takes = inspect.signature(model.base_model.forward).parameters
    missing = {"attention_mask", "position_ids", "past_key_values"} - set(takes)
    return f"takes no {', '.join(sorted(missing))}" if missing else None


def additive_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores `(R, 1, Q, S)`, of which keys each query sees, `(R, Q, S)` bool."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]
