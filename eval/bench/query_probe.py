"""Query probe: users who ask with words of the very item that they chose next.

A known-item probe. Nobody asks in the catalog's own words and always means one of its brands, so what it
measures is an upper bound, and a comparison of ways to answer; it says nothing of natural queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from genrec.common.errors import DataError, InputError
from genrec.data.catalog import Catalog
from genrec.data.histories import Cases, Histories, Split
from genrec.data.interactions import Interactions
from genrec.data.item_text import field_texts
from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import top_k
from genrec.generative_recommender import GenerativeRecommender
from genrec.recommender.answer import answer
from genrec.recommender.query import MOST_CHARS, clean_query
from genrec.recommender.request import Request

__all__ = ["Asked", "first_items", "item_queries", "probe_cases", "probe_rankers"]


@dataclass(frozen=True)
class Asked:
    """A ranker that is asked in words.

    The first item of a history is whose words are the query; what follows it is the user's own history. That
    carries a query of its own to every case, where rankers are shown nothing but histories.

    Attributes:
        name: for tables.
        queries: N queries in catalog order.
        find: `(query, C histories, k)` to the best items, `(C, k)`.
    """

    name: str
    queries: Sequence[str]
    find: Callable[[str, Histories, int], Ranking]

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Rank for histories that open with the item asked for; seen items are never left out."""
        asked = np.array([self.queries[history[0]] for history in histories])
        own = Histories.of([history[1:] for history in histories])
        result = Ranking.empty(len(histories), k)
        for query in np.unique(asked):
            rows = np.flatnonzero(asked == query)
            found = self.find(str(query), own.take(rows), k)
            result.items[rows], result.scores[rows] = found.items, found.scores
        return result


def item_queries(catalog: Catalog, column: str) -> list[str]:
    """The words of a column as a query for every item, "" where an item has none.

    Raises:
        DataError: the catalog lacks the column, or no item has words there.
    """
    catalog.column(column, asked_by="the probe")
    texts = field_texts(catalog.table, column, MOST_CHARS)
    queries = [(clean_query(text) or "") if text.strip() else "" for text in texts]
    if not any(queries):
        message = "no item has words there to ask with; name another column"
        raise DataError(message, source=catalog.report.source, column=column)
    return queries


def first_items(parts: Split, log: Interactions) -> Cases:
    """The first items of all users that were held out: what a user without history really chose.

    Raises:
        InputError: the split holds out no users, so that first items were trained on.
    """
    if not parts.protocol.startswith("user-holdout"):
        raise InputError(
            f"the first items of a {parts.protocol} split were trained on: fit with "
            "split.protocol=user-holdout, or ask for the last ones"
        )
    users = np.sort(np.concatenate([parts.valid.users, parts.test.users]))
    nothing = Histories.of([np.empty(0, np.int32)] * len(users))
    return Cases(users, nothing, log.histories.items[log.histories.offsets[users]])


def probe_cases(cases: Cases, queries: Sequence[str], *, histories: bool) -> Cases:
    """Keep the cases whose target has words, as `Asked` reads them.

    Args:
        cases: of any split. queries: what `item_queries` gave.
        histories: whether users keep their history; else nothing is known of them.
    """
    kept = cases.take(np.flatnonzero([queries[target] != "" for target in cases.targets]))
    own = kept.histories if histories else [np.empty(0, np.int32)] * len(kept)
    pairs = zip(kept.targets, own, strict=True)
    return Cases(kept.users, Histories.of([[t, *history] for t, history in pairs]), kept.targets)


def probe_rankers(recommender: GenerativeRecommender, queries: Sequence[str]) -> list[Asked]:
    """The recommender with and without the query, and what needs no recommender: words, sales, or both."""
    words, N = recommender.query_words, len(recommender.catalog)

    def asked(query: str | None, histories: Histories, k: int) -> Ranking:
        return answer(recommender, histories, Request(k, exclude_seen=False, query=query))[0]

    def alike(query: str, histories: Histories, k: int) -> Ranking:
        fit = words.fit(query)
        return top_k(np.tile(np.where(fit > 0, fit, -np.inf), (len(histories), 1)), k)

    def sold_and_alike(query: str, histories: Histories, k: int) -> Ranking:
        likelihood = words.likelihood(query)
        scores = words.popularity if likelihood is None else likelihood.posterior(np.zeros((1, N)))
        return top_k(np.tile(np.log(scores), (len(histories), 1)), k)

    def sold(_: str, histories: Histories, k: int) -> Ranking:
        return top_k(np.tile(words.popularity, (len(histories), 1)), k)

    finders: dict[str, Callable[[str, Histories, int], Ranking]] = {
        "genrec, asked": asked,
        "genrec, not asked": lambda _, histories, k: asked(None, histories, k),
        "text neighbours": alike,
        "text neighbours and popularity": sold_and_alike,
        "popularity": sold,
    }
    return [Asked(name, queries, find) for name, find in finders.items()]
