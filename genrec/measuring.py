"""A recommender beside the baselines, on the split that it was fitted with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from genrec.evaluation import Evaluation, Protocol, evaluate
from genrec.evaluation.baselines import standard_baselines

if TYPE_CHECKING:
    from genrec.evaluation import Ranker
    from genrec.recommender import GenerativeRecommender

__all__ = ["measure"]


def measure(
    recommender: GenerativeRecommender,
    split: Literal["valid", "test"] = "test",
    ks: tuple[int, ...] = (5, 10),
    exclude_seen: bool = True,
    baselines: bool = False,
) -> tuple[Evaluation, list[Evaluation]]:
    """Evaluate a recommender, and the standard baselines trained on the same training part.

    Returns:
        The recommender's evaluation, and the baselines' (empty unless asked for).
    """
    settings, catalog = recommender.settings, recommender.catalog
    parts = settings.split.apply(recommender.log, settings.seed)
    cases = parts.test if split == "test" else parts.valid
    protocol = Protocol(name=parts.protocol, split=split, ks=ks, exclude_seen=exclude_seen)
    rankers: list[Ranker] = [recommender]
    if baselines:
        rankers += standard_baselines(parts.train, len(catalog), catalog.texts(settings.template))
    watched = sys.stderr.isatty()
    mine, *others = [evaluate(r, cases, protocol, len(catalog), progress=watched) for r in rankers]
    return mine, others
