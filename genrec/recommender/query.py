"""Query: what is wanted in words; how well each item's text fits, beside what is expected and what sells.

    p(item | history, query) ~ prior(item) * ((1 - s) + s * fit(item) / mean fit of what sells)
    prior(item) = (p(item | history) + popularity(item)) / 2,    fit(item) = cosine(query, text) ^ power

A product of both and not a mixture: what the history expects *and* the words fit comes first, which ranks
better than any mixture of the two does. Popularity gives a place to items that the language model did not
rank. Cosines are of TF-IDF, as in `genrec.evaluation.baselines.text_neighbors`; words are compared as they
stand, without stop list, synonyms or translation, so few and telling ones find most. Retrieval by words is
how language models are told of items for users of whom nothing is known (KALM4Rec, Kim et al. 2024); here
it needs no model of words, and every answer is an item of the catalog.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.data.words import tfidf_words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = ["Basis", "Likelihood", "QuerySettings", "QueryWords", "clean_query"]

Basis = Literal["model", "model and query", "query and popularity", "popularity"]
"""What a recommendation came from: the mixture, the query's words, what sells."""

MOST_CHARS = 1000
"""Longest query."""


class QuerySettings(Settings):
    """How much a query says, and how its words are compared."""

    share: float = Field(0.9, ge=0, lt=1)
    """How much the words say; the rest is left to items that they do not fit."""
    power: float = Field(6.0, gt=0)
    """Cosines are raised to it: above 1, likeness outweighs what is expected."""
    common: float = Field(0.5, gt=0, le=1)
    """A word in more than this share of the items' texts tells no items apart, and does not count."""


@dataclass(frozen=True, eq=False)
class QueryWords:
    """The words of N items and what they sold; says how well a query fits each.

    Attributes:
        vectorizer: words to TF-IDF; None where no word tells items apart.
        texts: `(N, F)` TF-IDF of the items, rows of length 1; None likewise.
        popularity: `(N,)` float64, share of the training events, counted with one more each; sums to 1.
        settings: how they are weighed.
    """

    vectorizer: TfidfVectorizer | None
    texts: csr_matrix | None
    popularity: NDArray[np.float64]
    settings: QuerySettings

    @classmethod
    def of(
        cls, texts: Sequence[str], counts: NDArray[np.integer[Any]], settings: QuerySettings
    ) -> Self:
        """Read the items' words.

        Args:
            texts: N texts in catalog order.
            counts: `(N,)` training events of each item.
            settings: how they are weighed.
        """
        popularity = (counts + 1.0) / (counts + 1.0).sum()
        # A whole number, so that one of a single item's words is not too common.
        vectorizer = tfidf_words(max_df=max(1, int(settings.common * len(texts))))
        try:
            return cls(vectorizer, vectorizer.fit_transform(texts), popularity, settings)
        except ValueError:  # no word, or none that is rare enough
            return cls(None, None, popularity, settings)

    def fit(self, query: str) -> NDArray[np.float64]:
        """How well the query fits each item, `(N,)`: 1 for the best, 0 throughout where it fits none."""
        if self.vectorizer is None or self.texts is None:
            return np.zeros(len(self.popularity))
        cosines = (self.texts @ self.vectorizer.transform([query]).T).toarray().ravel()
        # Rounded as in `TextNeighbors`: equal texts must tie.
        cosines = np.round(cosines, 6)
        return np.asarray((cosines / (cosines.max() or 1.0)) ** self.settings.power)

    def likelihood(self, query: str) -> Likelihood | None:
        """What the query says of the items; None where its words fit none."""
        fit, share = self.fit(query), self.settings.share
        if not fit.any():
            return None
        return Likelihood(share * fit / (self.popularity @ fit), 1 - share, self.popularity)


@dataclass(frozen=True, eq=False)
class Likelihood:
    """What a query says of each of N items, to be multiplied with what is expected without it.

    Attributes:
        words: `(N,)` what the words add to an item's factor. rest: the part that every item has.
        popularity: `(N,)`, half of what is expected.
    """

    words: NDArray[np.float64]
    rest: float
    popularity: NDArray[np.float64]

    def posterior(self, model: NDArray[np.float64]) -> NDArray[np.float64]:
        """Multiply with the model's probabilities.

        Args:
            model: `(C, N)`, 0 where the model says nothing; what a row lacks to 1 counts as items that no
                word fits.

        Returns:
            `(C, N)` above 0; rows sum to 1 less what the model's lack.
        """
        expected = (model + self.popularity) / 2 * (self.rest + self.words)  # (C, N) * (N,)
        # (C, 1): what the model gives to items beyond its list still takes its part of the whole.
        lost = self.rest * (1 - model.sum(axis=1, keepdims=True)).clip(min=0) / 2
        return np.asarray(expected / (expected.sum(axis=1, keepdims=True) + lost))

    def basis(self, item: int, model: float) -> Basis:
        """Name what made most of an item's probability, given the model's."""
        expected = model >= self.popularity[item]
        if self.words[item] >= self.rest:
            return "model and query" if expected else "query and popularity"
        return "model" if expected else "popularity"


def clean_query(query: str) -> str:
    """One line of the query's words; control characters and lone surrogates become spaces.

    Raises:
        InputError: it is no text, is blank, or is longer than `MOST_CHARS`.
    """
    if not isinstance(query, str):
        raise InputError(f"query must be one text for all histories, got {query!r}")
    if len(query) > MOST_CHARS:
        raise InputError(
            f"the query has {len(query):,} characters: say what is wanted in at most {MOST_CHARS:,}"
        )
    unprintable = ("Cc", "Cs")
    words = "".join(" " if unicodedata.category(c) in unprintable else c for c in query).split()
    if not words:
        raise InputError(
            f"the query {query!r} is blank: say what is wanted in words, or leave it out"
        )
    return " ".join(words)
