"""Who descends from whom, as attention masks: beams share one cache because each sees only its own line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genrec.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["Ancestry", "SlidingWindow"]


@dataclass(frozen=True)
class SlidingWindow:
    """How far back the model's layers look.

    Attributes:
        size: keys a windowed layer sees, itself included; None where every layer sees everything.
        mixed: windowed and full layers alternate, and the model takes one mask for each kind.
    """

    size: int | None
    mixed: bool

    @classmethod
    def of(cls, config: PreTrainedConfig) -> SlidingWindow:
        """Read a model's config.

        Raises:
            InputError: layers of a kind for which no mask is known.
        """
        kinds = set(getattr(config, "layer_types", None) or ())
        if unknown := kinds - {"full_attention", "sliding_attention"}:
            raise InputError(
                f"{config.model_type} has layers of type {', '.join(sorted(unknown))}, which cannot share a "
                "cache between beams: choose a model with full or sliding-window attention"
            )
        size: int | None = getattr(config, "sliding_window", None)
        windowed = size is not None and (not kinds or "sliding_attention" in kinds)
        return cls(size if windowed else None, "sliding_attention" in kinds)


class Ancestry:
    """The family tree of R requests' beams, and the mask that each level needs.

    The cache of a request holds its prompt (P slots, padded on the right), then one slot for each beam of
    each level in turn.

    Args:
        lengths: `(R,)` real tokens of each prompt.
        prompt_width: P.
        window: the model's sliding window.
        dtype: of the additive masks.
    """

    def __init__(
        self, lengths: Tensor, prompt_width: int, window: SlidingWindow, dtype: torch.dtype
    ) -> None:
        self.lengths, self.window, self.dtype = lengths, window, dtype
        self.prompt = torch.arange(prompt_width, device=lengths.device).expand(len(lengths), -1)
        self.lines: list[Tensor] = []
        self.widths: list[int] = []

    def select(self, parents: Tensor) -> None:
        """Let new beams descend from `parents` `(R, W)`, positions among the beams before them."""
        self.lines = [line.gather(1, parents) for line in self.lines]
        self.lines.append(torch.arange(parents.shape[1], device=parents.device).expand_as(parents))
        self.widths.append(parents.shape[1])

    def positions(self) -> Tensor:
        """Position of the newest beams' tokens, `(R, W)`."""
        return (self.lengths + len(self.lines) - 1)[:, None].expand_as(self.lines[-1])

    def mask(self) -> Tensor | dict[str, Tensor]:
        """Additive mask `(R, 1, W, S)` of the newest beams over the prompt and all beams so far."""
        rows, width = self.lines[-1].shape
        real = (self.prompt < self.lengths[:, None])[:, None].expand(rows, width, -1)
        line_masks = [
            line[..., None] == torch.arange(slots, device=line.device)
            for line, slots in zip(self.lines, self.widths, strict=True)
        ]
        visible = torch.cat([real, *line_masks], dim=2)
        full = self._additive(visible)
        if self.window.size is None:
            return full
        near = self._additive(visible & (self._ages() < self.window.size)[:, None])
        return {"full_attention": full, "sliding_attention": near} if self.window.mixed else near

    def _ages(self) -> Tensor:
        """How many positions each slot lies behind the newest beams, `(R, S)`."""
        now = (self.lengths + len(self.lines) - 1)[:, None]
        behind = [
            torch.full_like(now, len(self.lines) - 1 - step).expand(-1, slots)
            for step, slots in enumerate(self.widths)
        ]
        return torch.cat([now - self.prompt, *behind], dim=1)

    def _additive(self, visible: Tensor) -> Tensor:
        mask = torch.zeros(visible.shape, dtype=self.dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(self.dtype).min)[:, None]
