"""Measure a recommender: rank every case, count every case, state how sure the means are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Cases, Histories
from genrec.errors import DataError, InputError
from genrec.evaluation.bootstrap import confidence_intervals
from genrec.evaluation.metrics import METRICS, Audit, audit, rank_of_target, shown
from genrec.evaluation.protocol import Protocol
from genrec.evaluation.ranking import Ranker, Ranking
from genrec.progress import progress as progress_bar

__all__ = ["Evaluation", "check_comparable", "compare", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """What one recommender reached under one protocol.

    Attributes:
        name: the ranker's name.
        protocol: with the users, cases, items and data hash that were counted.
        ranks: `(C,)` 0-based rank of each case's target, the protocol's largest k if absent.
        metrics: mean over cases by name, such as ``recall@10``; ``coverage@10`` is the share of the
            catalog in anyone's top 10.
        confidence: lower and upper end of each mean (coverage is not a mean and has none).
        audit: entries that should not have been returned.
        seconds: wall time of the ranking alone.
    """

    name: str
    protocol: Protocol
    ranks: NDArray[np.int64]
    metrics: dict[str, float]
    confidence: dict[str, tuple[float, float]]
    audit: Audit
    seconds: float

    @property
    def users(self) -> int:
        """Distinct users counted."""
        return self.protocol.users or 0

    @property
    def invalid(self) -> int:
        """Entries that are no catalog item, repeated, or seen though seen items are excluded."""
        return self.audit.total

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON document; per-case ranks stay out."""
        return {
            "name": self.name,
            "protocol": self.protocol.model_dump(mode="json"),
            "metrics": self.metrics,
            "confidence": {name: list(ends) for name, ends in self.confidence.items()},
            "users": self.users,
            "invalid": self.invalid,
            "seconds": round(self.seconds, 3),
        }


def evaluate(
    ranker: Ranker,
    cases: Cases,
    protocol: Protocol,
    n_items: int,
    *,
    chunk_size: int = 1024,
    progress: bool = False,
) -> Evaluation:
    """Rank every case over the full catalog and compute the protocol's metrics.

    Args:
        ranker: the model or baseline.
        cases: C >= 1 cases; each counts, whether or not the ranker returned anything for it.
        protocol: cut-offs, seen items, bootstrap.
        n_items: catalog size N.
        chunk_size: cases handed to the ranker at once; no result depends on it.
        progress: whether to show a progress bar on stderr.

    Raises:
        DataError: there is no case, or one names an item outside the catalog.
        InputError: the ranker returned another shape than asked, or the protocol states other data.
    """
    _check(cases, n_items)
    protocol = protocol.counted(cases, n_items)
    ranks = np.full(len(cases), -1, np.int64)
    covered = np.zeros((len(protocol.ks), n_items), np.bool_)
    found, seconds = Audit(), 0.0
    for start, chunk in _chunks(cases, chunk_size, f"evaluate {ranker.name}", progress):
        began = time.perf_counter()
        ranking = _rank(ranker, chunk.histories, protocol)
        seconds += time.perf_counter() - began
        ranks[start : start + len(chunk)] = rank_of_target(ranking, chunk.targets)
        found += audit(ranking, chunk.histories, n_items, protocol.exclude_seen)
        for row, k in zip(covered, protocol.ks, strict=True):
            row |= shown(ranking, n_items, k)
    assert (ranks >= 0).all(), "every case must be counted"
    metrics, confidence = _summary(ranks, cases.users, protocol)
    for row, k in zip(covered, protocol.ks, strict=True):
        metrics[f"coverage@{k}"] = float(row.mean())
    return Evaluation(ranker.name, protocol, ranks, metrics, confidence, found, seconds)


def compare(model: Evaluation, baselines: Sequence[Evaluation] = ()) -> dict[str, Any]:
    """Return the document of ``genrec evaluate --json``: the model's numbers beside the baselines'.

    Raises:
        InputError: a baseline was measured under another protocol or on other cases.
    """
    for baseline in baselines:
        check_comparable(model, baseline)
    document = model.to_json()
    return {
        "protocol": document["protocol"],
        "metrics": document["metrics"],
        "confidence": document["confidence"],
        "baselines": {baseline.name: baseline.metrics for baseline in baselines},
        "users": document["users"],
        "invalid": document["invalid"],
    }


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


def _chunks(cases: Cases, size: int, label: str, progress: bool) -> Iterator[tuple[int, Cases]]:
    """Yield runs of cases with the position of their first, moving a bar on stderr if asked."""
    with progress_bar(label, len(cases), shown=progress) as advance:
        for start in range(0, len(cases), size):
            chunk = cases.take(np.arange(start, min(start + size, len(cases))))
            yield start, chunk
            advance(len(chunk))


def _rank(ranker: Ranker, histories: Histories, protocol: Protocol) -> Ranking:
    k = max(protocol.ks)
    ranking = ranker.rank(histories, k, exclude_seen=protocol.exclude_seen)
    if ranking.items.shape != (len(histories), k):
        raise InputError(
            f"{ranker.name} returned a ranking of shape {ranking.items.shape} where "
            f"{(len(histories), k)} was asked: short rows must be filled with -1, not left out"
        )
    return ranking


def _summary(
    ranks: NDArray[np.int64], users: NDArray[np.int64], protocol: Protocol
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return the mean and the confidence interval of every metric at every k."""
    per_case = {
        f"{name}@{k}": metric(ranks, k) for name, metric in METRICS.items() for k in protocol.ks
    }
    low, high = confidence_intervals(
        np.column_stack(list(per_case.values())), users, protocol.bootstrap
    ).tolist()
    means = {name: float(values.mean()) for name, values in per_case.items()}
    return means, dict(zip(per_case, zip(low, high, strict=True), strict=True))
