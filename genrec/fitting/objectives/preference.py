"""Preference optimisation: the item that was chosen, above the ones that the model itself expected instead.

Likelihood says what is right and nothing of what was nearly said. Here each training case also names the best
beams of the fitted model that were not chosen, and the model learns to prefer the target to all of them at
once, without leaving what it knew: the softmax form of direct preference optimisation (S-DPO, Chen et al.
2024, arXiv:2406.09215; DPO, Rafailov et al. 2023, arXiv:2305.18290), on negatives from the model's own
search, as in OneRec (Deng et al. 2025, arXiv:2502.18965). The likelihood of the target stays in the loss,
since DPO alone may lower it as long as the others' falls faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from genrec.common.config import Settings
from genrec.data.histories import Histories
from genrec.fitting.objectives.batches import epoch_batches, pad_items
from genrec.fitting.objectives.next_item import CatalogPass, code_log_probabilities
from genrec.language_model.item_inputs import TokenInputs, plain_inputs
from genrec.training.settings import TrainingSettings
from genrec.training.sources import Part, share

if TYPE_CHECKING:
    from genrec.decoding.scores import Normalization
    from genrec.decoding.trie import Trie
    from genrec.language_model.backbone import LanguageModel

__all__ = [
    "ChoiceBatch",
    "ChoiceSource",
    "Choices",
    "PreferenceLoss",
    "PreferenceSettings",
    "preference_loss",
]


class PreferenceSettings(Settings):
    """What a choice costs the model."""

    beta: float = Field(1.0, gt=0)
    """How much a change of log-probability against the fitted model counts; a small one lets the model go
    far from it."""
    likelihood: float = Field(1.0, ge=0)
    """Weight of the target's negative log-likelihood beside the preference."""


@dataclass(frozen=True)
class Choices:
    """What was chosen of what, in each of C cases.

    Attributes:
        histories: C sequences before the choice.
        candidates: `(C, 1 + M)` catalog indices: the chosen item, then those that were not; -1 for none.
        reference: `(C, 1 + M)` their log-probabilities under the fitted model; anything where there is none.
    """

    histories: Histories
    candidates: NDArray[np.int32]
    reference: NDArray[np.float32]

    def batch(self, cases: NDArray[np.integer]) -> ChoiceBatch:
        """Stack the cases at the given positions."""
        return ChoiceBatch(
            torch.from_numpy(pad_items(self.histories, cases)),
            torch.from_numpy(self.candidates[cases].astype(np.int64)),
            torch.from_numpy(self.reference[cases]),
        )


@dataclass(frozen=True)
class ChoiceBatch:
    """Choices as tensors: histories `(B, n)` padded on the right with -1, and the rest as in `Choices`."""

    histories: Tensor
    candidates: Tensor
    reference: Tensor

    def to(self, device: torch.device) -> ChoiceBatch:
        """Move to a device."""
        moved = (self.histories.to(device), self.candidates.to(device), self.reference.to(device))
        return ChoiceBatch(*moved)


