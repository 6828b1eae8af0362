"""Losses of the sequence networks: the softmax over the catalog, whole or sampled, or yes and no.

The choice matters more than the network. SASRec's own loss, one negative an item, leaves it overconfident
(Petrov and Macdonald, gSASRec, RecSys 2023); with the whole catalog's softmax the same network is a strong
baseline (Klenitskiy and Vasilev, RecSys 2023).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from genrec.common.config import Settings
from genrec.evaluation.baselines.bert4rec import BERT4Rec, BERT4RecConfig
from genrec.evaluation.baselines.sequence_model import SequenceModel

__all__ = [
    "ItemLossSettings",
    "MaskedItems",
    "NextItems",
    "binary",
    "item_loss",
    "sampled",
    "whole",
]

_CELLS = 2**22
"""Scores held at once by the whole softmax: 16 MiB, near enough to the processor's cache."""


class ItemLossSettings(Settings):
    """Against which items a target is held."""

    kind: Literal["softmax", "sampled", "binary"] = "softmax"
    """``softmax`` over all items, ``sampled`` over some, ``binary`` for SASRec's own."""
    negatives: int = Field(default=512, ge=1)
    """Items drawn for each part of a batch and shared by its targets; not read by ``softmax``."""
    corrected: bool = True
    """Whether ``sampled`` lets the drawn items stand for all others, so that it estimates ``softmax``; else
    a target is held against the drawn ones alone, a milder loss."""


def item_loss(states: Tensor, table: Tensor, targets: Tensor, settings: ItemLossSettings) -> Tensor:
    """Sum the loss of M targets.

    Args:
        states: `(M, D)` what predicts them.
        table: `(N, D)` vectors of all items.
        targets: `(M,)` items.
        settings: which loss.
    """
    if settings.kind == "softmax":
        return whole(states, table, targets)
    drawn = torch.randperm(len(table), device=table.device)[: settings.negatives]
    if settings.kind == "binary":
        return binary(states, table, targets, drawn)
    return sampled(states, table, targets, drawn, corrected=settings.corrected)


def whole(states: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over all N items, in nats, summed."""
    total: Tensor = _SoftmaxLoss.apply(states.float(), table.float(), targets)  # type: ignore[no-untyped-call]
    return total


def sampled(
    states: Tensor,
    table: Tensor,
    targets: Tensor,
    negatives: Tensor,
    *,
    corrected: bool = True,
    of: int | None = None,
) -> Tensor:
    """Cross-entropy over the target and negatives drawn evenly without repeats.

    Corrected for the draw, each of the m negatives that is not the target stands for ``(N - 1) / m`` items,
    which is added to its score as a logarithm (Bengio and Senécal, 2008); with all items as negatives it is
    `whole`. Else it stands for itself, as in eSASRec (Tikhonovich et al. 2025).

    Args:
        states: `(M, D)` what predicts.
        table: `(T, D)` vectors of items, those of targets and negatives among them.
        targets: `(M,)` rows of `table`.
        negatives: rows of `table`.
        corrected: whether negatives stand for all others.
        of: N, how many items they were drawn from; None is T.
    """
    right = (states * table[targets]).sum(-1, keepdim=True)
    wrong = states @ table[negatives].T
    hits = targets[:, None] == negatives
    others = (len(negatives) - hits.sum(1, keepdim=True)).clamp(min=1)
    if corrected:
        wrong = wrong + math.log(max(1, (of or len(table)) - 1)) - others.log()
    wrong = wrong.masked_fill(hits, -math.inf)
    return (torch.cat([right, wrong], 1).logsumexp(1) - right[:, 0]).sum()


def binary(states: Tensor, table: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Cross-entropy of yes for the target and, on average over the negatives, no for them, summed."""
    right = (states * table[targets]).sum(-1)
    hits = targets[:, None] == negatives
    no = F.softplus(states @ table[negatives].T).masked_fill(hits, 0.0)
    others = (len(negatives) - hits.sum(1)).clamp(min=1)
    return (F.softplus(-right) + no.sum(1) / others).sum()


class NextItems(nn.Module):
    """Loss of every item but the first, each predicted from those before it."""

    def __init__(self, model: SequenceModel, settings: ItemLossSettings) -> None:
        super().__init__()
        self.model, self.settings = model, settings

    def forward(self, items: Tensor) -> Tensor:
        """Sum over `(B, T)` items, padded on the right with -1."""
        width = max(1, items.shape[1] - 1)
        targets = F.pad(items, (0, 1), value=-1)[:, 1 : width + 1]
        real = targets >= 0
        # Without its last item, which predicts nothing, a row is the history of its last target.
        states = self.model(items[:, :width].masked_fill(~real, -1))
        return item_loss(states[real], self.model.table, targets[real], self.settings)


class MaskedItems(nn.Module):
    """Loss of masked items, as if every item had been masked: the mean times the number of items."""

    def __init__(self, model: BERT4Rec, config: BERT4RecConfig, settings: ItemLossSettings) -> None:
        super().__init__()
        self.model, self.config, self.settings = model, config, settings

    def forward(self, items: Tensor) -> Tensor:
        """Draw masks over `(B, T)` items from torch's random state, and sum."""
        masked = draw_masks(items, self.config)
        states = self.model(items.masked_fill(masked, self.model.n_items))
        total = item_loss(states[masked], self.model.table, items[masked], self.settings)
        return total * ((items >= 0).sum() / masked.sum())


def draw_masks(items: Tensor, config: BERT4RecConfig) -> Tensor:
    """Which of `(B, T)` items are masked: at least one a row, and in some rows only the last."""
    real = items >= 0
    places = torch.arange(items.shape[1], device=items.device)
    last = places == real.sum(1, keepdim=True) - 1
    masked = (torch.rand(items.shape, device=items.device) < config.masked) & real
    alone = torch.rand(len(items), 1, device=items.device) < config.last_only
    return torch.where(alone | ~masked.any(1, keepdim=True), last, masked)


class _SoftmaxLoss(torch.autograd.Function):
    """Cross-entropy of a product, its gradients made on the way, a block of rows at a time.

    The `(M, N)` scores, by far the largest tensor of a step, never exist as a whole, and are not read again
    from memory for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        states_grad, table_grad = torch.empty_like(states), torch.zeros_like(table)
        total = states.new_zeros(())
        height = max(1, _CELLS // len(table))
        with torch.autocast(states.device.type, enabled=False):
            for start in range(0, len(states), height):
                block, wanted = (
                    states[start : start + height],
                    targets[start : start + height, None],
                )
                scores = block @ table.T
                right = scores.gather(1, wanted)
                top = scores.amax(1, keepdim=True)
                shares = scores.sub_(top).exp_()
                mass = shares.sum(1, keepdim=True)
                total += (mass.log() + top - right).sum()
                shares.div_(mass).scatter_add_(1, wanted, -torch.ones_like(right))
                states_grad[start : start + height] = shares @ table
                table_grad.addmm_(shares.T, block)
        ctx.save_for_backward(states_grad, table_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, None]:
        states_grad, table_grad = ctx.saved_tensors
        return states_grad * gradients[0], table_grad * gradients[0], None
