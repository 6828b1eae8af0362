"""A recommender beside the baselines, on the split that it was fitted with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from genrec.data.split import same_time
from genrec.evaluation import Context, Evaluation, Protocol, evaluate
from genrec.evaluation.baselines import standard_baselines

if TYPE_CHECKING:
    from genrec.data.histories import Cases
    from genrec.evaluation import Ranker
    from genrec.recommender import GenerativeRecommender

__all__ = ["cases_of", "measure"]


def measure(
    recommender: GenerativeRecommender,
    split: Literal["valid", "test"] = "test",
    ks: tuple[int, ...] = (5, 10),
    exclude_seen: bool = True,
    baselines: bool = False,
) -> tuple[Evaluation, list[Evaluation]]:
    """Evaluate a recommender, and the standard baselines trained on the same training part.

    Beside accuracy: coverage, popularity bias, novelty by training events, diversity by the catalog's
    categories where it has any, calibration, and the slices of `genrec.evaluation.slices`.

    Returns:
        The recommender's evaluation, and the baselines' (empty unless asked for).
    """
    settings, catalog = recommender.settings, recommender.catalog
    parts = settings.split.apply(recommender.log, settings.seed)
    cases, N = parts.test if split == "test" else parts.valid, len(catalog)
    times = same_time(recommender.log, cases)
    context = Context.of(cases, parts.train, N, labels=catalog.labels(), same_time=times)
    protocol = Protocol(name=parts.protocol, split=split, ks=ks, exclude_seen=exclude_seen)
    rankers: list[Ranker] = [recommender]
    if baselines:
        rankers += standard_baselines(parts.train, N, catalog.texts(settings.template))
    watched = sys.stderr.isatty()
    mine, *others = [
        evaluate(ranker, cases, protocol, N, context=context, progress=watched)
        for ranker in rankers
    ]
    return mine, others


def cases_of(recommender: GenerativeRecommender, split: Literal["valid", "test"]) -> Cases:
    """Return the cases that `measure` counts."""
    parts = recommender.settings.split.apply(recommender.log, recommender.settings.seed)
    return parts.test if split == "test" else parts.valid
