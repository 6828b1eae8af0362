"""From a request in ids and words to recommendations with titles and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genrec.answering import answer
from genrec.data.histories import Histories
from genrec.explaining import explain
from genrec.query import clean_query
from genrec.recommendation import Recommendation, named
from genrec.request import Request, allowed_items, check_count, check_request

if TYPE_CHECKING:
    from genrec.recommender import GenerativeRecommender

__all__ = ["recommendations"]


def recommendations(
    recommender: GenerativeRecommender, histories: Sequence[Sequence[str]], request: Request
) -> list[list[Recommendation]]:
    """Answer a request for some histories (see `GenerativeRecommender.recommend`)."""
    catalog, deny, seen = recommender.catalog, request.deny or (), request.exclude_seen
    check_count("k", request.k, "item")
    if request.explain:
        check_count("explain", request.explain, "reason")
    check_request(histories, request.allow, deny)
    query = clean_query(request.query)
    indices = Histories.of([catalog.index_of(history) for history in histories])
    allowed = allowed_items(catalog, request.allow, deny, request.where)
    k = min(request.k, len(catalog))
    found, basis = answer(recommender, indices, k, query, exclude_seen=seen, allow=allowed)
    if not request.explain:
        rows = zip(found.items, found.scores, basis, strict=True)
        return [named(catalog, *row) for row in rows]
    changes = explain(
        recommender, indices, found, request.explain, query, exclude_seen=seen, allow=allowed
    )
    explained = zip(found.items, found.scores, basis, changes, strict=True)
    return [named(catalog, *row) for row in explained]
