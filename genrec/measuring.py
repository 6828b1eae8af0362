"""Rankers on the same cases: a recommender, the baselines, and whoever else was fitted on that split."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from genrec.data.split import same_time
from genrec.errors import InputError
from genrec.evaluation import Context, Evaluation, Protocol, evaluate
from genrec.evaluation.baselines import standard_baselines

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog
    from genrec.data.histories import Cases
    from genrec.data.interactions import Interactions
    from genrec.data.split import Split
    from genrec.evaluation import Ranker
    from genrec.recommender import GenerativeRecommender

__all__ = ["Judge", "measure"]


@dataclass(frozen=True)
class Judge:
    """What rankers are measured on: a catalog, a log, and how the log is cut.

    Attributes:
        catalog: the items that are ranked. log: the interactions. parts: training, validation, test.
        split: which cases. ks: cut-offs. exclude_seen: whether items of the history are left out.
    """

    catalog: Catalog
    log: Interactions
    parts: Split
    split: Literal["valid", "test"] = "test"
    ks: tuple[int, ...] = (5, 10)
    exclude_seen: bool = True

    @classmethod
    def of(
        cls,
        recommender: GenerativeRecommender,
        split: Literal["valid", "test"] = "test",
        ks: tuple[int, ...] = (5, 10),
        exclude_seen: bool = True,
    ) -> Judge:
        """Take catalog, log and split of a recommender.

        Raises:
            InputError: it has no log.
        """
        settings, log = recommender.settings, recommender.log
        if not len(log):
            raise InputError(
                "the recommender has no log to be measured on: it was transferred without one; transfer it "
                "again with --interactions"
            )
        parts = settings.split.apply(log, settings.seed)
        return cls(recommender.catalog, log, parts, split, ks, exclude_seen)

    @property
    def cases(self) -> Cases:
        """The cases that are counted."""
        return self.parts.test if self.split == "test" else self.parts.valid

    def measure(self, rankers: Sequence[Ranker]) -> list[Evaluation]:
        """Evaluate rankers that were fitted on the same training part.

        Beside accuracy: coverage, popularity bias, novelty by training events, the share of cold items,
        diversity by the catalog's categories where it has any, calibration, and the slices of
        `genrec.evaluation.slices`.
        """
        cases, N = self.cases, len(self.catalog)
        labels, times = self.catalog.labels(), same_time(self.log, cases)
        context = Context.of(cases, self.parts.train, N, labels=labels, same_time=times)
        protocol = Protocol(
            name=self.parts.protocol, split=self.split, ks=self.ks, exclude_seen=self.exclude_seen
        )
        watched = sys.stderr.isatty()
        return [
            evaluate(ranker, cases, protocol, N, context=context, progress=watched)
            for ranker in rankers
        ]


def measure(
    recommender: GenerativeRecommender, judge: Judge | None = None, *, baselines: bool = False
) -> tuple[Evaluation, list[Evaluation]]:
    """Evaluate a recommender, and the standard baselines trained on the same training part.

    Args:
        recommender: what is measured.
        judge: on what; None takes the recommender's own test.
        baselines: whether the baselines are measured too.

    Returns:
        The recommender's evaluation, and the baselines' (empty unless asked for).
    """
    judge = Judge.of(recommender) if judge is None else judge
    rankers: list[Ranker] = [recommender]
    if baselines:
        texts = judge.catalog.texts(recommender.settings.template)
        rankers += standard_baselines(judge.parts.train, len(judge.catalog), texts)
    mine, *others = judge.measure(rankers)
    return mine, others
