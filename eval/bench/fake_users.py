"""Fake users: what a gang of them can do to a recommender, and what leaving suspects out takes back.

The attacks are the classical ones of profile injection (Mobasher et al. 2007, "Toward Trustworthy
Recommender Systems"): every made-up user holds the pushed item among others that are drawn at random
(``random``), by what sells best (``bandwagon``), or at random but for the bestseller, which is held by all
(``segment``). The recommender is fitted anew on the poisoned log, with the defence off and on, and measured
on real users alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.data.catalog import Catalog
from genrec.data.histories import Cases, Histories, Split
from genrec.data.interactions import Interactions
from genrec.evaluation.bootstrap import Bootstrap, confidence_intervals
from genrec.evaluation.metrics import ndcg, rank_of_target
from genrec.generative_recommender import GenerativeRecommender
from genrec.recommender.settings import FitSettings

__all__ = ["FakeUserAttack", "FakeUserResult", "fake_histories", "measure_fake_users", "poisoned"]

Attack = Literal["random", "bandwagon", "segment"]
_HELD_OUT = 2
"""Last items of a user that leave-one-out does not train on: what is pushed stands before them."""


class FakeUserAttack(Settings):
    """How many users are made up, and how."""

    attacks: tuple[Attack, ...] = ("random", "bandwagon", "segment")
    """Which ways."""
    share: float = Field(0.01, gt=0, lt=1)
    """Made-up users, as a share of the real ones."""
    most_items: int = Field(15, ge=5)
    """Longest history of theirs; lengths are drawn from those of real users."""
    popular: float = Field(0.02, gt=0, le=1)
    """Share of the catalog that counts as what sells best."""
    seed: int = Field(0, ge=0)
    """Of the pushed item, which sells below the median, and of the histories."""


@dataclass(frozen=True)
class FakeUserResult:
    """One fit.

    Attributes:
        attack: which; None for the log as it is. defended: whether suspects were left out.
        exposure: share of the real test users in whose top 10 the pushed item stands, and its interval.
        ndcg: ndcg@10 of the real test users, and its interval.
        users: users of the log. fakes: of these, made up.
        out: users left out. caught: of these, made up.
    """

    attack: Attack | None
    defended: bool
    exposure: tuple[float, float, float]
    ndcg: tuple[float, float, float]
    users: int
    fakes: int
    out: int
    caught: int


def fake_histories(
    log: Interactions, target: int, attack: Attack, settings: FakeUserAttack
) -> list[NDArray[np.int32]]:
    """Make up users who push an item: their histories, as many as the settings' share of the log's users."""
    rng = np.random.default_rng((settings.seed, len(attack)))
    sold = np.bincount(log.histories.items, minlength=len(log.catalog))
    sold[target] = 0
    best = np.argsort(-sold, kind="stable")[: max(10, round(settings.popular * len(sold)))]
    lengths = np.clip(log.histories.lengths, 5, settings.most_items)
    made = []
    for _ in range(max(1, round(settings.share * len(log.histories)))):
        size = int(rng.choice(lengths))
        if attack == "bandwagon":
            weights = sold[best] / sold[best].sum()
            size = min(size, int((weights > 0).sum()))
            others = rng.choice(best, size, replace=False, p=weights)
        else:
            others = rng.choice(np.delete(np.arange(len(sold)), target), size, replace=False)
        if attack == "segment":
            others[0] = best[0]
        place = int(rng.integers(1, max(2, size - _HELD_OUT)))
        made.append(np.insert(others, place, target).astype(np.int32))
    return made


def poisoned(log: Interactions, fakes: list[NDArray[np.int32]]) -> Interactions:
    """The log with made-up users behind the real ones; without times, which an attacker can choose."""
    return Interactions.of_histories(log.catalog, Histories.of([*log.histories, *fakes]))


def measure_fake_users(
    catalog: Catalog,
    log: Interactions,
    fit: FitSettings,
    settings: FakeUserAttack,
    report: Callable[[FakeUserResult], None] = lambda _: None,
) -> list[FakeUserResult]:
    """Fit on the log as it is and on each poisoned one, each with and without the defence.

    Args:
        catalog: the items.
        log: real users.
        fit: of every fit; its `split.fake_users` gives the limits of the defence.
        settings: of the attacks.
        report: called after each fit.

    Raises:
        InputError: the split is not leave-one-out, or the log has no item to push.
    """
    if fit.split.protocol != "leave-one-out":
        raise InputError(
            f"fake users are measured with split.protocol=leave-one-out, not {fit.split.protocol}"
        )
    target = _pushed(log, settings)
    results = []
    for attack in (None, *settings.attacks):
        fakes = [] if attack is None else fake_histories(log, target, attack, settings)
        attacked = poisoned(log, fakes)
        for defended in (False, True):
            limits = fit.split.fake_users.replace(leave_out=defended)
            used = fit.replace(split=fit.split.replace(fake_users=limits))
            results.append(_measured(catalog, attacked, used, target, attack, len(log.histories)))
            report(results[-1])
    return results


def _pushed(log: Interactions, settings: FakeUserAttack) -> int:
    """An item that sells, but not more than the median."""
    sold = np.bincount(log.histories.items, minlength=len(log.catalog))
    known = np.flatnonzero(sold)
    if len(known) < 10:
        raise InputError(f"only {len(known)} items of the log sell: fake users need at least 10")
    slow = known[sold[known] <= np.median(sold[known])]
    return int(np.random.default_rng(settings.seed).choice(slow))


def _measured(
    catalog: Catalog,
    log: Interactions,
    fit: FitSettings,
    target: int,
    attack: Attack | None,
    real: int,
) -> FakeUserResult:
    recommender = GenerativeRecommender.fit(catalog, log, fit)
    split = fit.split.apply(log, fit.seed)
    cases = split.test.take(np.flatnonzero(split.test.users < real))
    exposure, quality = _on_real_users(recommender, cases, target)
    out = _left_out(split, log)
    return FakeUserResult(
        attack,
        fit.split.fake_users.leave_out,
        exposure,
        quality,
        len(log.histories),
        len(log.histories) - real,
        int(out.sum()),
        int(out[real:].sum()),
    )


def _on_real_users(
    recommender: GenerativeRecommender, cases: Cases, target: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Exposure of the target and ndcg@10, each with its interval."""
    found = recommender.rank(cases.histories, 10, exclude_seen=True)
    shown = (found.items == target).any(axis=1).astype(np.float64)
    gains = ndcg(rank_of_target(found, cases.targets), 10)
    values = np.stack([shown, gains], axis=1)
    low, high = confidence_intervals(values, cases.users, Bootstrap())
    means = values.mean(axis=0)
    intervals = [(float(means[i]), float(low[i]), float(high[i])) for i in range(2)]
    return intervals[0], intervals[1]


def _left_out(split: Split, log: Interactions) -> NDArray[np.bool_]:
    """Users who have events, and none in training."""
    return np.asarray((log.histories.lengths > 0) & (split.train.lengths == 0))
