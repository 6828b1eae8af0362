"""Judge: rankers measured on the same cases, whoever was fitted on the same training part."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from genrec.data.split import same_time
from genrec.evaluation.context import Context
from genrec.evaluation.evaluate import Evaluation, evaluate_together
from genrec.evaluation.protocol import Protocol

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog
    from genrec.data.histories import Cases, Split
    from genrec.data.interactions import Interactions
    from genrec.evaluation.ranking import Ranker

__all__ = ["Judge"]


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

    @property
    def cases(self) -> Cases:
        """The cases that are counted."""
        return self.parts.test if self.split == "test" else self.parts.valid

    def measure(self, rankers: Sequence[Ranker]) -> list[Evaluation]:
        """Evaluate rankers that were fitted on the same training part, one after the other.

        Beside accuracy: coverage, popularity bias, novelty by training events, the share of cold items,
        diversity by the catalog's categories where it has any, calibration, and the slices of
        `genrec.evaluation.slices`.
        """
        return self._measure([[ranker] for ranker in rankers])

    def measure_together(self, rankers: Sequence[Ranker]) -> list[Evaluation]:
        """The same, all of them on some cases before the next ones (see `evaluate_together`)."""
        return self._measure([rankers])

    def _measure(self, groups: Sequence[Sequence[Ranker]]) -> list[Evaluation]:
        cases, N = self.cases, len(self.catalog)
        labels, times = self.catalog.labels(), same_time(self.log, cases)
        context = Context.of(cases, self.parts.train, N, labels=labels, same_time=times)
        protocol = Protocol(
            name=self.parts.protocol, split=self.split, ks=self.ks, exclude_seen=self.exclude_seen
        )
        watched = sys.stderr.isatty()
        return [
            found
            for group in groups
            for found in evaluate_together(
                group, cases, protocol, N, context=context, progress=watched
            )
        ]
