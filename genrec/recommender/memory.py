"""Memory: counts of what followed what in the training log, as a component beside the language model.

A small language model generalises and does not remember every pair that a log shows; counts remember and do
nothing else. Both are distributions over the catalog, and so is their mixture

    p(item | history) = (1 - w) p_model(item | history) + w p_counts(item | history)

as in nearest-neighbour language models (Khandelwal et al. 2020, "Generalization through Memorization",
section 2). The weight `w` is chosen on validation cases, so counts that tell nothing of a log get 0. Items
whose texts are like those of the history may get a weight of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from genrec.common.config import Settings
from genrec.common.errors import DataError
from genrec.data.histories import Histories
from genrec.evaluation.baselines.cooccurrence import CoOccurrence, CoOccurrenceConfig
from genrec.evaluation.baselines.recency import recency_weights
from genrec.evaluation.baselines.text_graph import extended_graph, nearest_only, without_items
from genrec.evaluation.baselines.text_neighbors import TextNeighbors
from genrec.recommender.mixture import Component, scaled

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "Memory",
    "MemorySettings",
    "compare_changed_texts",
    "compare_new_texts",
    "compare_texts",
    "join",
]


_MOST_TOGETHER = 0.99
"""Most that a stated weight and one that is taken from elsewhere may be."""


class MemorySettings(Settings):
    """How much counts of the training log weigh beside the language model."""

    weight: float | None = Field(None, ge=0, lt=1)
    """Their weight in the mixture; None is chosen on validation (0 where no user has a validation case)."""
    power: float = Field(1.5, gt=0)
    """Counts are raised to it before they are made probabilities: above 1, the frequent get more."""
    counts: CoOccurrenceConfig = CoOccurrenceConfig()
    """What is counted, and how a history's items are weighted."""
    text_weight: float | None = Field(None, ge=0, lt=1)
    """Weight of items whose texts are like those of the history; None is chosen on validation."""
    text_power: float = Field(2.0, gt=0)
    """Likenesses are raised to it before they are made probabilities."""
    text_neighbors: int = Field(50, ge=1)
    """Nearest items of each by text that count."""
    text_items: int = Field(50_000, ge=1)
    """Largest catalog whose texts are compared unless `text_weight` says so: time grows with its square."""

    @property
    def empty(self) -> bool:
        """Whether no part of it has weight."""
        return not (self.weight or self.text_weight)

    @property
    def weights(self) -> tuple[float, float]:
        """Both, 0 where none is stated."""
        return self.weight or 0.0, self.text_weight or 0.0

    def filled(self, other: MemorySettings) -> MemorySettings:
        """These, with the weights of others where none is stated, as far as the stated ones leave room."""
        weight, text_weight = self.weights
        if self.weight is None:
            weight = min(other.weights[0], _MOST_TOGETHER - text_weight)
        if self.text_weight is None:
            text_weight = min(other.weights[1], _MOST_TOGETHER - weight)
        return self.replace(weight=max(0.0, weight), text_weight=max(0.0, text_weight))

    @model_validator(mode="after")
    def _something_for_the_model(self) -> MemorySettings:
        if (self.weight or 0) + (self.text_weight or 0) >= 1:
            raise ValueError("weight and text_weight leave nothing for the language model")
        return self


