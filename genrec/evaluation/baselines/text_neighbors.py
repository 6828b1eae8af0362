"""Text neighbours: recommend the items whose texts are most like those of the history.

Needs no interaction at all, so it is the bar for every zero-shot claim, and with plain TF-IDF
already a high one. Words as vectors, similarity as their cosine: Salton and Buckley, Term-weighting
approaches in automatic text retrieval (1988).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from genrec.common.config import Settings
from genrec.common.errors import DataError
from genrec.data.histories import Histories
from genrec.data.words import any_word, tfidf_words
from genrec.evaluation.baselines.recency import Recency, recency_weights
from genrec.evaluation.baselines.text_graph import nearest_graph
from genrec.evaluation.ranking import Ranking, rank_chunks
from genrec.evaluation.selection import top_k

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["TextNeighbors", "TextNeighborsConfig"]


class TextNeighborsConfig(Settings):
    """How histories are compared with the catalog; defaults chosen on validation data."""

    recency: Recency = Recency()
    """How the items of a history are weighted; ``max_history=1`` reads the last item alone."""


class TextNeighbors:
    """Rank items by their cosine with the history's items, averaged with recency weights.

    Only items of positive similarity are recommended, so a history that is empty, or whose texts
    share no word with the catalog, gets a short or empty row. Ties go to the lower index.

    Args:
        vectors: one row an item, `(N, D)`: dense float32 or a scipy sparse matrix such as TF-IDF;
            rows are scaled to length 1 here, rows of zeros stay zero.
        config: how histories are read.
        name: for tables; say which vectors these are.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32] | csr_matrix,
        config: TextNeighborsConfig | None = None,
        name: str = "text_neighbors",
    ) -> None:
        from sklearn.preprocessing import normalize

        self.vectors = normalize(vectors, copy=True).astype(np.float32)
        self.config = config or TextNeighborsConfig()
        self.name = name

    @classmethod
    def from_texts(
        cls, texts: Sequence[str], config: TextNeighborsConfig | None = None, name: str = "tfidf"
    ) -> Self:
        """Compare items by TF-IDF of their texts: lower-cased words, log counts, no stop list.

        Args:
            texts: the text of every item, in catalog order.
            config: how histories are read.
            name: for tables.

        Raises:
            DataError: no text holds a word.
        """
        if not any_word(texts):
            raise DataError("no item text holds a word: TF-IDF has nothing to compare")
        return cls(tfidf_words().fit_transform(texts), config, name)

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return up to k items most similar to each history; scores are mean cosines in (0, 1]."""

        def nearest(chunk: Histories) -> Ranking:
            scores = self._similarities(chunk)
            scores[scores <= 0] = -np.inf
            return top_k(scores, k, excluded=chunk if exclude_seen else None)

        return rank_chunks(nearest, histories, k, cost=self.vectors.shape[0])

    def _similarities(self, histories: Histories) -> NDArray[np.float32]:
        """Mean cosine of each history with each item, `(C, N)`."""
        weights = recency_weights(histories, self.vectors.shape[0], self.config.recency)
        scores = (weights @ self.vectors) @ self.vectors.T
        dense = scores.toarray() if hasattr(scores, "toarray") else scores
        # Equal vectors must tie in any batch, whose size decides the order of the sums.
        return np.asarray(np.round(dense, 6))

    def graph(self, neighbors: int) -> csr_matrix:
        """Each item's nearest others, `(N, N)` (see `genrec.evaluation.baselines.text_graph`)."""
        return nearest_graph(self.vectors, neighbors)
