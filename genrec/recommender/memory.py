"""Memory: counts of what followed what in the training log, and likeness of texts, as components.

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
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import DataError
from genrec.data.histories import Histories
from genrec.evaluation.baselines.cooccurrence import CoOccurrence, CoOccurrenceConfig
from genrec.evaluation.baselines.recency import Recency, recency_weights
from genrec.evaluation.baselines.text_graph import extended_graph, nearest_only, without_items
from genrec.evaluation.baselines.text_neighbors import TextNeighbors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "Counts",
    "CountsSettings",
    "MemorySettings",
    "TextLikeness",
    "compare_changed_texts",
    "compare_new_texts",
    "compare_texts",
]


class CountsSettings(CoOccurrenceConfig):
    """What the memory counts, and how a history's items are weighted; chosen on validation of Toys."""

    window: int = Field(default=20, ge=1)
    """Pairs up to this many steps apart are counted."""
    distance_power: float = Field(default=0.5, ge=0)
    """A pair counts 1 / steps to this power."""
    logarithm: bool = True
    """Whether log(1 + count) is read in place of the count: the tenth pair says less than the first."""
    recency: Recency = Recency(decay=0.7)
    """How the items of a history are weighted."""
    popularity_power: float = Field(default=0.2, ge=0, le=1)
    """Counts are divided by the candidate's training events to this power; 0 keeps plain counts."""


class MemorySettings(Settings):
    """How much counts of the training log weigh beside the language model."""

    weight: float | None = Field(None, ge=0, le=1)
    """Their weight in the mixture; None is chosen on validation (0 where no user has a validation case)."""
    power: float = Field(1.5, gt=0)
    """Counts are raised to it before they are made probabilities: above 1, the frequent get more."""
    counts: CountsSettings = CountsSettings()
    """What is counted, and how a history's items are weighted."""
    text_weight: float | None = Field(None, ge=0, le=1)
    """Weight of items whose texts are like those of the history; None is chosen on validation."""
    text_recency: Recency = Recency()
    """How the items of a history are weighted where texts are compared."""
    text_power: float = Field(2.0, gt=0)
    """Likenesses are raised to it before they are made probabilities."""
    text_neighbors: int = Field(50, ge=1)
    """Nearest items of each by text that count."""
    text_items: int = Field(50_000, ge=1)
    """Largest catalog whose texts are compared unless `text_weight` says so: time grows with its square."""


@dataclass(frozen=True)
class Counts:
    """What followed the history's items in the training log (see `genrec.recommender.mixture.Component`).

    Attributes:
        counts: pairs of items by how often and how closely one followed the other.
        power: counts are raised to it.
    """

    counts: CoOccurrence
    power: float
    name: ClassVar[str] = "counts"

    @classmethod
    def of(cls, train: Histories, n_items: int, settings: MemorySettings) -> Counts:
        """Count the training histories."""
        return cls(CoOccurrence.fit(train, n_items, settings.counts), settings.power)

    @property
    def reads(self) -> int:
        """How many of a history's newest items it reads."""
        return self.counts.config.recency.max_history

    def scores(self, histories: Histories, allow: NDArray[np.integer] | None = None) -> csr_matrix:
        """What the counts expect after each of C histories, `(C, N)`; a row sums to 1, or is empty."""
        return _after(histories, self.counts.weights, self.counts.config.recency, self.power)

    def scores_of(self, histories: Histories, items: NDArray[np.integer]) -> csr_matrix:
        """The same: a row names every item that it gives probability."""
        return self.scores(histories)


@dataclass(frozen=True)
class TextLikeness:
    """Items whose texts are like those of the history (see `genrec.recommender.mixture.Component`).

    Attributes:
        likeness: `(N, N)` of texts (see `TextNeighbors.graph`).
        recency: how the items of a history are weighted.
        power: likenesses are raised to it.
    """

    likeness: csr_matrix
    recency: Recency
    power: float
    name: ClassVar[str] = "texts"

    @classmethod
    def of(cls, likeness: csr_matrix, settings: MemorySettings) -> TextLikeness:
        """Read what `compare_texts` or `compare_new_texts` found."""
        nearest = nearest_only(likeness, settings.text_neighbors)
        return cls(nearest, settings.text_recency, settings.text_power)

    @property
    def reads(self) -> int:
        """How many of a history's newest items it reads."""
        return self.recency.max_history

    def scores(self, histories: Histories, allow: NDArray[np.integer] | None = None) -> csr_matrix:
        """What likeness of texts expects after each of C histories, `(C, N)`, in the same way."""
        return _after(histories, self.likeness, self.recency, self.power)

    def scores_of(self, histories: Histories, items: NDArray[np.integer]) -> csr_matrix:
        """The same: a row names every item that it gives probability."""
        return self.scores(histories)


def _after(
    histories: Histories, pairs_of_items: csr_matrix, recency: Recency, power: float
) -> csr_matrix:
    from scipy.sparse import csr_matrix

    # (C, N) weights of the history's items @ (N, N) pairs -> (C, N)
    weights = recency_weights(histories, pairs_of_items.shape[0], recency)
    scores = (weights @ pairs_of_items).tocoo()
    data = scores.data.astype(np.float64) ** power
    total = np.bincount(scores.row, data, len(histories))  # (C,): a row without a pair stays empty
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
