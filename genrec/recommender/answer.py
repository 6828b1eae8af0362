"""Answer: which items fit a request, by history, by query, or by both; and what each of them came from.

Every recommender is told of a query by how well its words fit the items' texts (see
`genrec.recommender.query`). A language model that learned a task of preferences (Mender, Paischer et al.
2024) reads the query itself too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.evaluation.ranking import CHUNK_CELLS, Ranking
from genrec.evaluation.selection import top_k
from genrec.language_model.tasks import TEXT_CHARS, preference_task
from genrec.recommender.query import Basis, Likelihood
from genrec.recommender.request import Request

if TYPE_CHECKING:
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["answer", "asked_prompts", "unmatched_query", "weighed_scores"]


def answer(
    recommender: FittedRecommender,
    histories: Histories,
    request: Request,
    allow: NDArray[np.int32] | None = None,
) -> tuple[Ranking, list[list[Basis]]]:
    """Find the best items for each of C histories, at most as many as the catalog has.

    Args:
        recommender: whose catalog and model answer.
        histories: catalog indices, oldest first; one may be empty.
        request: what is asked, checked.
        allow: catalog indices of the items that pass its filters; None for all.

    Returns:
        The ranking `(C, k)`, and for each of its entries what it came from.
    """
    k, query, exclude_seen = request.k, request.query, request.exclude_seen is not False
    k = min(k, len(recommender.catalog))
    if query is None:
        found = recommender.rank(histories, k, exclude_seen=exclude_seen, allow=allow)
        return found, [["model"] * k] * len(histories)
    likelihood = recommender.query_words.likelihood(query)
    prompts = asked_prompts(recommender, histories, query)
    # As deep as a search goes: what the words lift need not be among the k that the history expects.
    wanted = k if likelihood is None else max(k, recommender.settings.search.widest)
    found = recommender.rank(
        histories, wanted, exclude_seen=exclude_seen, allow=allow, prompts=prompts
    )
    if likelihood is None:
        basis: Basis = "model" if prompts is None else "model and query"
        return found, [[basis] * k] * len(histories)
    return _weighed(found, likelihood, k, allow, histories if exclude_seen else None)


def unmatched_query(recommender: FittedRecommender, query: str) -> str | None:
    """Say that a query can change nothing; None where its words fit an item or the model reads them."""
    if recommender.query_words.likelihood(query) or preference_task(
        recommender.settings.tasks.values()
    ):
        return None
    return (
        f"the query {query!r} changes nothing: its words are in no item's text, or in most of them"
    )


def _weighed(
    model: Ranking,
    likelihood: Likelihood,
    k: int,
    allow: NDArray[np.int32] | None,
    deny: Histories | None,
) -> tuple[Ranking, list[list[Basis]]]:
    """Rank the whole catalog by model and query, some rows at a time; filters bar items."""
    N, parts, bases = len(likelihood.words), [], []
    barred = np.zeros(N, np.bool_)
    if allow is not None:
        barred[:] = True
        barred[allow] = False
    step = max(1, CHUNK_CELLS // N)
    for start in range(0, len(model), step):
        rows = range(start, min(start + step, len(model)))
        known = _dense(model.items[rows], model.scores[rows], N)  # (c, M) -> (c, N)
        scores = np.log(likelihood.posterior(known))
        scores[:, barred] = -np.inf
        part = top_k(scores, k, excluded=None if deny is None else deny.take(np.array(rows)))
        parts.append(part)
        bases += [
            [likelihood.basis(item, row[item]) for item in items]
            for items, row in zip(part.items, known, strict=True)
        ]
    return Ranking.concatenate([Ranking.empty(0, k), *parts]), bases


def weighed_scores(
    model: Ranking,
    items: NDArray[np.int32],
    scores: NDArray[np.floating],
    likelihood: Likelihood,
) -> NDArray[np.float64]:
    """Score given items by model and query.

    Args:
        model: `(C, M)` what a search found, as it was asked for the ranking that holds the items.
        items: `(C, k)`, -1 where there is none. scores: the model's, exact.
        likelihood: what the query says.

    Returns:
        `(C, k)` log-probabilities, arbitrary where there is no item.
    """
    found, N = np.zeros(items.shape), len(likelihood.words)
    step = max(1, CHUNK_CELLS // N)
    for start in range(0, len(model), step):
        rows = slice(start, start + step)
        known = _dense(model.items[rows], model.scores[rows], N)
        exact = _dense(items[rows], scores[rows], N)
        posterior = likelihood.posterior(np.where(exact > 0, exact, known))
        found[rows] = np.log(np.take_along_axis(posterior, items[rows].astype(np.int64), axis=1))
    return found


def _dense(
    items: NDArray[np.int32], scores: NDArray[np.floating], n_items: int
) -> NDArray[np.float64]:
    """The probabilities `(C, N)` of a ranking `(C, M)`, 0 for what it does not name."""
    dense = np.zeros((len(items), n_items))
    rows, places = np.nonzero(items >= 0)
    dense[rows, items[rows, places]] = np.exp(scores[rows, places].astype(np.float64))
    return dense


def asked_prompts(
    recommender: FittedRecommender, histories: Histories, query: str
) -> list[NDArray[np.int64]] | None:
    """LM tokens of histories and query, as the task that learned it asks; None where none did."""
    settings = recommender.settings
    task = preference_task(settings.tasks.values())
    if task is None:
        return None
    words = query[:TEXT_CHARS]  # no more than it learned from
    newest = histories.last(settings.training.max_items)
    renderer = recommender.renderer
    asked = [renderer.prompt(task, history, preference=words) for history in newest]
    return [np.array(tokens, np.int64) for tokens in renderer.tokens(asked)]
