"""EASE: the linear autoencoder that predicts every item from the others, in closed form.

Steck, Embarrassingly Shallow Autoencoders for Sparse Data (WWW 2019): ridge regression of the users' item
sets on themselves, with a zero diagonal. Unlike the paper, a history may weigh its newest items most, since
here the next item is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.evaluation.baselines.item_knn import user_items
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.recency import Recency, recency_weights
from genrec.evaluation.ranking import Ranking, rank_chunks
from genrec.evaluation.selection import top_k

__all__ = ["Ease", "EaseConfig"]

_COPIES = 2.5  # the matrix, its inverse's working space, and what a moment of copying takes


class EaseConfig(Settings):
    """How strongly the regression is held back, and how histories are read."""

    kind: Literal["ease"] = "ease"
    l2: float = Field(default=100.0, gt=0)
    """Penalty of squared weights; the sparser the log, the more."""
    recency: Recency = Recency(decay=0.7)
    """How the items of a history are weighted; ``decay=1`` is the paper's."""
    memory_gib: float = Field(default=8.0, gt=0)
    """A catalog whose matrix would need more than this is refused."""


@dataclass(frozen=True)
class Ease:
    """Score items by a linear map of the history; equal scores go to the more popular item.

    Attributes:
        weights: `(N, N)` float32 with a zero diagonal; entry (i, j) says how much i speaks for j.
        popularity: the order of ties.
        config: how histories are read.
    """

    weights: NDArray[np.float32]
    popularity: Popularity
    config: EaseConfig
    name: str = "ease"

    @classmethod
    def fit(cls, train: Histories, n_items: int, config: EaseConfig | None = None) -> Self:
        """Solve the regression; time grows with the cube of the catalog, memory with its square.

        Raises:
            InputError: the catalog is too large for `memory_gib`.
        """
        from scipy.linalg import inv

        config = config or EaseConfig()
        _check_memory(n_items, config.memory_gib)
        seen = user_items(train, n_items)
        gram = (seen.T @ seen).toarray(order="F")
        gram[np.diag_indices(n_items)] += config.l2
        weights = np.asarray(inv(gram, overwrite_a=True, check_finite=False))
        weights /= -np.diag(weights)
        weights[np.diag_indices(n_items)] = 0
        return cls(np.ascontiguousarray(weights), Popularity.fit(train, n_items), config)

    @property
    def tie_break(self) -> NDArray[np.int64]:
        """What decides between equal scores, `(N,)`: training events (see `Ranker`)."""
        return self.popularity.counts

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the k best-scored items for each history; an empty one gets the most popular."""
        n_items = len(self.weights)

        def best(chunk: Histories) -> Ranking:
            scores = recency_weights(chunk, n_items, self.config.recency) @ self.weights
            excluded = chunk if exclude_seen else None
            return top_k(scores, k, excluded=excluded, order=self.popularity.order)

        return rank_chunks(best, histories, k, cost=n_items)

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs."""
        return {"weights": self.weights, "counts": self.popularity.counts}

    @classmethod
    def restore(cls, state: dict[str, NDArray[Any]], config: EaseConfig) -> Self:
        """Give back what was fitted."""
        return cls(state["weights"], Popularity.of_counts(state["counts"]), config)


def _check_memory(n_items: int, allowed: float) -> None:
    needed = _COPIES * 4 * n_items**2 / 2**30
    if needed > allowed:
        raise InputError(
            f"EASE keeps a weight for every two items: {n_items:,} items need about {needed:.1f} GiB, and "
            f"memory_gib = {allowed:g} is allowed; raise it if there is memory, or take item-knn, whose "
            "weights are sparse"
        )
