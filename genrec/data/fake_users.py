"""Fake users, made up to push an item, told from the crowd by what they hold beside it.

Whoever injects users buys the item with them, and must fill their histories with something else. Chance or
popular items have no taste: what the users of the pushed item hold besides is unlike each other by its text,
or all of it sells well. One such user proves nothing, and many users of one item do; so each item's users are
judged together, beside those of items with as many users, and the users of an item that stands far out are
left out of training. LoRec (Zhang et al. 2024, "Large Language Model for Robust Sequential Recommendation
against Poisoning Attacks") asks a language model how plausible each history is and weighs users by that; here
the weights are 0 and 1, so that every part of a recommender can follow them, and texts are compared by their
words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.data.histories import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["FakeUserSettings", "Suspicion"]

_POPULAR_LIMIT = 10.0
"""Deviations above like items at which what an item's users hold besides sells too well; honest items of five
logs stay below 9.7."""
_UNPOPULAR_LIMIT = 5.0
"""Deviations below them at which it sells too badly; honest ones stay above -4.4."""
_UNLIKE_LIMIT = 3.0
"""Deviations above like items at which its texts are too unlike each other; one honest item in 26,000 reaches
3.9."""
_LIKE_ITEMS = 200
"""Items, of nearly as many users, that an item is compared with."""
_TO_SIGMA = 1.4826
"""Standard deviations in a median absolute deviation, of normal numbers."""


class FakeUserSettings(Settings):
    """Which users training leaves out because they look made up."""

    leave_out: bool = False
    """Whether to look for them. It costs a comparison of all texts, and some users who are real."""
    least_users: int = Field(4, ge=2)
    """Items with fewer users are not judged."""


@dataclass(frozen=True)
class Suspicion:
    """How far items and users stand out; above 1 is beyond a limit.

    Attributes:
        items: `(N,)` the largest of its deviations, each over its limit.
        users: `(U,)` that of the user's most suspicious item.
    """

    items: NDArray[np.float64]
    users: NDArray[np.float64]

    @classmethod
    def of(cls, train: Histories, texts: Sequence[str], settings: FakeUserSettings) -> Suspicion:
        """Judge U users by their training sequences.

        Args:
            train: U of them; one may be empty.
            texts: of the N items, in catalog order.
            settings: what is compared with what, and the limits.
        """
        held = _held(train, len(texts))
        several = held[
            np.flatnonzero(np.diff(held.indptr) > 1)
        ]  # a single item says nothing of taste
        counts = _sums(several, 0)
        sold = _deviations(_popularity(several), counts, settings)
        unlike = _deviations(_unlikeness(several, texts), counts, settings)
        limits = (_POPULAR_LIMIT, -_UNPOPULAR_LIMIT, _UNLIKE_LIMIT)
        deviations = (sold, sold, unlike)
        items = np.max(
            [part / limit for part, limit in zip(deviations, limits, strict=True)], axis=0
        )
        users = held.multiply(items[None]).tocsr().max(axis=1).toarray().ravel()
        return cls(items, users)

    @property
    def weights(self) -> NDArray[np.float64]:
        """What each user counts in training, `(U,)`: 0 beyond a limit, else 1."""
        return (self.users <= 1).astype(np.float64)


def _held(train: Histories, n_items: int) -> csr_matrix:
    """Who holds what, `(U, N)` of ones, each item once."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(train.items))
    shape = (len(train), n_items)
    held = csr_matrix((ones, train.items, train.offsets), shape=shape, copy=True)  # sorted below
    held.sum_duplicates()
    held.data[:] = 1.0
    return held


def _sums(matrix: csr_matrix, axis: int) -> NDArray[np.float64]:
    return np.asarray(matrix.sum(axis=axis)).ravel()


def _popularity(held: csr_matrix) -> NDArray[np.float64]:
    """How far above the mean what an item's users hold besides sells, `(N,)` standard errors."""
    events, sizes = _sums(held, 0), _sums(held, 1)
    sold = np.log(np.maximum(events, 1))
    mean = (events @ sold) / max(events.sum(), 1)
    spread = np.sqrt(events @ (sold - mean) ** 2 / max(events.sum(), 1))
    others = held.T @ sizes - events
    total = held.T @ (held @ sold) - events * sold
    errors = np.maximum(spread, 1e-9) * np.sqrt(np.maximum(others, 1))
    return np.asarray((total - others * mean) / errors)


def _unlikeness(held: csr_matrix, texts: Sequence[str]) -> NDArray[np.float64]:
    """How far below the middle the likeness of its users' texts is, `(N,)` standard errors of ranks."""
    from scipy.stats import rankdata
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        words = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    except ValueError:  # no text holds a word
        return np.zeros(held.shape[1])
    summed, sizes = (held @ words).tocsr(), _sums(held, 1)
    cosines = (_sums(summed.multiply(summed), 1) - sizes) / np.maximum(sizes * (sizes - 1), 1)
    ranks = (rankdata(cosines) - 0.5) / max(len(cosines), 1) - 0.5
    counts = np.maximum(_sums(held, 0), 1)
    return np.asarray(-(held.T @ ranks) / np.sqrt(counts / 12))


def _deviations(
    values: NDArray[np.float64], counts: NDArray[np.float64], settings: FakeUserSettings
) -> NDArray[np.float64]:
    """How far each value is above those of items with as many users, `(N,)`; 0 where there are too few.

    By median and median absolute deviation, which a few pushed items do not move, and never by less than
    chance alone spreads standard errors.
    """
    deviations = np.zeros(len(values))
    judged = np.flatnonzero(counts >= settings.least_users)
    judged = judged[np.argsort(counts[judged], kind="stable")]
    for alike in np.array_split(judged, max(1, len(judged) // _LIKE_ITEMS)):
        if len(alike):
            centred = values[alike] - np.median(values[alike])
            deviations[alike] = centred / max(_TO_SIGMA * np.median(np.abs(centred)), 1.0)
    return deviations
