"""Task loss: codes under the search's own normalization, words over the whole vocabulary.

Only hidden states in front of targets meet the head. Words do so a few hundred at a time, computed again in
the backward pass, so that no `(targets, V)` logits of a large vocabulary are ever kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from genrec.decoding.scores import Normalization
from genrec.decoding.trie import Trie
from genrec.fitting.objectives.next_item import item_loss
from genrec.fitting.objectives.packing import TokenBatch
from genrec.language_model.backbone import LanguageModel
from genrec.language_model.item_inputs import TokenInputs, plain_inputs
from genrec.language_model.level_head import LevelHead

__all__ = ["TaskLoss"]

_WORDS_AT_ONCE = 512


class TaskLoss(nn.Module):
    """Negative log-likelihood of answers in nats, summed over a batch; words weigh `text_weight`.

    Args:
        language_model: what trains.
        trie: of the catalog's codes.
        normalization: what a code's softmax runs over; the search should use the same.
        text_weight: what a token of words counts.
        packs: whether rows hold several sequences, which their positions tell apart.
        inputs: how tokens enter the model (see `LanguageModel.inputs`).
    """

    def __init__(
        self,
        language_model: LanguageModel,
        trie: Trie,
        normalization: Normalization,
        text_weight: float,
        packs: bool = True,
        inputs: TokenInputs = plain_inputs,
    ) -> None:
        super().__init__()
        self.model, self.inputs = language_model.model, inputs
        self.item_projection = language_model.item_projection
        self.pointer = language_model.pointer
        self.train_only_codes = language_model.train_only_codes
        self.core = (language_model.core,)  # a tuple hides it: the parameters are registered once
        self.head = LevelHead(language_model.core, language_model.vocabulary)
        self.trie, self.normalization, self.text_weight = trie, normalization, text_weight
        self.packs = packs
        rows = language_model.core.get_input_embeddings().weight.shape[0]
        levels = torch.from_numpy(language_model.vocabulary.levels_of(rows))
        self.levels_of = levels.to(self.head.tokens[0].device)

    def forward(self, batch: TokenBatch) -> Tensor:
        """Loss of packed rows."""
        positions = {"position_ids": batch.positions} if self.packs else {}
        body = self.core[0].base_model
        states: Tensor = body(
            **self.inputs(batch.tokens), use_cache=False, **positions
        ).last_hidden_state
        target = batch.target[:, 1:]
        hidden, tokens, items = (
            states[:, :-1][target],
            batch.tokens[:, 1:][target],
            batch.item[:, 1:][target],
        )
        words = items < 0
        total = self.text_weight * self._words(hidden[words], tokens[words])
        levels = self.levels_of[tokens]
        for level in range(self.trie.levels):
            chosen = ~words & (levels == level)
            total = total + self._codes(hidden[chosen], items[chosen], level)
        return total

    def _codes(self, hidden: Tensor, items: Tensor, level: int) -> Tensor:
        # Of no item at all it is zero: every process must have the same graph.
        return item_loss(self.head, self.trie, self.normalization, hidden, items, level)

    def _words(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        total = hidden.sum() * 0.0
        # At least once, of no word at all if need be: every process must have the same graph.
        for start in range(0, max(1, len(tokens)), _WORDS_AT_ONCE):
            part = slice(start, start + _WORDS_AT_ONCE)
            value: Tensor = checkpoint(
                self._cross_entropy, hidden[part], tokens[part], use_reentrant=False
            )
            total = total + value
        return total

    def _cross_entropy(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        return F.cross_entropy(self.head.vocabulary_logits(hidden), tokens, reduction="sum")
