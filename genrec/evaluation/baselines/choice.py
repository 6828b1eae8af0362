"""Choice of a counting baseline's kernels on validation cases, as a fair rival has them.

What a pair counts by its distance and an item by its age differs from log to log: on long histories the best
kernels are others than in a shop where people come three times. So each setting is tried at a few values, one
setting after the other, and the value with the best ndcg@10 is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from genrec.data.histories import Cases, Histories, Split
from genrec.evaluation.baselines.kernels import Exponential, Head, Logarithmic, Power
from genrec.evaluation.baselines.pctm import PCTM, PCTMConfig
from genrec.evaluation.baselines.seqrules import SeqRules, SeqRulesConfig
from genrec.evaluation.metrics import ndcg, rank_of_target

__all__ = ["chosen"]

log = logging.getLogger(__name__)

Counted = TypeVar("Counted", PCTM, SeqRules)
Values = Mapping[str, Any]

MOST_CASES = 2000
"""Validation cases that are ranked for each trial, drawn at random from more."""
MOST_EVENTS = 2_000_000
"""Training events that are counted for each trial: of a longer log, those of users drawn at random."""

_PCTM: tuple[tuple[Values, ...], ...] = (
    (
        {"window": 50, "counting": Power(power=0.5)},
        {"window": 20, "counting": Power(power=1.0)},
        {"window": 20, "counting": Exponential(decay=0.7)},
        {"window": 10, "counting": Exponential(decay=0.5)},
        {"window": 1},
    ),
    tuple({"prior": prior} for prior in (3.0, 0.3, 0.05, 0.01)),
    (
        {"reading": Exponential(decay=0.4)},
        {"reading": Power(power=1.5)},
        {"reading": Head(items=7, decay=0.6)},
        {"reading": Head(items=10, decay=0.7)},
    ),
    tuple({"popularity_weight": weight} for weight in (0.0, -0.2, -0.5)),
)
_SEQRULES: tuple[tuple[Values, ...], ...] = (
    (
        {"window": 30, "counting": Logarithmic()},
        {"window": 20, "counting": Power(power=1.0)},
        {"window": 10, "counting": Power(power=1.0)},
        {"window": 3, "counting": Power(power=1.0)},
        {"window": 1},
    ),
    (
        {"reading": Power(power=2.0), "max_history": 5},
        {"reading": Power(power=1.5), "max_history": 10},
        {"reading": Power(power=1.0), "max_history": 10},
        {"reading": Power(power=1.0), "max_history": 20},
    ),
    ({"max_rules": 500},),
    ({"rare_items": True},),
)
_TRIALS: Mapping[type, tuple[Any, tuple[tuple[Values, ...], ...]]] = MappingProxyType(
    {PCTM: (PCTMConfig, _PCTM), SeqRules: (SeqRulesConfig, _SEQRULES)}
)
_READ_ONLY = frozenset({"prior", "reading", "max_history", "popularity_weight"})
"""What can be changed without counting anew."""


def chosen(
    kind: type[Counted], split: Split, n_items: int, *, exclude_seen: bool = True
) -> Counted:
    """Fit a baseline on the training histories with the kernels that validate best.

    Args:
        kind: `PCTM` or `SeqRules`.
        split: what is counted, and the cases to choose by; without any, the defaults are taken.
        n_items: catalog size N.
        exclude_seen: whether items of the history are left out; if not, an item may follow itself.
    """
    settings, trials = _TRIALS[kind]
    config, cases = settings(repeats=not exclude_seen), split.valid.draw(MOST_CASES, seed=0)
    if not len(cases):
        return kind.fit(split.train, n_items, config)
    train = _drawn(split.train, MOST_EVENTS)
    best = kind.fit(train, n_items, config)
    reached = _ndcg(best, cases, exclude_seen)
    for values in trials:
        start = best
        for change in values:
            config = start.config.replace(**change)
            other = (
                replace(start, config=config)
                if change.keys() <= _READ_ONLY
                else kind.fit(train, n_items, config)
            )
            value = _ndcg(other, cases, exclude_seen)
            if value > reached:
                best, reached = other, value
    log.info("%s: chosen by %d validation cases: %s", best.name, len(cases), best.config)
    return best if train is split.train else kind.fit(split.train, n_items, best.config)


def _ndcg(ranker: PCTM | SeqRules, cases: Cases, exclude_seen: bool) -> float:
    ranking = ranker.rank(cases.histories, 10, exclude_seen=exclude_seen)
    return float(ndcg(rank_of_target(ranking, cases.targets), 10).mean())


def _drawn(train: Histories, most: int) -> Histories:
    """Histories of users drawn at random, `most` events of them; all if there are no more."""
    if len(train.items) <= most:
        return train
    users = np.random.default_rng(0).permutation(len(train))
    return train.take(np.sort(users[np.cumsum(train.lengths[users]) <= most]))
