"""Measurement of a recommender on the log it was fitted on, beside the standard baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from genrec.common.errors import InputError
from genrec.evaluation.baselines import standard_baselines
from genrec.evaluation.judge import Judge

if TYPE_CHECKING:
    from genrec.evaluation import Evaluation
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["judge_of", "measure", "measure_baselines"]


def judge_of(
    recommender: FittedRecommender,
    split: Literal["valid", "test"] = "test",
    ks: tuple[int, ...] = (5, 10),
    exclude_seen: bool | None = None,
) -> Judge:
    """The judge of a recommender's own catalog, log and split.

    Args:
        recommender: what is measured.
        split: which cases.
        ks: cut-offs.
        exclude_seen: whether items of the history are left out; None is as the recommender does.

    Raises:
        InputError: it has no log.
    """
    log = recommender.log
    if not len(log):
        raise InputError(
            "the recommender has no log to be measured on: it was transferred without one; transfer it "
            "again with --interactions"
        )
    seen = recommender.exclude_seen if exclude_seen is None else exclude_seen
    return Judge(recommender.catalog, log, recommender.split, split, ks, seen)


def measure(
    recommender: FittedRecommender, judge: Judge | None = None, *, baselines: bool = False
) -> tuple[Evaluation, list[Evaluation]]:
    """Evaluate a recommender, and the standard baselines trained on the same training part.

    Args:
        recommender: what is measured.
        judge: on what; None takes the recommender's own test.
        baselines: whether the baselines are measured too.

    Returns:
        The recommender's evaluation, and the baselines' (empty unless asked for).
    """
    judge = judge_of(recommender) if judge is None else judge
    [mine] = judge.measure([recommender])
    return mine, measure_baselines(recommender, judge) if baselines else []


def measure_baselines(recommender: FittedRecommender, judge: Judge) -> list[Evaluation]:
    """Evaluate the standard baselines, trained on the same training part as a recommender."""
    texts = judge.catalog.texts(recommender.settings.template)
    rankers = standard_baselines(
        judge.parts, len(judge.catalog), texts, exclude_seen=judge.exclude_seen
    )
    return judge.measure(rankers)
