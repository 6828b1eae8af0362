"""Joint objective of several catalogs: each batch is of one catalog, and is scored in its tree.

Catalogs may hold the same semantic IDs for different items. They never meet: a batch's loss knows only the
tree of its own catalog, as a search does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from genrec.training.sources import Epoch, Part, Source

__all__ = ["JointBatch", "JointLoss", "JointSource"]


@dataclass(frozen=True)
class JointBatch:
    """What one catalog's loss reads, and which catalog that is."""

    catalog: int
    inputs: Any

    def to(self, device: Any) -> Self:
        """Move the inputs."""
        return type(self)(self.catalog, self.inputs.to(device))


class JointLoss(nn.Module):
    """The losses of several catalogs over one language model.

    Args:
        losses: one a catalog, all of the same language model, which each has as its `model`.
    """

    def __init__(self, losses: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = losses[0].model
        self.item_projection, self.pointer = losses[0].item_projection, losses[0].pointer
        self.train_only_codes = losses[0].train_only_codes
        self._losses = tuple(losses)  # a tuple hides them: the parameters are registered once

    def forward(self, batch: JointBatch) -> Tensor:
        """Loss of one batch, summed over its items."""
        value: Tensor = self._losses[batch.catalog](batch.inputs)
        return value

    def train(self, mode: bool = True) -> Self:
        """Set the mode of every catalog's loss too."""
        for loss in self._losses:
            loss.train(mode)
        return super().train(mode)


@dataclass(frozen=True)
class JointSource:
    """Batches of several sources, mixed.

    With temperature T, a source of n batches gives a share of the epoch proportional to ``n ** (1 / T)``, as
    multilingual models are trained (Arivazhagan et al. 2019, section 4): 1 leaves sizes as they are, more
    helps the small ones, infinity makes all equal. An epoch has as many batches as all sources together; a
    source that gives more than it has goes on with its next epochs.

    Attributes:
        sources: one a catalog.
        temperature: T, at least 1.
        seed: of the order.
    """

    sources: Sequence[Source]
    temperature: float
    seed: int

    def epoch(self, number: int) -> Epoch:
        """Mix the epochs of that number."""
        sizes = np.array([len(source.epoch(0)) for source in self.sources])
        counts = batch_counts(sizes, self.temperature)
        rounds = math.ceil((counts / sizes).max())
        places = []
        for catalog, (source, count) in enumerate(zip(self.sources, counts, strict=True)):
            own = [source.epoch(number * rounds + turn) for turn in range(rounds)]
            batches = [(epoch, batch) for epoch in own for batch in range(len(epoch))]
            places += [(catalog, *place) for place in batches[:count]]
        order = np.random.default_rng((self.seed, number)).permutation(len(places))
        return _JointEpoch([places[i] for i in order])


def batch_counts(sizes: NDArray[np.int64], temperature: float) -> NDArray[np.int64]:
    """Batches of each source in an epoch of ``sizes.sum()``; at least one each."""
    weights = sizes ** (1 / temperature)
    counts = np.rint(sizes.sum() * weights / weights.sum()).astype(np.int64)
    return np.asarray(np.maximum(1, counts))


@dataclass(frozen=True)
class _JointEpoch:
    places: list[tuple[int, Epoch, int]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.places)

    def units(self, batch: int) -> float:
        _, epoch, place = self.places[batch]
        return epoch.units(place)

    def tokens(self, batch: int) -> int:
        _, epoch, place = self.places[batch]
        return epoch.tokens(place)

    def part(self, batch: int, part: Part) -> tuple[JointBatch, bool]:
        catalog, epoch, place = self.places[batch]
        inputs, counts = epoch.part(place, part)
        return JointBatch(catalog, inputs), counts