@dataclass(frozen=True)
class Memory:
    """Counts of the training log, read as a distribution over the N items.

    Attributes:
        counts: pairs of items by how often and how closely one followed the other.
        likeness: `(N, N)` of texts (see `TextNeighbors.graph`); None where texts have no weight.
        settings: the weights, and how the distributions are computed.
        n_items: N.
    """

    counts: CoOccurrence
    likeness: csr_matrix | None
    settings: MemorySettings
    n_items: int

    @classmethod
    def of(
        cls,
        train: Histories,
        n_items: int,
        settings: MemorySettings,
        likeness: csr_matrix | None = None,
    ) -> Memory:
        """Count the training histories; `likeness` is what `compare_texts` or `compare_new_texts` found."""
        if likeness is not None:
            likeness = nearest_only(likeness, settings.text_neighbors)
        return cls(CoOccurrence.fit(train, n_items, settings.counts), likeness, settings, n_items)

    def component(self, histories: Histories) -> Component:
        """What is mixed with the model after each of C histories: counts and likeness of texts, joined."""
        parts = [self.probabilities(histories)]
        if self.likeness is not None:
            parts.append(self.text_probabilities(histories))
        return join(parts, self.settings.weights)

    def probabilities(self, histories: Histories) -> csr_matrix:
        """What the counts expect after each of C histories, `(C, N)`; a row sums to 1, or is empty."""
        return self._after(histories, self.counts.weights, self.settings.power)

    def text_probabilities(self, histories: Histories) -> csr_matrix:
        """What likeness of texts expects after each of C histories, `(C, N)`, in the same way."""
        assert self.likeness is not None
        return self._after(histories, self.likeness, self.settings.text_power)

    def _after(self, histories: Histories, pairs_of_items: csr_matrix, power: float) -> csr_matrix:
        from scipy.sparse import csr_matrix

        recency = self.counts.config.recency
        # (C, N) weights of the history's items @ (N, N) pairs -> (C, N)
        scores = (recency_weights(histories, self.n_items, recency) @ pairs_of_items).tocoo()
        data = scores.data.astype(np.float64) ** power
        total = np.bincount(
            scores.row, data, len(histories)
        )  # (C,): a row without a pair stays empty
        return csr_matrix((data / total[scores.row], (scores.row, scores.col)), shape=scores.shape)


def compare_texts(texts: Sequence[str], settings: MemorySettings) -> csr_matrix | None:
    """Find out which of N items are alike by their texts, unless that is not wanted.

    Returns:
        `(N, N)` (see `TextNeighbors.graph`), or None: texts are to have no weight; or none is stated, and the
        catalog is too large or holds no word.

    Raises:
        DataError: texts are to have weight, and none holds a word.
    """
    stated = settings.text_weight
    if stated == 0 or (stated is None and len(texts) > settings.text_items):
        return None
    try:
        return TextNeighbors.from_texts(texts).graph(settings.text_neighbors)
    except DataError:
        if stated is None:
            return None
        raise


def compare_new_texts(
    likeness: csr_matrix, texts: Sequence[str], settings: MemorySettings
) -> csr_matrix:
    """Extend the likeness of the first M items to all N, comparing the new ones alone with all.

    Args:
        likeness: `(M, M)`.
        texts: of all N items.
        settings: as `likeness` was made with.

    Returns:
        `(N, N)` (see `extended_graph`, which says how it differs from one made afresh).
    """
    return extended_graph(
        likeness, TextNeighbors.from_texts(texts).vectors, settings.text_neighbors
    )


def compare_changed_texts(
    likeness: csr_matrix, texts: Sequence[str], changed: NDArray[np.bool_], settings: MemorySettings
) -> csr_matrix | None:
    """Follow changed texts: their items are taken out and compared anew; all of them where most changed.

    Args:
        likeness: `(N, N)` of the texts of before.
        texts: of all N items, as they are now.
        changed: `(N,)` whose text is another.
        settings: as `likeness` was made with.

    Returns:
        `(N, N)`; None as `compare_texts` says.
    """
    if 2 * int(changed.sum()) > len(changed):
        return compare_texts(texts, settings)
    order = np.argsort(changed, kind="stable")  # (N,): those that changed stand last
    moved = [texts[item] for item in order]
    found = compare_new_texts(without_items(likeness, ~changed), moved, settings)
    back = np.argsort(order)
    return found[back][:, back]


def join(parts: Sequence[csr_matrix], weights: Sequence[float]) -> Component:
    """Join distributions `(C, N)`, whose rows may be empty, into one component.

    Its weight in a row is the sum of the weights of those parts whose row is not empty.
    """
    weighted = [weight * part for part, weight in zip(parts, weights, strict=False) if weight]
    if not weighted:
        return Component(parts[0], np.zeros(parts[0].shape[0]))
    total = sum(weighted[1:], weighted[0])
    weight = np.asarray(total.sum(axis=1)).ravel()  # (C,)
    return Component(scaled(total, 1 / np.where(weight > 0, weight, 1.0)), weight)