class PreferenceLoss(CatalogPass):
    """What a choice costs, in nats, summed over a batch (see `preference_loss`).

    Dropout is off in training too: the fitted model's probabilities, which the loss compares with, have none.

    Args:
        language_model: what trains.
        codes: `(N, L)` semantic IDs of the catalog.
        trie: the catalog's tree over the same codes.
        normalization: what each level's softmax runs over; the search should use the same.
        settings: the weights of the terms.
        inputs: how tokens enter the model (see `LanguageModel.inputs`).
    """

    def __init__(
        self,
        language_model: LanguageModel,
        codes: NDArray[np.integer],
        trie: Trie,
        normalization: Normalization,
        settings: PreferenceSettings,
        inputs: TokenInputs = plain_inputs,
    ) -> None:
        super().__init__(language_model, codes, trie, normalization, inputs)
        self.settings = settings

    def train(self, mode: bool = True) -> PreferenceLoss:
        """Stay in evaluation mode, whatever `mode` says."""
        super().train(False)
        return self

    def forward(self, batch: ChoiceBatch) -> Tensor:
        """Sum over the batch."""
        found = self.log_probabilities(batch)
        return preference_loss(found, batch.reference, batch.candidates >= 0, self.settings)

    def log_probabilities(self, batch: ChoiceBatch) -> Tensor:
        """Log-probability of each candidate after its history, `(B, 1 + M)`; 0 where there is none."""
        real = batch.candidates >= 0
        lengths = (batch.histories >= 0).sum(1)
        owner, _ = real.nonzero(as_tuple=True)
        # Every candidate behind its own copy of the history: one row of items, the candidate the last.
        rows = F.pad(batch.histories, (0, 1), value=-1)[owner]
        ends, items = lengths[owner], batch.candidates[real]
        rows[torch.arange(len(rows), device=rows.device), ends] = items
        hidden = self._hidden(rows.clamp(min=0))
        last = hidden[torch.arange(len(rows), device=rows.device), ends]
        levels = [
            code_log_probabilities(
                self.head, self.trie, self.normalization, last[:, level], items, level
            )
            for level in range(self.trie.levels)
        ]
        result = torch.zeros(real.shape, device=items.device)
        return result.masked_scatter(real, torch.stack(levels).sum(0).float())


def preference_loss(
    found: Tensor, reference: Tensor, real: Tensor, settings: PreferenceSettings
) -> Tensor:
    """``-log sigmoid(-log sum_j exp(r_j - r_0)) - likelihood * log p_0``, summed over B choices.

    ``r = beta * (log p - log p_reference)``; candidate 0 was chosen, j runs over the others. A choice that
    nothing stands against has the likelihood alone.

    Args:
        found: `(B, 1 + M)` log-probabilities of the candidates.
        reference: `(B, 1 + M)` the same under the fitted model.
        real: `(B, 1 + M)` which candidates there are; the first always.
        settings: beta and the weight of the likelihood.
    """
    gain = settings.beta * (found - reference).masked_fill(~real, 0.0)
    against = (gain[:, 1:] - gain[:, :1]).masked_fill(~real[:, 1:], -torch.inf)
    contested = real[:, 1:].any(1)
    # Rows of -inf alone have no gradient that is a number: they stay out.
    preference = F.softplus(against[contested].logsumexp(1)).sum()
    return preference - settings.likelihood * found[:, 0].sum()


@dataclass(frozen=True)
class ChoiceSource:
    """Choices in batches of histories of like lengths.

    Attributes:
        choices: all of them.
        settings: `batch_items` counts every copy of a history, candidate included.
        seed: of the order.
        tokens_per_item: LM tokens of an item, for throughput.
    """

    choices: Choices
    settings: TrainingSettings
    seed: int
    tokens_per_item: int = 1

    def epoch(self, number: int) -> _ChoiceEpoch:
        """Shuffle and group."""
        generator = np.random.default_rng((self.seed, number))
        lengths = self.choices.histories.lengths + 1
        width = self.choices.candidates.shape[1]
        most = max(1, self.settings.batch_items // width)
        return _ChoiceEpoch(self, epoch_batches(lengths, most, generator))


@dataclass(frozen=True)
class _ChoiceEpoch:
    source: ChoiceSource
    batches: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.batches)

    def units(self, batch: int) -> float:
        return float(len(self.batches[batch]))

    def tokens(self, batch: int) -> int:
        choices, cases = self.source.choices, self.batches[batch]
        copies = (choices.candidates[cases] >= 0).sum(1)
        items = int((copies * (choices.histories.lengths[cases] + 1)).sum())
        return items * self.source.tokens_per_item

    def part(self, batch: int, part: Part) -> tuple[ChoiceBatch, bool]:
        cases, counts = share(self.batches[batch], part)
        return self.source.choices.batch(cases), counts
