"""Next-item loss: one pass a sequence, in which every item is a target.

A sequence of n items becomes one row of tokens, prompt prefix and then `n x L` codes (or two streams, see
`genrec.language_model.item_attention`). The hidden state in front of each code predicts it, so one pass
gives n targets where one sample a position would cost n passes. Only the level's rows of the head are
multiplied; no `(B, T, V)` logits exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genrec.decoding.scores import Normalization, child_log_probabilities
from genrec.decoding.trie import Trie
from genrec.fitting.objectives.item_teacher import Lessons, Named, taught
from genrec.fitting.objectives.pointer_loss import PointerLoss
from genrec.language_model.backbone import LanguageModel
from genrec.language_model.item_attention import states_in_front
from genrec.language_model.item_inputs import TokenInputs, plain_inputs
from genrec.language_model.level_head import LevelHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["CatalogPass", "NextItemLoss", "code_log_probabilities", "item_loss"]


class CatalogPass(nn.Module):
    """A pass over item sequences, and what scores the codes behind it.

    Args:
        language_model: what trains; it is a submodule, so that distributed wrappers see its parameters.
        codes: `(N, L)` semantic IDs of the catalog.
        trie: the catalog's tree over the same codes.
        normalization: what each level's softmax runs over; the search should use the same.
        inputs: how tokens enter the model (see `LanguageModel.inputs`).
    """

    def __init__(
        self,
        language_model: LanguageModel,
        codes: NDArray[np.integer],
        trie: Trie,
        normalization: Normalization,
        inputs: TokenInputs = plain_inputs,
    ) -> None:
        super().__init__()
        self.model, self.inputs = language_model.model, inputs
        self.item_projection = language_model.item_projection
        self.pointer = language_model.pointer
        self.train_only_codes = language_model.train_only_codes
        self.core = (language_model.core,)  # a tuple hides it: the parameters are registered once
        self.head = LevelHead(language_model.core, language_model.vocabulary)
        self.trie, self.normalization = trie, normalization
        device = self.head.tokens[0].device
        self.item_tokens = torch.from_numpy(language_model.vocabulary.encode(codes)).to(device)
        self.prefix = torch.tensor(language_model.prefix, device=device)

    def _hidden(self, items: Tensor) -> Tensor:
        """Hidden states in front of every code of `(B, n)` items, `(B, n, L, D)`; padding is any item."""
        return self._states(self.core[0], self.inputs, items)[-1]

    def _states(
        self,
        model: PreTrainedModel,
        inputs: TokenInputs,
        items: Tensor,
        *,
        every_depth: bool = False,
    ) -> list[Tensor]:
        """The same of any model that knows the codes, at every depth if wanted (see `states_in_front`)."""
        tokens = self.item_tokens
        return states_in_front(
            model,
            inputs,
            self.prefix,
            tokens[items.clamp(min=0)],
            every_depth=every_depth,
        )


class NextItemLoss(CatalogPass):
    """Negative log-likelihood of the next item in nats, summed over the items of a batch.

    Args: those of `CatalogPass`.

    Attributes:
        pointing: what the language model's pointer costs, which is added; None where it has none.
        lessons: of a model of whole items, which then costs a share of the likelihood; None where the items
            alone teach.
    """

    pointing: PointerLoss | None = None
    lessons: Lessons | None = None

    def forward(self, items: Tensor) -> Tensor:
        """Sum over a batch of item sequences `(B, n)`, padded on the right with -1."""
        real, hidden = items >= 0, self._hidden(items)
        # (B, n, L, D) -> (items, L, D): padding is no target
        if self.lessons is None:
            loss = self._likelihood(hidden[real], items[real])
        else:
            told = self.lessons.teacher.expects(items)
            loss = self._taught(hidden[real], items[real], told, self.lessons.weight)
        return loss if self.pointing is None else loss + self.pointing(hidden[:, :, 0], items)

    def _likelihood(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood of the targets `(n)` from hidden states `(n, L, D)`."""
        losses = [
            item_loss(self.head, self.trie, self.normalization, hidden[:, level], target, level)
            for level in range(self.trie.levels)
        ]
        return torch.stack(losses).sum()

    def _taught(self, hidden: Tensor, target: Tensor, told: Named, weight: float) -> Tensor:
        """The same with a teacher's share: what it `told` of some of the targets' places."""
        trie, at = self.trie, told.places
        leaves, losses = trie.item_leaf[told.items].long(), []
        for level in range(trie.levels):
            nodes = trie.nodes_of(target, level)
            first, _, gained = child_log_probabilities(
                self.head, trie, hidden[:, level], level, nodes, self.normalization
            )
            place = trie.nodes_of(target, level + 1) - first
            cost = -gained.gather(1, place[:, None])[:, 0]  # (n, C) -> (n,)
            under = trie.nodes_above(leaves, level) == nodes[at][:, None]
            below = trie.nodes_above(leaves, level + 1)
            crossed, known = taught(gained[at], first[at], under, below, told.probabilities)
            losses.append(cost.sum() + weight * (known * (crossed - cost[at])).sum())
        return torch.stack(losses).sum()


def item_loss(
    head: LevelHead,
    trie: Trie,
    normalization: Normalization,
    hidden: Tensor,
    target: Tensor,
    level: int,
) -> Tensor:
    """Negative log-likelihood of one code of each target, summed (see `code_log_probabilities`)."""
    return -code_log_probabilities(head, trie, normalization, hidden, target, level).sum()


def code_log_probabilities(
    head: LevelHead,
    trie: Trie,
    normalization: Normalization,
    hidden: Tensor,
    target: Tensor,
    level: int,
) -> Tensor:
    """Log-probability `(n)` of one code of each target.

    Args:
        head: the levels' rows of the LM head.
        trie: of the catalog's codes.
        normalization: what the level's softmax runs over.
        hidden: `(n, D)` hidden states in front of the codes.
        target: `(n)` catalog indices.
        level: which code of theirs.
    """
    # The target's own prefix is given (teacher forcing): only its children compete.
    nodes = trie.nodes_of(target, level)
    first, _, log_probabilities = child_log_probabilities(
        head, trie, hidden, level, nodes, normalization
    )
    place = trie.nodes_of(target, level + 1) - first
    return log_probabilities.gather(1, place[:, None])[:, 0]  # (n, C) -> (n,)
