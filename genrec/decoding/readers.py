"""Readers: two ways to run a language model along a growing tree of prefixes, one shared cache or none.

A search reads R prompts once and then, step by step, appends tokens to a tree that hangs below each of them.
Tokens are named by *slots*, numbered in the order in which they were appended; a token's *line* lists the
slots of its ancestors, eldest first.

`SharedCache` is the fast way: a request stays one row of one key-value cache, siblings stand side by side
in it with equal positions, and a 4-D mask shows each token its prompt and its own line. Nothing is copied
or reordered, and the matrix products have as many rows as there are siblings. `Replay` runs every sequence
anew and works for every causal model, state-space models included. `reader_for` chooses, and lets a model
use the shared cache only after both ways agreed on a small tree.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from genrec.decoding.last_positions import last_positions_only
from genrec.language_model.attention_masks import (
    SlidingWindow,
    additive_mask,
    mask_obstacle,
)
from genrec.language_model.item_inputs import TokenInputs, plain_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Reader", "Replay", "SharedCache", "reader_for"]

logger = logging.getLogger(__name__)

REPLAY_TOKENS = 1 << 15
"""Most tokens that `Replay` runs at once."""


class Reader(Protocol):
    """Runs `model` over R prompts and the trees below them.

    Attributes:
        slots: tokens appended so far; the next one gets this number.
    """

    slots: int

    def __init__(
        self, model: PreTrainedModel, prompts: Tensor, lengths: Tensor, inputs: TokenInputs = ...
    ) -> None:
        """Take prompts `(R, P)`, padded on the right, their lengths `(R,)`, and how they enter the model."""

    def start(self) -> Tensor:
        """Read the prompts; return the hidden states `(R, 1, D)` of their last tokens."""

    def extend(self, tokens: Tensor, lines: Tensor) -> Tensor:
        """Append tokens to the trees.

        Args:
            tokens: `(R, M)`; they get the next M slots.
            lines: `(R, M, J)` slots of each token's ancestors, eldest first, then -1. Ancestors may be
                among the tokens of this call.

        Returns:
            Final hidden states `(R, M, D)`.
        """


class SharedCache:
    """Reads with one cache row a request (see `Reader`)."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Tensor,
        lengths: Tensor,
        inputs: TokenInputs = plain_inputs,
    ) -> None:
        from transformers import DynamicCache

        self.inputs = inputs
        window = SlidingWindow.of(model.config)
        assert window is not None
        self.model, self.prompts, self.lengths, self.window = model, prompts, lengths, window
        # A cache without a config keeps all keys of all layers; sliding windows are cut by masks instead.
        self.cache = DynamicCache()
        prompt = torch.arange(prompts.shape[1], device=prompts.device)
        self.real = prompt < lengths[:, None]
        self.positions = prompt.expand(len(prompts), -1)
        self.slots = 0

    def start(self) -> Tensor:
        """Read the prompts; padding on the right is hidden by causality, without any mask."""
        rows = torch.arange(len(self.prompts), device=self.prompts.device)
        with last_positions_only(self.model, self.lengths, self.prompts.shape[1]):
            out = self.model.base_model(
                **self.inputs(self.prompts), past_key_values=self.cache, use_cache=True
            )
        # (R, P, D) -> (R, 1, D): prompts end at different places
        hidden: Tensor = out.last_hidden_state[rows, self.lengths - 1][:, None]
        return hidden

    def extend(self, tokens: Tensor, lines: Tensor) -> Tensor:
        """Append tokens that see their prompt, their line and themselves."""
        # Siblings stand at one position, right behind their ancestors: (R, 1) + (R, M)
        positions = self.lengths[:, None] + (lines >= 0).sum(-1)
        self.positions = torch.cat([self.positions, positions], dim=1)
        self.slots += tokens.shape[1]
        out = self.model.base_model(
            input_ids=tokens,
            attention_mask=self._masks(positions, lines),
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    def _masks(self, positions: Tensor, lines: Tensor) -> Tensor | dict[str, Tensor]:
        """Additive masks `(R, 1, M, S)` over the S keys: the prompt's, then one for each slot."""
        visible = self._visible(lines)
        if self.window.size is None:
            return self._additive(visible)
        # The cache keeps all keys, so a window is a mask too: (R, M, 1) - (R, 1, S)
        near = positions[..., None] - self.positions[:, None] < self.window.size
        windowed = self._additive(visible & near)
        if not self.window.mask_per_kind:
            return windowed
        return {"full_attention": self._additive(visible), "sliding_attention": windowed}

    def _visible(self, lines: Tensor) -> Tensor:
        """Which keys `(R, M, S)` each new token sees: its prompt, its line and itself."""
        rows, new, _ = lines.shape
        spare = self.slots  # a column for what stands for no ancestor
        seen = torch.zeros(rows, new, spare + 1, dtype=torch.bool, device=lines.device)
        seen.scatter_(2, lines.masked_fill(lines < 0, spare), True)
        # The M new tokens have the last M slots, and each sees its own.
        seen[:, torch.arange(new), torch.arange(spare - new, spare)] = True
        return torch.cat([self.real[:, None].expand(-1, new, -1), seen[..., :spare]], dim=2)

    def _additive(self, visible: Tensor) -> Tensor:
        return additive_mask(visible, self.model.dtype)


class Replay:
    """Reads every sequence from its first token (see `Reader`); slow, and right for any causal model."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Tensor,
        lengths: Tensor,
        inputs: TokenInputs = plain_inputs,
    ) -> None:
        self.model, self.prompts, self.lengths, self.inputs = model, prompts, lengths, inputs
        self.appended, self.slots = prompts[:, :0], 0

    def start(self) -> Tensor:
        """Read the prompts; causality hides the padding."""
        return self._last(self.prompts, self.lengths)[:, None]

    def extend(self, tokens: Tensor, lines: Tensor) -> Tensor:
        """Read each token behind its prompt and its line."""
        rows, new, depth = lines.shape
        self.appended = torch.cat([self.appended, tokens], dim=1)
        self.slots += new
        # (R, slots) -> (R, M J) -> (R, M, J): the tokens of each line
        line = self.appended.gather(1, lines.clamp(min=0).flatten(1)).view(rows, new, depth)
        grown = (lines >= 0).sum(-1)
        room = self.prompts.shape[1] + depth
        # (R, P) -> (R, M, P + J + 2): a copy of the prompt for each new token. The last column is spare: it
        # takes what stands for no ancestor.
        sequences = torch.nn.functional.pad(self.prompts, (0, depth + 2))[:, None].repeat(1, new, 1)
        start = self.lengths[:, None]
        place = start[..., None] + torch.arange(
            depth, device=lines.device
        )  # (R, 1, J) behind the prompt
        sequences.scatter_(2, place.expand_as(lines).masked_fill(lines < 0, room + 1), line)
        sequences.scatter_(2, (start + grown)[..., None], tokens[..., None])
        lengths = (start + grown + 1).flatten()
        return self._last(sequences[..., : room + 1].flatten(0, 1), lengths).view(rows, new, -1)

    def _last(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states `(Q, D)` at the last real token of `(Q, T)` sequences."""
        parts = []
        at_once = max(1, REPLAY_TOKENS // sequences.shape[1])
        for part, ends in zip(
            torch.split(sequences, at_once), torch.split(lengths, at_once), strict=True
        ):
            out = self.model.base_model(**self.inputs(part), use_cache=False)
            hidden = out.last_hidden_state
            parts.append(hidden[torch.arange(len(part), device=part.device), ends - 1])
        return torch.cat(parts)


@torch.inference_mode()
def reader_for(model: PreTrainedModel, tokens: Tensor) -> type[Reader]:
    """Choose how `model` is read; `tokens` `(>= 1,)` are any that it knows.

    A model shares its cache if its config says that its layers can, and if a small tree then gives the same
    hidden states as reading every sequence from scratch. Any other gets `Replay`, and a line in the log. A
    window longer than that tree that a config does not declare would go unnoticed.
    """
    reason = mask_obstacle(model)
    if reason is None:
        try:
            if _agree(model, tokens):
                return SharedCache
            reason = "gives other results that way"
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a foreign model does with masks it was not made for
            said = str(error).splitlines() or [type(error).__name__]
            reason = f"cannot be run that way ({said[0]})"
    logger.warning(
        "%s %s: beams will not share a cache, and the search is slower",
        type(model).__name__,
        reason,
    )
    return Replay


def _agree(model: PreTrainedModel, tokens: Tensor) -> bool:
    """Compare both readers on two ragged prompts, each with a tree of two branches."""
    wanted = torch.arange(8, device=tokens.device)
    prompts = tokens[wanted.view(2, 4) % len(tokens)]
    lengths = torch.tensor([4, 2], device=tokens.device)
    branches = tokens[(wanted[:4].view(2, 2) + 3) % len(tokens)]
    lines = torch.tensor([[[-1], [0]], [[-1], [-1]]], device=tokens.device)
    readers = (SharedCache(model, prompts, lengths), Replay(model, prompts, lengths))
    shared, replayed = (
        torch.cat([reader.start(), reader.extend(branches, lines)], dim=1).float()
        for reader in readers
    )
    tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
    return bool((shared - replayed).norm() <= tolerance * replayed.norm())
