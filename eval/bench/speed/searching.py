"""Search cells: how fast each contender is, how it compares, and whether it is right."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.speed.contenders import CACHED, CALLBACK, PREFILL, PROCESSOR
from bench.speed.contenders import contenders as all_contenders
from bench.speed.machine import MatrixShape, measure_rates
from bench.speed.race import Outcome, Timing, race
from bench.speed.roofline import ModelCost, Step, roofline, rows_share
from bench.speed.workload import ModelShape, Stage, Workload

__all__ = ["invalid_rate", "measure_search", "overlap", "same_lists", "summary"]


def measure_search(
    workload: Workload, shape: ModelShape, timing: Timing, device: str
) -> dict[str, Any]:
    """Race all contenders; return plain values."""
    stage = Stage.build(workload, shape, device)
    rates = measure_rates(device, getattr(torch, shape.dtype), _matrices(workload, shape))
    cost, outcomes = ModelCost.of(stage.model), race(all_contenders(stage, rates), timing, device)
    steps = roofline(cost, rates, workload)
    return {
        "parameters": sum(p.numel() for p in stage.model.parameters()),
        "rates": asdict(rates),
        "cost": asdict(cost),
        "roofline": [asdict(step) | {"seconds": step.seconds} for step in steps],
        "contenders": {
            name: summary(outcome, workload) | _compared(name, outcomes, workload, steps)
            for name, outcome in outcomes.items()
        },
    }


def summary(
    outcome: Outcome, workload: Workload, forbidden: NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """Rates, latencies and memory of one contender; `forbidden` `(R, N)` marks what it must not find."""
    if outcome.skipped is not None:
        return {"skipped": outcome.skipped, "predicted_seconds": _rounded(outcome.predicted)}
    milliseconds = 1000 * np.array(outcome.seconds)
    enough = len(milliseconds) >= 100
    return {
        "calls": len(milliseconds),
        "warm": outcome.warm,
        "requests_per_second": _rounded(workload.users / outcome.median),
        "ms_p50": _rounded(float(np.median(milliseconds))),
        "ms_p99": _rounded(float(np.quantile(milliseconds, 0.99))) if enough else None,
        "ms_max": _rounded(float(milliseconds.max())),
        "peak_mib": outcome.peak.total,
        "added_mib": outcome.peak.added,
        "invalid": None
        if outcome.items is None
        else invalid_rate(outcome.items, workload.items, forbidden),
        "predicted_seconds": _rounded(outcome.predicted),
        "seconds": [_rounded(second) for second in outcome.seconds],
    }


def overlap(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """Mean share of a row's items, of `(R, W)` each, that the other row has too."""
    shared = [len(set(a) & set(b)) / len(a) for a, b in zip(first, second, strict=True)]
    return float(np.mean(shared))


def same_lists(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """Share of rows, of `(R, W)` each, that hold the same items in the same order."""
    return float((first == second).all(axis=1).mean())


def invalid_rate(
    items: NDArray[np.int32], catalog: int, forbidden: NDArray[np.bool_] | None = None
) -> float:
    """Share of the entries `(R, W)` that are no item of the catalog, forbidden, or repeated in a row."""
    wrong = (items < 0) | (items >= catalog)
    if forbidden is not None:
        wrong |= np.take_along_axis(forbidden, items.clip(0, catalog - 1), axis=1)
    order = np.argsort(items, axis=1, kind="stable")
    ranked = np.take_along_axis(items, order, axis=1)
    repeated = np.zeros_like(wrong)
    np.put_along_axis(repeated, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    return float((wrong | repeated).mean())


def _compared(
    name: str, outcomes: dict[str, Outcome], workload: Workload, steps: list[Step]
) -> dict[str, Any]:
    """The contender beside the limit, the prefill, and `generate` as it is called and with a prompt cache."""
    mine = outcomes[name]
    if mine.skipped is not None:
        return {}
    limit = sum(step.seconds for step in (steps[:1] if name == PREFILL else steps))
    compared: dict[str, Any] = {"fraction_of_roofline": _rounded(limit / mine.median)}
    if name == PREFILL or mine.items is None:
        return compared
    if (prefill := outcomes[PREFILL]).skipped is None:
        rows = prefill.median * rows_share(workload)
        compared["over_rows"] = _rounded(mine.median / rows)
    ran = [o for o in (CALLBACK, PROCESSOR) if outcomes[o].skipped is None]
    if ran and (found := outcomes[ran[0]].items) is not None:
        compared["reference"] = ran[0]
        compared["times_as_fast"] = _rounded(outcomes[ran[0]].median / mine.median)
        compared["overlap"] = _rounded(overlap(found, mine.items))
        compared["same_lists"] = _rounded(same_lists(found, mine.items))
    if (cached := outcomes[CACHED]).skipped is None:
        compared["times_as_fast_as_cached"] = _rounded(cached.median / mine.median)
    return compared


def _matrices(workload: Workload, shape: ModelShape) -> list[MatrixShape]:
    """The products of the model's own layers, with the rows of a prefill."""
    rows = min(workload.users * workload.prompt, 8192)
    attention = shape.heads * shape.head_dim
    pairs = [(shape.width, shape.inner), (shape.inner, shape.width), (shape.width, attention)]
    return [(rows, inner, columns) for inner, columns in pairs]


def _rounded(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")
