"""Item attention: what a code sees of its own item, and the pass over item sequences that goes with it.

The codes of an item in a history are all known, so nothing asks its first code not to see its last: with
`bidirectional` items every token of a history sees all codes of its own item and everything before it, as in
RecGPT ("A Foundation Model for Sequential Recommendation", Jiang et al. 2025). The item that is predicted is
written code by code and stays causal.

One pass still trains on every item. Where a token of an item sees the whole of it, it cannot predict any of
its codes, so each item stands in the row twice, as in the two streams of XLNet (Yang et al. 2019, section
2.3): in the history, where later items see it, and apart from it with all codes but its last, at the same
positions. Those see the history of earlier items and their own item's earlier codes. So a prediction has the
very context, positions included, that the search gives it, for `2 L - 1` tokens an item in place of `L`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from genrec.common.errors import ConfigError
from genrec.language_model.attention_masks import SlidingWindow, additive_mask, mask_obstacle
from genrec.language_model.item_inputs import TokenInputs, item_starts, plain_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["BidirectionalInputs", "ItemAttention", "require_masks", "states_in_front"]

ItemAttention = Literal["causal", "bidirectional"]
"""What a code of an item in a history sees of its own item: the codes before it, or all."""


class BidirectionalInputs:
    """Tokens with a mask under which each whole item sees all of itself (see `TokenInputs`).

    A whole item is a run of codes of all levels, in order. All other tokens, an item that is being written
    among them, see what stands before them and themselves.

    Args:
        model: what reads them.
        vocabulary: the codes' tokens.
        inner: how the tokens themselves enter.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: CodeVocabulary,
        inner: TokenInputs = plain_inputs,
    ) -> None:
        self.model, self.inner = model, inner
        table = model.get_input_embeddings().weight
        self.levels = torch.from_numpy(vocabulary.levels_of(table.shape[0])).to(table.device)
        self.of = len(vocabulary.codebook_sizes)

    def __call__(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens `(B, T)` as they enter, mask `(B, 1, T, T)` and positions `(B, T)`."""
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        mask = additive_mask(self.visible(tokens), self.model.dtype)
        return {**self.inner(tokens), "attention_mask": mask, "position_ids": positions}

    def visible(self, tokens: Tensor) -> Tensor:
        """Which tokens (last axis) each token sees, `(B, T, T)` bool."""
        place = torch.arange(tokens.shape[1], device=tokens.device)
        begin = self._begin(tokens)
        return (place <= place[:, None]) | (begin[:, :, None] == begin[:, None])

    def _begin(self, tokens: Tensor) -> Tensor:
        """Where the item that each token belongs to begins, `(B, T)`; its own place for all others."""
        levels = self.levels[tokens].long()
        place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        if tokens.shape[1] < self.of:
            return place
        starts = torch.zeros_like(tokens, dtype=torch.bool)
        starts[:, : 1 - self.of or None] = item_starts(levels, self.of)
        first = (place - levels.clamp(min=0)).clamp(min=0)
        inside = (levels >= 0) & (place >= levels) & starts.gather(1, first)
        return torch.where(inside, first, place)


def states_in_front(
    model: PreTrainedModel,
    inputs: TokenInputs,
    prefix: Tensor,
    codes: Tensor,
    *,
    every_depth: bool = False,
) -> list[Tensor]:
    """Hidden states in front of every code of item sequences, from one pass over each.

    Padding is on the right: no earlier item sees it.

    Args:
        model: the language model.
        inputs: how tokens enter it; `BidirectionalInputs` make two streams.
        prefix: `(P,)` tokens in front of every sequence.
        codes: `(B, n, L)` tokens of the items, each a target.
        every_depth: give the states behind every layer too.

    Returns:
        `(B, n, L, D)` final hidden states; with `every_depth` those of the embeddings and each layer first.
    """
    two_streams = isinstance(inputs, BidirectionalInputs)
    if isinstance(inputs, BidirectionalInputs):
        given = _two_streams(model, inputs, prefix, codes)
    else:
        # (B, P + n L - 1): nothing is predicted behind the last code
        tokens = torch.cat([prefix.expand(len(codes), -1), codes.flatten(1)[:, :-1]], dim=1)
        given = inputs(tokens)
    out = model.base_model(**given, use_cache=False, output_hidden_states=every_depth)
    depths = out.hidden_states if every_depth else [out.last_hidden_state]
    _, n, levels = codes.shape
    # (B, T, D) -> (B, n, L, D): the state in front of each code
    places = _places(len(prefix), n, levels, two_streams=two_streams).to(codes.device)
    return [states[:, places] for states in depths]


def _two_streams(
    model: PreTrainedModel, inputs: BidirectionalInputs, prefix: Tensor, codes: Tensor
) -> dict[str, Tensor]:
    """Two streams in one row: the history, where items see themselves whole, then all items as targets.

    A target must not see its own codes before they are predicted, and in a bidirectional history it would.
    So each item stands twice: whole, for the items behind it, and once more at the same positions, where
    each code sees the history in front of its item and the codes of its own before it.
    """
    rows, n, levels = codes.shape
    # (B, P + (n - 1) L + n (L - 1)): no item follows the last one, no code the last of an item
    tokens = torch.cat(
        [prefix.expand(rows, -1), codes[:, :-1].flatten(1), codes[:, :, :-1].flatten(1)], dim=1
    )
    visible, positions = _stream_mask(len(prefix), n, levels, tokens.device)
    # Without its last code no item of the second stream is whole: no vector enters there.
    return {
        **inputs.inner(tokens),
        "attention_mask": additive_mask(visible[None], model.dtype),
        "position_ids": positions.expand_as(tokens),
    }


def _stream_mask(prefix: int, n: int, levels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which tokens (last axis) each token of two streams sees, `(T, T)`, and their positions `(T,)`."""
    past = torch.arange(prefix + (n - 1) * levels, device=device)
    items = torch.arange(n, device=device)
    # (n, L - 1): a target's codes stand at the positions of their item in the history
    own = prefix + levels * items[:, None] + torch.arange(levels - 1, device=device)
    position = torch.cat([past, own.flatten()])
    # The item of each token; what stands in front of all items is no item, and earlier than any.
    of_past = torch.div(past - prefix, levels, rounding_mode="floor").clamp(min=-1)
    item = torch.cat([of_past, items.repeat_interleave(levels - 1)])
    # (T,): whether a token is of the second stream, which is scored
    writes = torch.arange(len(position), device=device) >= len(past)
    before = position <= position[:, None]
    same = (item == item[:, None]) & (item >= 0)
    history = torch.where(writes[:, None], item < item[:, None], before | same)
    return torch.where(writes, writes[:, None] & same & before, history), position


def _places(prefix: int, n: int, levels: int, *, two_streams: bool) -> Tensor:
    """Where the states in front of `(n, L)` codes stand in a row."""
    first = prefix - 1 + levels * torch.arange(n)[:, None]
    if not two_streams:
        return first + torch.arange(levels)
    behind = prefix + (n - 1) * levels
    own = behind + torch.arange(n * (levels - 1)).view(n, levels - 1)
    return torch.cat([first, own], dim=1)


def require_masks(model: PreTrainedModel, vocabulary: CodeVocabulary, setting: str) -> None:
    """Refuse a model whose attention does not heed the masks and positions of two streams.

    Args:
        model: the language model; it runs over a few codes.
        vocabulary: the codes' tokens.
        setting: what needs the masks, for the error.

    Raises:
        ConfigError: the model cannot.
    """
    if reason := _obstacle(model) or _failure(model, vocabulary):
        raise ConfigError(
            f"{setting} needs a language model that attends as a mask says, and {type(model).__name__} "
            f"{reason}: leave it out, or choose another language_model.backbone"
        )


def _obstacle(model: PreTrainedModel) -> str | None:
    window = SlidingWindow.of(model.config)
    if window is not None and window.size is not None:
        return f"has layers that look back {window.size} tokens only"
    kernel = getattr(model.config, "_attn_implementation", None) or "eager"
    if kernel not in ("eager", "sdpa"):
        return f"runs its attention by {kernel!r}, which takes no such mask"
    return mask_obstacle(model)


@torch.no_grad()
def _failure(model: PreTrainedModel, vocabulary: CodeVocabulary) -> str | None:
    """What goes wrong when the model runs over two items, in one pass and without streams."""
    codes = torch.stack([torch.from_numpy(own[[0, -1]]) for own in vocabulary.tokens], dim=1)
    codes = codes.to(model.device)[None]
    mode, _ = model.training, model.eval()
    inputs = BidirectionalInputs(model, vocabulary)
    try:
        passed = states_in_front(model, inputs, codes[0, 0, :1], codes)[-1][0, -1]
        row = torch.cat([codes[0, 0, :1], codes.flatten()[:-1]])[None]
        alone, causal = (
            model.base_model(**given, use_cache=False).last_hidden_state[0]
            for given in (inputs(row), plain_inputs(row))
        )
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a foreign model does with masks it was not made for
        said = str(error).splitlines() or [type(error).__name__]
        return f"cannot be run that way ({said[0]})"
    finally:
        model.train(mode)
    levels = codes.shape[2]
    if levels > 1 and torch.equal(alone[1], causal[1]):
        return "lets no token see one behind it"
    tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
    gap = (passed.float() - alone[-levels:].float()).norm()
    # Also where the gap is no number.
    return None if gap <= tolerance * alone.float().norm() else "gives other results that way"
