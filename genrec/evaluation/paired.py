"""Paired comparison of two evaluations over users, on the same cases: better, or luck?

The interval of a difference comes from resampling users; its p value from swapping the two recommenders'
numbers user by user, which changes nothing where they are equally good: a randomization test (Smucker,
Allan and Carterette, A comparison of statistical significance tests for information retrieval
evaluation, CIKM 2007). Both are far sharper than a look at two separate intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.evaluation.bootstrap import CHUNK_CELLS, confidence_intervals, contributions
from genrec.evaluation.case_results import accuracy
from genrec.evaluation.evaluate import Evaluation, check_comparable

__all__ = ["Difference", "PairedSettings", "compare", "paired_differences", "randomization_p"]

NEARLY = 1 - 1e-9
"""A sum of the same numbers in another order counts as the same."""


class PairedSettings(Settings):
    """How p values are computed."""

    swaps: int = Field(default=5000, ge=1)
    """Random assignments; the smallest p value is one over this."""
    seed: int = 0
    """Seed of the assignments."""


@dataclass(frozen=True)
class Difference:
    """One recommender's mean less another's.

    Attributes:
        value: the difference.
        low: lower end of its interval.
        high: upper end.
        p: how often chance alone makes one at least so large, either way; above 0, at most 1.
    """

    value: float
    low: float
    high: float
    p: float

    def to_json(self) -> dict[str, float]:
        """Return plain values for a JSON document."""
        return asdict(self)


def compare(
    model: Evaluation, baselines: Sequence[Evaluation] = (), *, differences: bool = True
) -> dict[str, Any]:
    """Return the document of ``genrec evaluate --json``: the model's numbers beside the baselines'.

    Args:
        model: what is reported.
        baselines: what it is compared with.
        differences: whether each baseline gets a paired test.

    Raises:
        InputError: a baseline was measured under another protocol or on other cases.
    """
    for baseline in baselines:
        check_comparable(model, baseline)
    document = model.to_json()
    names = ("protocol", "metrics", "confidence", "users", "invalid", "rates", "slices")
    paired: dict[str, dict[str, Difference]] = {}
    if differences:
        paired = {other.name: paired_differences(model, other) for other in baselines}
    return {name: document[name] for name in names} | {
        "baselines": {baseline.name: baseline.metrics for baseline in baselines},
        "differences": {
            other: {name: difference.to_json() for name, difference in found.items()}
            for other, found in paired.items()
        },
    }


def paired_differences(
    model: Evaluation | Sequence[Evaluation],
    other: Evaluation | Sequence[Evaluation],
    metrics: Sequence[str] | None = None,
    settings: PairedSettings | None = None,
) -> dict[str, Difference]:
    """Compare two evaluations of the same cases, fresh or read back (`read_cases`).

    Args:
        model: whose difference is positive where it is better. Runs with several seeds count as one: each
            case by the mean of what they made of it.
        other: the other one, or its runs.
        metrics: of the target's rank, such as ``("recall@10",)``; None for recall, ndcg and mrr at every k.
        settings: how p values are computed.

    Raises:
        InputError: other protocols or cases, or a metric that is no mean over the ranks.
    """
    mine, others = _runs(model), _runs(other)
    first = mine[0]
    for run in [*mine[1:], *others]:
        check_comparable(first, run)
        _check_same_cases(first, run)
    ks = first.protocol.ks
    names = metrics or [f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in ks]
    ours, theirs = _mean_accuracy(mine), _mean_accuracy(others)
    for name in names:
        if name not in ours:
            raise InputError(f"metric {name!r} cannot be paired; known: {', '.join(ours)}")
    gains = np.column_stack([ours[name] - theirs[name] for name in names])
    users = first.results.users
    low, high = confidence_intervals(gains, users, first.protocol.bootstrap)
    p = randomization_p(gains, users, settings or PairedSettings())
    columns = (gains.mean(axis=0), low, high, p)
    return {
        name: Difference(*(float(column[place]) for column in columns))
        for place, name in enumerate(names)
    }


def randomization_p(
    gains: NDArray[np.float64], users: NDArray[np.int64], settings: PairedSettings
) -> NDArray[np.float64]:
    """Return the two-sided p value of each mean gain, `(m,)`.

    Args:
        gains: `(C, m)`, one recommender's m metrics less the other's.
        users: `(C,)` whose case it is; a user's cases are swapped together.
        settings: number of assignments and seed.
    """
    parts, weights = contributions(gains, users)
    parts = parts[:, :-1]
    reached = np.abs(weights @ parts) * NEARLY
    rng = np.random.default_rng(settings.seed)
    step, beyond = max(1, CHUNK_CELLS // len(weights)), np.zeros(gains.shape[1])
    for start in range(0, settings.swaps, step):
        size = (min(step, settings.swaps - start), len(weights))
        # Of n users with the same gains, so many keep them; the others' change sign.
        kept = rng.binomial(weights, 0.5, size=size)
        beyond += (np.abs((2 * kept - weights) @ parts) >= reached).sum(axis=0)
    return np.asarray((1 + beyond) / (1 + settings.swaps))


def _runs(evaluations: Evaluation | Sequence[Evaluation]) -> Sequence[Evaluation]:
    return [evaluations] if isinstance(evaluations, Evaluation) else evaluations


def _mean_accuracy(runs: Sequence[Evaluation]) -> dict[str, NDArray[np.float64]]:
    """Every metric of each case, `(C,)`, in the mean of the runs."""
    found = [accuracy(run.results, run.protocol.ks) for run in runs]
    return {name: np.mean([values[name] for values in found], axis=0) for name in found[0]}


def _check_same_cases(model: Evaluation, other: Evaluation) -> None:
    for name in ("users", "targets"):
        ours, theirs = (_numbered(getattr(e.results, name)) for e in (model, other))
        if not np.array_equal(ours, theirs):
            raise InputError(
                f"{model.name} and {other.name} cannot be compared: their cases have other {name}, or "
                "another order"
            )


def _numbered(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number values by first appearance: results read from a file have numbers of their own."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return np.asarray(order[inverse])
