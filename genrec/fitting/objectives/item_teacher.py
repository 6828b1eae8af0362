"""Item teacher: a model of whole items, from which a language model learns codes.

Such a model, as the text model is, says how likely every item is. Summed over the items below each node of
the catalog's tree, that is a distribution over the codes of every level, and the language model learns from
it beside the item that came (Hinton et al. 2015):

    (1 - w) * negative log-likelihood + w * cross-entropy(teacher, language model)

at each level, given the codes of the item that came before. One item says which code was right; the teacher
says which others might have been.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["ItemTeacher", "Lessons", "Named", "taught"]

_LEAST = 1e-12
"""Probability of all named items below a node that is too small to say anything of its children."""


@dataclass(frozen=True)
class Named:
    """What a model of whole items expects at some places of histories.

    Attributes:
        places: `(R,)` which of the real items of a batch are to come there, counted in the order of the rows.
        items: `(R, K)` likeliest items. probabilities: `(R, K)` theirs.
    """

    places: Tensor
    items: Tensor
    probabilities: Tensor


class ItemTeacher(Protocol):
    """A model of whole items that is asked what comes next all along a history."""

    def expects(self, items: Tensor) -> Named:
        """Say what is likely at the places of histories `(B, T)`, padded on the right with -1.

        A place is an item; what is said of it follows from the items before it. Not all places need be.
        """


@dataclass(frozen=True)
class Lessons:
    """How much a language model learns from a teacher, and from which.

    Attributes:
        teacher: who is asked.
        weight: share of the teacher in the loss of the places of which it says something.
    """

    teacher: ItemTeacher
    weight: float


def taught(
    log_probabilities: Tensor, first: Tensor, under: Tensor, nodes: Tensor, probabilities: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of one level, and where there is one.

    Args:
        log_probabilities: `(R, C)` of the children of each place's node.
        first: `(R,)` first of them.
        under: `(R, K)` bool, whether a named item lies below that node.
        nodes: `(R, K)` child below which it lies; any number where it does not.
        probabilities: `(R, K)` of the named items.

    Returns:
        `(R,)` in nats, 0 where the teacher names no item below the node; and whether it does, `(R,)`.
    """
    shares = torch.where(under, probabilities, 0.0)
    total = shares.sum(1)
    columns = (nodes - first[:, None]).clamp(0, log_probabilities.shape[1] - 1)
    gained = torch.where(under, log_probabilities.gather(1, columns), 0.0)
    return -(shares * gained).sum(1) / total.clamp(min=_LEAST), total > _LEAST
