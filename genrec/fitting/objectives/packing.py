"""Packing: sequences of different lengths in rows of one length, which do not see each other.

Positions start anew with every sequence; Transformers reads that as the border
(`find_packed_sequence_indices` in its `masking_utils`) and masks attention block by block. A model whose
layers carry state past the border (convolutions, state-space layers) gets one sequence a row instead:
`packs` finds out by trying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from genrec.language_model.prompts import Example

__all__ = ["TokenBatch", "first_fit", "packs", "stack"]


@dataclass(frozen=True)
class TokenBatch:
    """R rows of packed sequences.

    Attributes:
        tokens: `(R, T)` LM tokens; padding is on the right and is no target.
        positions: `(R, T)`, from 0 in every sequence.
        target: `(R, T)` bool, whether the token is to be predicted.
        item: `(R, T)` catalog index of the item that a target's code names, -1 for words.
    """

    tokens: Tensor
    positions: Tensor
    target: Tensor
    item: Tensor

    def to(self, device: torch.device) -> TokenBatch:
        """Move to a device."""
        return TokenBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


def first_fit(lengths: NDArray[np.integer], capacity: int) -> list[list[int]]:
    """Put sequences into rows of `capacity` tokens: longest first, each where it fits best.

    Returns:
        Rows of sequence numbers; a sequence longer than `capacity` has a row of its own.
    """
    rows: list[list[int]] = []
    with_space: dict[int, list[int]] = {}  # tokens left -> rows that have as many
    for index in np.argsort(-lengths, kind="stable"):
        length = int(lengths[index])
        space = min((s for s in with_space if s >= length), default=None)
        if space is None:
            rows.append([])
            row, space = len(rows) - 1, max(capacity, length)
        else:
            row = with_space[space].pop()
            if not with_space[space]:
                del with_space[space]
        rows[row].append(int(index))
        with_space.setdefault(space - length, []).append(row)
    return rows


def stack(rows: Sequence[Sequence[Example]], levels_of: NDArray[np.int8]) -> TokenBatch:
    """Lay examples into rows.

    Args:
        rows: of examples, which stand in a row in this order.
        levels_of: `(V,)` level of each LM token, -1 for words.
    """
    width = max(sum(len(example.tokens) for example in row) for row in rows)
    tokens = np.zeros((len(rows), width), np.int64)
    positions = np.zeros((len(rows), width), np.int64)
    target = np.zeros((len(rows), width), bool)
    item = np.full((len(rows), width), -1, np.int64)
    for number, row in enumerate(rows):
        begin = 0
        for example in row:
            end = begin + len(example.tokens)
            tokens[number, begin:end] = example.tokens
            positions[number, begin:end] = np.arange(end - begin)
            target[number, begin + example.answer : end] = True
            item[number, begin + example.answer : end] = example.item
            begin = end
        positions[number, begin:] = np.arange(width - begin)
    item[~target | (levels_of[tokens] < 0)] = -1
    return TokenBatch(*map(torch.from_numpy, (tokens, positions, target, item)))


@torch.no_grad()
def packs(model: PreTrainedModel, tokens: Sequence[int]) -> bool:
    """Whether two sequences in one row leave each other alone, by comparison with each alone."""
    mode, _ = model.training, model.eval()
    half = len(tokens) // 2
    row = torch.tensor([list(tokens)], device=model.device)
    positions = torch.cat([torch.arange(half), torch.arange(len(tokens) - half)])[None]
    try:
        together = model.base_model(
            input_ids=row, position_ids=positions.to(model.device), use_cache=False
        ).last_hidden_state[:, half:]
    except TypeError:  # it knows no positions
        model.train(mode)
        return False
    alone = model.base_model(input_ids=row[:, half:], use_cache=False).last_hidden_state
    model.train(mode)
    return torch.allclose(together.float(), alone.float(), atol=1e-3, rtol=1e-2)
