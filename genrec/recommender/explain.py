"""Explanation of a recommendation: the items of the history without which its score would fall most.

Every recommended item is scored once more under the history less each of its items in turn, by the very
mixture and query that answered; what the score changes by is the reason. Nothing is approximated, and
nothing is read off attention. One item is taken away at a time: two that say the same thing stand in for each
other, and neither is then a reason. (Tran et al. 2021, "Counterfactual Explanations for Neural Recommenders",
look for whole sets, which change the recommendation itself.)

* To take an item away is to take away every occurrence of it. What is older then moves up into what the
  language model reads (`training.max_items`) and what other components read.
* An item that neither of them reads is never a reason, however long the history is.
* What may be recommended stays what it was: an item taken away is still one that was seen.
* Items are scored exactly, whether or not a search would have found them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking
from genrec.recommender.answer import asked_prompts, weighed_scores

if TYPE_CHECKING:
    from genrec.recommender.fitted_recommender import FittedRecommender
    from genrec.recommender.request import Request

__all__ = ["LEAST_FALL", "explain"]

LEAST_FALL = 0.001
"""A score that falls by less gives no reason: arithmetic alone may do that."""
MOST_ROWS = 512
"""Histories scored together; bounds the memory that counts of the log take."""

Changes = list[tuple[int, float]]
"""Items of a history, and what a score changes by without each."""


@dataclass(frozen=True)
class _Reduced:
    """Histories of some users, each whole and then less one item at a time.

    Attributes:
        users: `(R,)` whose row it is.
        gone: `(R,)` the item that was taken away; -1 where the history is whole.
        histories: R of them.
    """

    users: NDArray[np.int64]
    gone: NDArray[np.int32]
    histories: Histories


def explain(
    recommender: FittedRecommender,
    histories: Histories,
    found: Ranking,
    request: Request,
    allow: NDArray[np.int32] | None = None,
) -> list[list[Changes]]:
    """Give the reasons of a ranking.

    Args:
        recommender: whose ranking it is.
        histories: C of catalog indices, oldest first.
        found: `(C, k)` what `genrec.recommender.answer.answer` said to them, asked in the same way.
        request: what was asked, with the number of reasons.
        allow: catalog indices of the items that pass its filters; None for all.

    Returns:
        For each place of the ranking at most so many items of the history whose absence lowers its score by
        `LEAST_FALL` or more, and the change, below 0: the strongest first, equal ones by catalog index.
    """
    reasons: list[list[Changes]] = []
    for reduced in _parts(histories, _items_read(recommender)):
        items = found.items[reduced.users]
        seen = histories.take(reduced.users) if request.exclude_seen is not False else None
        scores = _scores(
            recommender, reduced.histories, items, request.query, seen=seen, allow=allow
        )
        for start, end in _runs(reduced.users):
            changes = scores[start + 1 : end] - scores[start]
            changes[:, items[start] < 0] = 0.0
            gone = reduced.gone[start + 1 : end]
            reasons.append([_reasons(gone, column, request.explain) for column in changes.T])
    return reasons


def _scores(
    recommender: FittedRecommender,
    histories: Histories,
    items: NDArray[np.int32],
    query: str | None,
    *,
    seen: Histories | None,
    allow: NDArray[np.int32] | None,
) -> NDArray[np.floating]:
    """Scores `(R, k)` of the items given histories and query; arbitrary where an item is -1."""
    prompts = None if query is None else asked_prompts(recommender, histories, query)
    scores = recommender.score(histories, items.clip(min=0), prompts)
    likelihood = None if query is None else recommender.query_words.likelihood(query)
    if likelihood is None:
        return scores
    # A query weighs an item against the others that its words fit, so these must be known too.
    wanted = max(items.shape[1], recommender.settings.search.widest)
    model = recommender.rank(
        histories, wanted, exclude_seen=seen is not None, allow=allow, prompts=prompts, seen=seen
    )
    return weighed_scores(model, items, scores, likelihood)


def _items_read(recommender: FittedRecommender) -> int:
    """How many of a history's newest items the language model or another component reads."""
    read = recommender.settings.training.max_items
    return max([read, *(component.reads for component in recommender.components)])


def _parts(histories: Histories, newest: int) -> Iterator[_Reduced]:
    """Reduce histories, whole users at a time, in parts of about `MOST_ROWS`."""
    users: list[int] = []
    gone: list[int] = []
    rows: list[NDArray[np.int32]] = []
    for user, history in enumerate(histories):
        items = np.unique(history[-newest:]).tolist()
        users += [user] * (1 + len(items))
        gone += [-1, *items]
        rows += [history, *(history[history != item] for item in items)]
        if len(rows) >= MOST_ROWS or user == len(histories) - 1:
            yield _Reduced(np.array(users), np.array(gone, np.int32), Histories.of(rows))
            users, gone, rows = [], [], []


def _runs(users: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where the rows of each user start and end."""
    starts = np.flatnonzero(np.diff(users, prepend=-1)).tolist()
    yield from zip(starts, [*starts[1:], len(users)], strict=True)


def _reasons(gone: NDArray[np.int32], changes: NDArray[np.floating], n: int) -> Changes:
    """The items without which a score falls most."""
    order = np.argsort(changes, kind="stable")[:n]
    return [(int(gone[i]), float(changes[i])) for i in order if changes[i] <= -LEAST_FALL]
