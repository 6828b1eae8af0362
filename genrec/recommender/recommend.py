"""Recommendations: a request answered for some histories, with titles, scores, and reasons if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.recommender.answer import answer
from genrec.recommender.explain import explain
from genrec.recommender.query import Basis
from genrec.recommender.request import Request, read_histories

if TYPE_CHECKING:
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["Reason", "Recommendation", "recommend"]


@dataclass(frozen=True)
class Reason:
    """An item of the history that speaks for a recommendation (see `genrec.recommender.explain`).

    Attributes:
        item_id: of the catalog.
        title: for reading.
        score_change: what the recommendation's score would change by if the item had never been in the
            history, in nats; below 0. At -0.69 the item makes the recommendation twice as likely.
    """

    item_id: str
    title: str
    score_change: float


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item_id: of the catalog.
        title: for reading.
        score: log-probability of the item given history and query, under `search.normalization` and mixed
            with that of every component that has weight; at most 0.
        basis: what the item came from: the model (the whole mixture), the query, what sells.
        reasons: items of the history that raise the score, the strongest first; None where none were
            asked for.
    """

    item_id: str
    title: str
    score: float
    basis: Basis = "model"
    reasons: tuple[Reason, ...] | None = None

    def facts(self) -> dict[str, Any]:
        """As JSON and tables hold it; reasons only where they were asked for."""
        facts = dict(vars(self))
        if self.reasons is None:
            del facts["reasons"]
        else:
            facts["reasons"] = [vars(reason) for reason in self.reasons]
        return facts


def recommend(
    recommender: FittedRecommender, histories: Sequence[Sequence[str]], request: Request
) -> list[list[Recommendation]]:
    """Answer a request for some histories of item ids (see `GenerativeRecommender.recommend`).

    Raises:
        InputError: the request or a history does not fit the catalog, or is blank.
    """
    catalog, request = recommender.catalog, request.checked(recommender.exclude_seen)
    indices, allowed = read_histories(histories, catalog), request.allowed_items(catalog)
    found, basis = answer(recommender, indices, request, allowed)
    if not request.explain:
        rows = zip(found.items, found.scores, basis, strict=True)
        return [_named(catalog, *row) for row in rows]
    changes = explain(recommender, indices, found, request, allowed)
    explained = zip(found.items, found.scores, basis, changes, strict=True)
    return [_named(catalog, *row) for row in explained]


def _named(
    catalog: Catalog,
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
    basis: Sequence[Basis],
    changes: Sequence[Sequence[tuple[int, float]]] | None = None,
) -> list[Recommendation]:
    """Name the items of one row of a ranking `(k,)`; places that are -1 are left out.

    Args:
        catalog: the items.
        items: `(k,)` catalog indices. scores: theirs. basis: what each came from.
        changes: for each place the items of the history that speak for it, and what its score would change
            by without them; None where that was not asked.
    """
    ids, titles = catalog.item_ids, catalog.titles

    def reasons(place: int) -> tuple[Reason, ...] | None:
        if changes is None:
            return None
        return tuple(Reason(ids[item], titles[item], change) for item, change in changes[place])

    return [
        Recommendation(ids[item], titles[item], float(score), source, reasons(place))
        for place, (item, score, source) in enumerate(zip(items, scores, basis, strict=True))
        if item >= 0
    ]
