"""How far back the layers of a model look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["SlidingWindow"]


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
