"""Last positions: the last feed-forward layer runs only where a prompt ends, where it is read.

A prefill is asked for two things: keys and values of every position in every layer, and the hidden state of
each prompt's last token. The last layer's keys and values depend on the layers before it only, so its
feed-forward part (four fifths of a layer's work) matters at one position a prompt. With few layers that
is a large share of the whole: a fifth of the prefill in a model of four.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["last_positions_only"]


@contextmanager
def last_positions_only(model: PreTrainedModel, lengths: Tensor, width: int) -> Iterator[None]:
    """Within this context, final hidden states are right only at each row's position ``lengths - 1``.

    Args:
        model: a decoder; one whose last block has no plain feed-forward layer named ``mlp`` is run whole.
        lengths: `(R,)` tokens of the rows that will be run, padded on the right.
        width: tokens of a padded row.
    """
    layer = _last_feed_forward(model)
    if layer is None:
        yield
        return
    rows = torch.arange(len(lengths), device=lengths.device)
    last, thread = lengths - 1, get_ident()

    # Hooks are the model's, which other threads may be running at the same time.
    def narrow(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if get_ident() != thread:
            return None
        return (inputs[0][rows, last][:, None], *inputs[1:])

    def widen(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if get_ident() != thread:
            return None
        whole = output.new_zeros(len(rows), width, output.shape[-1])
        whole[rows, last] = output[:, 0]
        return whole

    hooks = layer.register_forward_pre_hook(narrow), layer.register_forward_hook(widen)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _last_feed_forward(model: PreTrainedModel) -> nn.Module | None:
    """The last block's feed-forward layer where it is a plain one, of this block alone."""
    stacks = [m for m in model.base_model.children() if isinstance(m, nn.ModuleList) and len(m)]
    if len(stacks) != 1:
        return None
    *earlier, layer = [getattr(block, "mlp", None) for block in stacks[0]]
    if layer is None or any(layer is other for other in earlier):
        return None
    mixture = any(hasattr(layer, part) for part in ("router", "experts", "gate"))
    return layer if type(layer).__name__.endswith("MLP") and not mixture else None
