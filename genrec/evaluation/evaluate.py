"""Evaluation of a ranker: every case ranked, every case counted, means with their confidence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError, InputError
from genrec.common.progress import progress as progress_bar
from genrec.data.histories import Cases
from genrec.evaluation.case_results import CaseResults, Slice, slice_metrics, summary
from genrec.evaluation.context import Context
from genrec.evaluation.metrics import Audit, audit_cases
from genrec.evaluation.protocol import Protocol
from genrec.evaluation.ranking import Ranker, Ranking
from genrec.evaluation.ties import place_targets

__all__ = ["Evaluation", "check_comparable", "evaluate", "evaluate_together"]


@dataclass(frozen=True)
class Evaluation:
    """What one recommender reached under one protocol.

    Attributes:
        name: the ranker's name.
        protocol: with the users, cases, items and data hash that were counted.
        results: what is kept of every case; all numbers follow from it.
        metrics: by name such as ``recall@10`` (see `genrec.evaluation.case_results.summary`).
        confidence: lower and upper end of each mean over cases that comes from the target's rank.
        slices: the same of the cases of one kind (see `genrec.evaluation.slices`).
        seconds: wall time of the ranking alone.
    """

    name: str
    protocol: Protocol
    results: CaseResults
    metrics: dict[str, float]
    confidence: dict[str, tuple[float, float]]
    slices: dict[str, Slice]
    seconds: float

    @classmethod
    def of(cls, name: str, protocol: Protocol, results: CaseResults, seconds: float) -> Evaluation:
        """Compute everything that follows from the results of the cases."""
        slices = slice_metrics(results, protocol)
        return cls(name, protocol, results, *summary(results, protocol), slices, seconds)

    @property
    def ranks(self) -> NDArray[np.int64]:
        """`(C,)` 0-based rank of each case's target (see `CaseResults.ranks`)."""
        return self.results.ranks

    @property
    def audit(self) -> Audit:
        """Entries that should not have been returned."""
        return Audit.of(self.results.counts)

    @property
    def users(self) -> int:
        """Distinct users counted."""
        return self.protocol.users or 0

    @property
    def invalid(self) -> int:
        """Entries that are no catalog item, repeated, or seen though seen items are excluded."""
        return self.audit.total

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON document; what is kept of each case stays out."""
        return {
            "name": self.name,
            "protocol": self.protocol.model_dump(mode="json"),
            "metrics": self.metrics,
            "confidence": {name: list(ends) for name, ends in self.confidence.items()},
            "users": self.users,
            "invalid": self.invalid,
            "rates": self.audit.rates,
            "slices": {name: part.to_json() for name, part in self.slices.items()},
            "seconds": round(self.seconds, 3),
        }


def evaluate(
    ranker: Ranker,
    cases: Cases,
    protocol: Protocol,
    n_items: int,
    *,
    context: Context | None = None,
    chunk_size: int = 1024,
    progress: bool = False,
) -> Evaluation:
    """Rank every case over the full catalog and compute the protocol's metrics.

    Args:
        ranker: the model or baseline.
        cases: C >= 1 cases; each counts, whether or not the ranker returned anything for it.
        protocol: cut-offs, seen items, bootstrap.
        n_items: catalog size N.
        context: what is known beside the cases; adds novelty, diversity and slices.
        chunk_size: cases handed to the ranker at once; no result depends on it.
        progress: whether to show a progress bar on stderr.

    Raises:
        DataError: there is no case, or one names an item outside the catalog.
        InputError: the ranker returned another shape than asked, or log-probabilities above 0, or the
            protocol or the context states other data.
    """
    [found] = evaluate_together(
        *([ranker], cases, protocol, n_items),
        context=context,
        chunk_size=chunk_size,
        progress=progress,
    )
    return found


def evaluate_together(
    rankers: Sequence[Ranker],
    cases: Cases,
    protocol: Protocol,
    n_items: int,
    *,
    context: Context | None = None,
    chunk_size: int = 1024,
    progress: bool = False,
) -> list[Evaluation]:
    """Evaluate several rankers (see `evaluate`), all of them on some cases before the next ones.

    What rankers share of the cases, such as what one of them expects, need then be held for these alone: all
    are asked about the same object of histories.
    """
    _check(cases, n_items)
    protocol, context = protocol.counted(cases, n_items), context or Context()
    context.check(len(cases), n_items)
    judges = [_Judge(ranker, protocol, context, n_items) for ranker in rankers]
    label = f"evaluate {rankers[0].name}"
    parts = [
        [judge.judged(chunk) for judge in judges]
        for chunk in _chunks(cases, chunk_size, label, progress)
    ]
    return [
        Evaluation.of(
            judge.ranker.name,
            protocol,
            CaseResults.concatenate(found, context.slices),
            judge.seconds,
        )
        for judge, found in zip(judges, zip(*parts, strict=True), strict=True)
    ]


@dataclass
class _Judge:
    """Ranks chunks of cases by one ranker, and keeps what is counted of each case."""

    ranker: Ranker
    protocol: Protocol
    context: Context
    n_items: int
    seconds: float = 0.0

    def judged(self, cases: Cases) -> CaseResults:
        protocol, k = self.protocol, max(self.protocol.ks)
        began = time.perf_counter()
        # One place more shows whether a tie is cut at k.
        ranking = self.rank(cases, k + 1)
        self.seconds += time.perf_counter() - began
        ranks, tied = place_targets(
            lambda rows, width: self.rank(cases.take(rows), width),
            ranking,
            cases.targets,
            k,
            getattr(self.ranker, "tie_break", None),
        )
        top = ranking.items[:, :k]
        return CaseResults(
            cases.users,
            cases.targets,
            ranks,
            tied,
            top,
            audit_cases(top, cases.histories, self.n_items, protocol.exclude_seen),
            self.probabilities(ranking),
            self.context.values(top, protocol.ks),
        )

    def rank(self, cases: Cases, width: int) -> Ranking:
        exclude_seen = self.protocol.exclude_seen
        ranking = self.ranker.rank(cases.histories, width, exclude_seen=exclude_seen)
        if ranking.items.shape != (len(cases), width):
            raise InputError(
                f"{self.ranker.name} returned a ranking of shape {ranking.items.shape} where "
                f"{(len(cases), width)} was asked: short rows must be filled with -1, not left out"
            )
        return ranking

    def probabilities(self, ranking: Ranking) -> NDArray[np.float64] | None:
        """What each first item was given, where scores are log-probabilities."""
        if not getattr(self.ranker, "log_probabilities", False):
            return None
        first = ranking.scores[:, 0].astype(np.float64)
        if (first > 1e-3).any():
            raise InputError(
                f"{self.ranker.name} says its scores are log-probabilities, but gave {first.max():.3g}"
            )
        return np.exp(np.minimum(first, 0.0))


def check_comparable(model: Evaluation, other: Evaluation) -> None:
    """Raise `InputError` naming the first protocol field in which two evaluations differ."""
    for name in type(model.protocol).model_fields:
        ours, theirs = getattr(model.protocol, name), getattr(other.protocol, name)
        if ours != theirs:
            raise InputError(
                f"{model.name} and {other.name} cannot be compared: protocol field {name!r} is "
                f"{ours!r} for one and {theirs!r} for the other; evaluate both the same way"
            )


def _check(cases: Cases, n_items: int) -> None:
    if not len(cases):
        raise DataError("there is no case to evaluate: the split gave no user a target")
    for column, items in (("target", cases.targets), ("history", cases.histories.items)):
        outside = np.flatnonzero((items < 0) | (items >= n_items))
        if len(outside):
            raise DataError(
                f"evaluation cases must name items of the catalog, indices 0 to {n_items - 1}",
                column=column,
                value=int(items[outside[0]]),
            )


def _chunks(cases: Cases, size: int, label: str, progress: bool) -> Iterator[Cases]:
    """Yield runs of cases, moving a bar on stderr if asked."""
    with progress_bar(label, len(cases), shown=progress) as advance:
        for start in range(0, len(cases), size):
            chunk = cases.take(np.arange(start, min(start + size, len(cases))))
            yield chunk
            advance(len(chunk))
