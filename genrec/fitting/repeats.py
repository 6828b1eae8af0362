"""Repeats: whether users come back to items, and so whether recommendations may be items of the history.

Where a log holds repeats, seen items left out are targets that nothing can find, and where it holds none,
seen items kept are places wasted. Which way is right is a question to the log: where more than a few targets
stand in their own history, both ways are validated, and the better one is the recommender's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Cases, Split
from genrec.evaluation.metrics import METRICS, rank_of_target
from genrec.recommender.fitted_recommender import AnyRecommender

__all__ = ["choose_seen", "repeated_share", "seen_ways"]

Tried = dict[str, dict[str, float]]
"""What was tried, by part: how each attempt fared."""

log = logging.getLogger(__name__)

_FEW = 0.03
"""Share of targets in their own history up to which seen items are left out without a trial."""
_RULE = 0.5
"""Share of repeats in the training part from which seen items are kept, where no case can tell."""


def repeated_share(cases: Cases) -> float:
    """Share of the targets that stand in their own history; 0 of no case."""
    return round(float(cases.repeated.mean()), 6) if len(cases) else 0.0


def seen_ways(recommender: AnyRecommender, valid: Cases) -> list[AnyRecommender]:
    """The recommender as it is; or, where nobody said and the targets leave it open, both ways."""
    share = repeated_share(valid)
    if recommender.settings.exclude_seen is not None or share <= _FEW:
        return [recommender]
    return [_way(recommender, exclude_seen) for exclude_seen in (True, False)]


def choose_seen(
    recommender: AnyRecommender,
    split: Split,
    weigh: Callable[[AnyRecommender], tuple[AnyRecommender, Tried]],
) -> tuple[AnyRecommender, Tried]:
    """Choose on validation whether seen items are left out, unless that is settled.

    Where they are kept, counts are tried without and with items that follow themselves.

    Args:
        recommender: trained.
        split: its validation cases choose.
        weigh: chooses mixture weights for a way, and says what it tried.

    Returns:
        The recommender with these weights, and what was tried; as ``repeats`` the share of targets that stand
        in their own history, and the ndcg@10 of both ways where both were tried.
    """
    settings = recommender.settings
    again = repeated_share(split.valid)
    if not len(split.valid):
        return _by_training(recommender, split, weigh)
    cases = split.valid.draw(settings.validation_users, settings.seed)
    ways = [counted for way in seen_ways(recommender, split.valid) for counted in _counted(way)]
    weighed = [weigh(way) for way in ways]
    if len(ways) == 1:
        if settings.exclude_seen is None and again:
            log.info(
                "%.1f %% of the validation targets stand in their own history, too few to try: seen items "
                "are left out",
                100 * again,
            )
        [(chosen, tried)] = weighed
        return chosen, tried | {"repeats": {"share": again}}
    scores = [float(_ndcg(way, cases).mean()) for way, _ in weighed]
    chosen, tried = weighed[int(np.argmax(scores))]  # of equal ones the first
    best = {way.exclude_seen: 0.0 for way in ways}
    for way, score in zip(ways, scores, strict=True):
        best[way.exclude_seen] = max(best[way.exclude_seen], score)
    found = {"left_out" if out else "kept": round(score, 6) for out, score in best.items()}
    if len(found) > 1:
        log.info(
            "%.1f %% of the validation targets stand in their own history; ndcg@10 is %.4f with seen items "
            "left out, %.4f with them kept: recommendations %s (exclude_seen=%s)",
            100 * again,
            found["left_out"],
            found["kept"],
            "leave them out" if chosen.exclude_seen else "keep them",
            str(chosen.exclude_seen).lower(),
        )
    return chosen, tried | {"repeats": {"share": again} | found}


def _by_training(
    recommender: AnyRecommender,
    split: Split,
    weigh: Callable[[AnyRecommender], tuple[AnyRecommender, Tried]],
) -> tuple[AnyRecommender, Tried]:
    """Keep seen items where most of the training part is repeats: without a case there is nothing to try."""
    again, events = split.train.repeats
    if recommender.settings.exclude_seen is None and again > _RULE * events:
        log.info("most training events come back to an item: recommendations keep seen items")
        recommender = _counted(_way(recommender, exclude_seen=False))[-1]
    chosen, tried = weigh(recommender)
    return chosen, tried | {"repeats": {"share": 0.0}}


def _way(recommender: AnyRecommender, exclude_seen: bool) -> AnyRecommender:
    return recommender.changed(settings=recommender.settings.replace(exclude_seen=exclude_seen))


def _counted(recommender: AnyRecommender) -> list[AnyRecommender]:
    """The recommender as it is; and, where it keeps seen items, one that counts what follows itself."""
    memory = recommender.settings.memory
    if recommender.exclude_seen or memory.counts.repeats:
        return [recommender]
    counts = memory.replace(counts=memory.counts.replace(repeats=True))
    return [recommender, recommender.changed(settings=recommender.settings.replace(memory=counts))]


def _ndcg(recommender: AnyRecommender, cases: Cases) -> NDArray[np.float64]:
    """The ndcg@10 of each case, `(C,)`."""
    k = min(10, len(recommender.catalog))
    found = recommender.rank(cases.histories, k, exclude_seen=recommender.exclude_seen)
    return METRICS["ndcg"](rank_of_target(found, cases.targets), 10)
