"""Item neighbours: recommend what was bought by the same people, whatever the order.

Sarwar et al., Item-based collaborative filtering recommendation algorithms (WWW 2001): cosine of the items'
sets of users, shrunk where few users speak, as tuned baselines have it (Ferrari Dacrema et al., RecSys 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.data.histories import Histories
from genrec.evaluation.baselines.cooccurrence import CoOccurrence, CoOccurrenceConfig, strongest
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.recency import Recency
from genrec.evaluation.baselines.sparse_state import sparse_of, sparse_state
from genrec.evaluation.ranking import Ranking

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["ItemKNN", "ItemKNNConfig", "user_items"]


class ItemKNNConfig(Settings):
    """Who is a neighbour, and how histories are read."""

    kind: Literal["item-knn"] = "item-knn"
    neighbors: int = Field(default=500, ge=1)
    """Neighbours kept of each item, the nearest."""
    shrink: float = Field(default=5.0, ge=0)
    """Added below the cosine's fraction bar: doubts neighbours that few users vouch for."""
    recency: Recency = Recency()
    """How the items of a history are weighted."""


@dataclass(frozen=True)
class ItemKNN:
    """Score items by their similarity with the history's items, summed with recency weights.

    Equal scores go to the more popular item, and rows with fewer than k scored items are completed by
    popularity, with score 0.

    Attributes:
        similarity: `(N, N)` sparse float32, the nearest neighbours of every item.
        popularity: the order for ties and for completing rows.
        config: how histories are read.
    """

    similarity: csr_matrix
    popularity: Popularity
    config: ItemKNNConfig
    name: str = "item_knn"

    @classmethod
    def fit(cls, train: Histories, n_items: int, config: ItemKNNConfig | None = None) -> Self:
        """Compare the items' users; memory goes with the pairs of items that share one."""
        config = config or ItemKNNConfig()
        popularity = Popularity.fit(train, n_items)
        similarity = cosines(user_items(train, n_items), config.shrink)
        return cls(strongest(similarity, config.neighbors, popularity.order), popularity, config)

    @property
    def tie_break(self) -> NDArray[np.int64]:
        """What decides between equal scores, `(N,)`: training events (see `Ranker`)."""
        return self.popularity.counts

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the k best-scored items for each history, completed by popularity."""
        reading = CoOccurrenceConfig(recency=self.config.recency)
        alike = CoOccurrence(self.similarity, self.popularity, reading)
        return alike.rank(histories, k, exclude_seen=exclude_seen)

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs."""
        return sparse_state(self.similarity, self.popularity)

    @classmethod
    def restore(cls, state: dict[str, NDArray[Any]], config: ItemKNNConfig) -> Self:
        """Give back what was fitted."""
        return cls(*sparse_of(state), config)


def user_items(train: Histories, n_items: int) -> csr_matrix:
    """Mark which user has which item, `(U, N)` sparse float32 of ones; repeats count once."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(train.items), np.float32)
    shape = (len(train), n_items)
    marks = csr_matrix((ones, (train.rows, train.items)), shape=shape)
    marks.data[:] = 1  # repeats were summed
    return marks


def cosines(seen: csr_matrix, shrink: float) -> csr_matrix:
    """Divide shared users by ``sqrt(users · users) + shrink``, `(N, N)`, the diagonal left out."""
    from scipy.sparse import csr_matrix

    shared = (seen.T @ seen).tocoo()
    users = np.asarray(seen.sum(axis=0), np.float64).ravel()
    other = shared.row != shared.col
    row, column = shared.row[other], shared.col[other]
    values = shared.data[other] / (np.sqrt(users[row] * users[column]) + shrink)
    return csr_matrix((values.astype(np.float32), (row, column)), shape=shared.shape)
