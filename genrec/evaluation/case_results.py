"""Case results: what is kept of every case, and every metric that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.bootstrap import confidence_intervals
from genrec.evaluation.calibration import expected_calibration_error
from genrec.evaluation.list_metrics import exposure, gini
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.protocol import Protocol
from genrec.evaluation.ties import expected

__all__ = ["CaseResults", "Slice", "accuracy", "slice_metrics", "summary"]

Means = dict[str, float]
Ends = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class CaseResults:
    """C cases as one ranker answered them; all metrics are computed from this, and it can be saved.

    Attributes:
        users: `(C,)` whose case it is.
        targets: `(C,)` the item that came next.
        ranks: `(C,)` 0-based first place of the target's tied group, the largest k where it is absent.
        tied: `(C,)` size of that group; 1 where the target stands alone or is absent.
        top: `(C, k)` what was returned, -1 at the end of a short row.
        counts: `(C, 4)` invalid, duplicate and seen entries, and all entries.
        probabilities: `(C,)` what the first item was given, 0 for an empty row; None where the
            ranker's scores are no log-probabilities.
        values: further numbers of each case by metric, such as ``novelty@10``.
        slices: marks of the cases of each slice.
    """

    users: NDArray[np.int64]
    targets: NDArray[np.int32]
    ranks: NDArray[np.int64]
    tied: NDArray[np.int64]
    top: NDArray[np.int32]
    counts: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None = None
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)

    @classmethod
    def concatenate(
        cls, parts: Sequence[CaseResults], slices: Mapping[str, NDArray[np.bool_]]
    ) -> CaseResults:
        """Put one or more runs of cases below each other, and mark the slices of all."""

        def joined(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in parts])

        return cls(
            joined("users"),
            joined("targets"),
            joined("ranks"),
            joined("tied"),
            joined("top"),
            joined("counts"),
            None if parts[0].probabilities is None else joined("probabilities"),
            {name: np.concatenate([p.values[name] for p in parts]) for name in parts[0].values},
            dict(slices),
        )


@dataclass(frozen=True)
class Slice:
    """The cases of one kind.

    Attributes:
        cases: how many there are.
        metrics: means over them, empty where there are none.
        confidence: lower and upper end of each mean.
    """

    cases: int
    metrics: Means
    confidence: Ends

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON document."""
        ends = {name: list(pair) for name, pair in self.confidence.items()}
        return {"cases": self.cases, "metrics": self.metrics, "confidence": ends}


def accuracy(results: CaseResults, ks: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Return every metric of the target's rank at every k, ``(C,)`` by name such as ``recall@10``."""
    return {
        f"{name}@{k}": expected(metric, results.ranks, results.tied, k)
        for name, metric in METRICS.items()
        for k in ks
    }


def summary(results: CaseResults, protocol: Protocol) -> tuple[Means, Ends]:
    """Return every metric, and the confidence intervals of those that are means of the ranks.

    ``coverage@k`` is the share of the catalog in anyone's first k, ``gini@k`` how unevenly the catalog's
    items share these places, ``ece`` the calibration error of the first item's probability.

    Args:
        results: of C >= 1 cases.
        protocol: with the catalog's size, as `evaluate` fills it in.
    """
    assert protocol.items is not None
    assert protocol.cases == len(results), "every case must be counted"
    assert protocol.users == len(np.unique(results.users)), "every user must be counted"
    per_case = accuracy(results, protocol.ks)
    means, ends = _means(per_case, results.users, protocol)
    for k in protocol.ks:
        shown = exposure(results.top[:, :k], protocol.items)
        means[f"coverage@{k}"] = float((shown > 0).mean())
        means[f"gini@{k}"] = gini(shown)
    means |= {name: float(values.mean()) for name, values in results.values.items()}
    if results.probabilities is not None:
        first = expected(METRICS["recall"], results.ranks, results.tied, 1)
        means["ece"] = expected_calibration_error(results.probabilities, first)
    return means, ends


def slice_metrics(results: CaseResults, protocol: Protocol) -> dict[str, Slice]:
    """Return the metrics of the ranks, with their intervals, of every slice."""
    per_case, found = accuracy(results, protocol.ks), {}
    for name, mark in results.slices.items():
        if not mark.any():
            found[name] = Slice(0, {}, {})
            continue
        own = {metric: values[mark] for metric, values in per_case.items()}
        found[name] = Slice(int(mark.sum()), *_means(own, results.users[mark], protocol))
    return found


def _means(
    per_case: dict[str, NDArray[np.float64]], users: NDArray[np.int64], protocol: Protocol
) -> tuple[Means, Ends]:
    stacked = np.column_stack(list(per_case.values()))
    low, high = confidence_intervals(stacked, users, protocol.bootstrap).tolist()
    means = {name: float(values.mean()) for name, values in per_case.items()}
    return means, dict(zip(per_case, zip(low, high, strict=True), strict=True))
