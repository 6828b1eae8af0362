"""Works made of requests' bodies: which may share a search, and what each gets of it.

Requests share one call of `recommend` where they ask the same of the same snapshot. Only `k` may differ, as
long as no search is widened for it: the best `k` items are then the first of the best `K`. Every filter and
every query is a search of its own; so is every number of reasons.

Alone or in a batch, the answers are equal up to floating-point rounding: matrix products add in another order
for other shapes. Scores differ by some 1e-6, and only items whose scores are that close may change places. A
batch gives, bit for bit, what `recommend` gives for the same histories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genrec.common.errors import DataError
from genrec.recommender.recommend import recommend
from genrec.recommender.request import Request, read_histories
from genrec.recommender.titles import WritingSettings, write_titles
from genrec.serving.gathering import Work

if TYPE_CHECKING:
    from genrec.recommender.fitted_recommender import FittedRecommender
    from genrec.serving.bodies import Asking, Recommend, Search, Titles
    from genrec.serving.snapshots import Snapshot

__all__ = ["known_histories", "recommend_work", "search_work", "titles_work"]

EXPLAINED = 4
"""What a history with reasons costs, in histories without: measured for histories of a dozen items."""


def known_histories(asking: Asking, snapshot: Snapshot) -> tuple[list[list[str]], int]:
    """The histories, without unknown items where they are to be dropped, and how many were.

    Raises:
        DataError: an item is not in the catalog and is not to be dropped.
    """
    catalog, given = snapshot.recommender.catalog, asking.all_histories
    kept = [[item for item in history if item in catalog] for history in given]
    dropped = sum(map(len, given)) - sum(map(len, kept))
    if dropped and asking.unknown_items == "refuse":
        row = next(i for i, history in enumerate(given) if len(history) > len(kept[i]))
        place = next(j for j, item in enumerate(given[row]) if item not in catalog)
        unknown = given[row][place]
        raise DataError(
            f"item {place + 1} of history {row + 1} is not in the catalog{catalog.similar(unknown)}; "
            "send ids of the catalog, or unknown_items = 'drop'",
            value=unknown,
        )
    return kept, dropped


def recommend_work(body: Recommend, histories: list[list[str]], snapshot: Snapshot) -> Work:
    """What answers a request for recommendations; each answer is one history's."""
    recommender, seen = snapshot.recommender, body.exclude_seen
    request = Request(
        k=body.k,
        exclude_seen=recommender.exclude_seen if seen is None else seen,
        allow=body.allow,
        deny=body.deny,
        where=tuple(body.where),
        query=body.query,
        explain=body.explain,
    )
    shared = body.k <= _narrowest(recommender)
    filters = (None if body.allow is None else tuple(body.allow), tuple(body.deny), request.where)
    asked = (body.query, request.exclude_seen, body.explain, *filters)
    key = (snapshot.number, asked, None if shared else body.k)

    def answer(rows: list[tuple[list[str], int]]) -> list[Any]:
        widest = replace(request, k=max(k for _, k in rows))
        found = recommend(recommender, [history for history, _ in rows], widest)
        return [items[:k] for items, (_, k) in zip(found, rows, strict=True)]

    rows = tuple((history, body.k) for history in histories)
    return Work(rows, answer, key, EXPLAINED if body.explain else 1)


def titles_work(body: Titles, histories: Sequence[list[str]], snapshot: Snapshot) -> Work:
    """What answers a request for titles; drawn ones depend on the batch, so none are shared."""
    settings = WritingSettings(mode=body.mode, seed=body.seed)

    def answer(rows: list[list[str]]) -> list[Any]:
        recommender = snapshot.recommender
        indices = read_histories(rows, recommender.catalog)
        return list(write_titles(recommender, indices, body.n, settings))

    return Work(tuple(histories), answer)


def search_work(query: Search, snapshot: Snapshot) -> Work:
    """What finds items by words."""

    def answer(rows: list[str]) -> list[Any]:
        return list(snapshot.recommender.nearest_items.search(rows, query.k))

    return Work((query.q,), answer, ("search", snapshot.number, query.k))


def _narrowest(recommender: FittedRecommender) -> int:
    """Most items that are found without a wider search."""
    beams = recommender.settings.search.beams
    return min(beams) if isinstance(beams, tuple) else beams
