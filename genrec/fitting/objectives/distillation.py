"""Distillation: a small language model learns from the items and from a larger one that learned them before.

SLMRec (Xu et al. 2024) prunes a tuned recommender to its shallow layers and trains what is left to follow the
hidden states of the whole. Here the student also follows the teacher's probabilities of the next item (Hinton
et al. 2015): at each level, over the very codes that the search's softmax runs over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.decoding.scores import Normalization
from genrec.decoding.trie import Trie
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model.backbone import LanguageModel
from genrec.language_model.item_inputs import TokenInputs, plain_inputs
from genrec.language_model.level_head import LevelHead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

__all__ = [
    "DistillationLoss",
    "DistillationSettings",
    "code_logits",
    "divergence",
    "matched_depths",
]


class DistillationSettings(Settings):
    """What a student learns from its teacher, and what from the items."""

    weight: float = Field(0.5, ge=0, le=1)
    """Share of the teacher's probabilities in the loss; the rest is the likelihood of the items. 0 asks the
    teacher for no probabilities."""
    temperature: float = Field(1.0, gt=0)
    """Both models' logits are divided by it in that share: above 1, the teacher's less likely codes count
    for more."""
    feature_weight: float = Field(0.0, ge=0)
    """Weight of the cosine distance between student's and teacher's hidden states at matched depths, beside
    the rest."""

    @property
    def asks_teacher(self) -> bool:
        """Whether the teacher takes part at all."""
        return self.weight > 0 or self.feature_weight > 0


class DistillationLoss(NextItemLoss):
    """What an item costs the student, in nats, summed over the items of a batch.

    Of each item ``(1 - weight) * NLL + weight * T^2 * KL(teacher || student) + feature_weight * (1 - cos)``.
    The divergence is summed over the levels, as the likelihood is; the cosine is averaged over levels and
    matched depths. The teacher is in evaluation mode, gets no gradient, and is no submodule: optimizer and
    checkpoints know nothing of it.

    Args:
        student: what trains.
        teacher: what it learns from, with the same vocabulary, on the same device.
        codes: `(N, L)` semantic IDs of the catalog.
        trie: the catalog's tree over the same codes.
        normalization: what each level's softmax runs over; the search should use the same.
        settings: the weights of the three terms.
        inputs: how tokens enter the student, and the teacher (see `LanguageModel.inputs`).

    Raises:
        InputError: hidden states are to be compared that differ in size.
    """

    def __init__(
        self,
        student: LanguageModel,
        teacher: LanguageModel,
        codes: NDArray[np.integer],
        trie: Trie,
        normalization: Normalization,
        settings: DistillationSettings,
        inputs: tuple[TokenInputs, TokenInputs] = (plain_inputs, plain_inputs),
    ) -> None:
        super().__init__(student, codes, trie, normalization, inputs[0])
        self.teacher_inputs = inputs[1]
        teacher.model.eval()
        self.teacher = (teacher.core,)  # a tuple hides it from optimizer and checkpoints
        self.teacher_head = LevelHead(teacher.core, teacher.vocabulary)
        self.settings = settings
        widths = [lm.core.get_input_embeddings().weight.shape[1] for lm in (student, teacher)]
        if settings.feature_weight and widths[0] != widths[1]:
            raise InputError(
                f"feature_weight = {settings.feature_weight:g} compares hidden states, and the student's "
                f"have {widths[0]} values where the teacher's have {widths[1]}: set it to 0"
            )

    def forward(self, items: Tensor) -> Tensor:
        """Sum over a batch of item sequences `(B, n)`, padded on the right with -1."""
        real, settings = items >= 0, self.settings
        target = items[real]
        mine = [states[real] for states in self._depths(self.core[0], self.inputs, items)]
        total = (1 - settings.weight) * self._likelihood(mine[-1], target)
        if not settings.asks_teacher:
            return total
        with torch.no_grad():
            depths = self._depths(self.teacher[0], self.teacher_inputs, items)
            theirs = [states[real] for states in depths]
        if settings.weight:
            total = total + settings.weight * self._divergence(mine[-1], theirs[-1], target)
        if settings.feature_weight:
            total = total + settings.feature_weight * _distance(mine, theirs)
        return total

    def _divergence(self, mine: Tensor, theirs: Tensor, target: Tensor) -> Tensor:
        """Divergence of the student from the teacher, summed over levels; states are `(n, L, D)`."""
        losses = []
        for level in range(self.trie.levels):
            nodes = self.trie.nodes_of(target, level)
            with torch.no_grad():
                wanted = code_logits(
                    self.teacher_head, self.trie, theirs[:, level], level, nodes, self.normalization
                )
            found = code_logits(
                self.head, self.trie, mine[:, level], level, nodes, self.normalization
            )
            losses.append(divergence(wanted, found, self.settings.temperature))
        return torch.stack(losses).sum()

    def _depths(self, model: PreTrainedModel, inputs: TokenInputs, items: Tensor) -> list[Tensor]:
        """Hidden states in front of every code, `(B, n, L, D)` a depth; the last alone where it suffices."""
        every = self.settings.feature_weight > 0
        return self._states(model, inputs, items, every_depth=every)


def code_logits(
    head: LevelHead,
    trie: Trie,
    hidden: Tensor,
    level: int,
    nodes: Tensor,
    normalization: Normalization,
) -> Tensor:
    """Logits of everything that a level's softmax runs over.

    Args:
        head: the levels' rows of the LM head.
        trie: the catalog.
        hidden: `(n, D)` hidden states in front of the codes.
        level: which code comes next.
        nodes: `(n)` trie nodes of depth `level`.
        normalization: what the softmax runs over.

    Returns:
        `(n, C)`, with C the LM's vocabulary, the level's codes, or the widest node's number of children;
        there -inf in places that hold no child.
    """
    if normalization == "vocabulary":
        return head.vocabulary_logits(hidden)
    logits = head.logits(hidden, level)
    if normalization == "level":
        return logits
    first, end = trie.child_span(level, nodes)
    codes = trie.child_codes(level, first)
    real = torch.arange(codes.shape[-1], device=first.device) < (end - first)[..., None]
    return logits.gather(-1, codes).masked_fill(~real, -torch.inf)


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """``T^2 * KL(teacher || student)`` in nats of two tables of logits `(n, C)`, summed over rows.

    Places that are -inf in both hold no outcome. ``T^2`` keeps gradients of one size whatever T is (Hinton
    et al. 2015, section 2).
    """
    wanted = (teacher / temperature).log_softmax(-1)
    found = (student / temperature).log_softmax(-1)
    gap = (wanted - found).masked_fill(wanted == -torch.inf, 0.0)
    return temperature**2 * (wanted.exp() * gap).sum()


def matched_depths(student: int, teacher: int) -> list[tuple[int, int]]:
    """Pair each depth of a student of so many layers with one of its teacher; the last with the last.

    A depth d is the state behind d layers. The teacher is cut into as many blocks as the student has layers,
    and each layer answers for a block, as SLMRec does it.
    """
    return [(depth, depth * teacher // student) for depth in range(1, student + 1)]


def _distance(mine: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """Cosine distance at matched depths of states `(n, L, D)`: mean over depths and levels, sum over n."""
    pairs = matched_depths(len(mine) - 1, len(theirs) - 1)
    gaps = [1 - F.cosine_similarity(mine[a].float(), theirs[b].float(), dim=-1) for a, b in pairs]
    return torch.stack(gaps).mean(0).mean(-1).sum()
