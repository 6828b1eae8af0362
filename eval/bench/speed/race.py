"""Race of contenders, timed in turn, within a budget of seconds."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from bench.speed.contenders import Call, Contender
from bench.speed.machine import Peak, clock, peak_memory
from genrec.common.config import Settings

__all__ = ["Outcome", "Timing", "interleaved", "race"]


class Timing(Settings):
    """How often each contender is called in a cell, after one call that is not timed."""

    calls: int = Field(100, ge=1)
    """At most."""
    seconds: float = Field(20.0, gt=0)
    """About how long the calls of one contender take together, if that makes `fewest` or more."""
    fewest: int = Field(3, ge=1)
    """At least, as long as they fit the budget."""
    budget: float = Field(300.0, gt=0)
    """Seconds that one contender may take in one cell; skipped where a call is predicted to take more."""

    def number(self, first: float) -> int:
        """How many calls to time after one that took `first` seconds; may be none."""
        wanted = min(self.calls, max(self.fewest, int(self.seconds / first)))
        return min(wanted, max(0, int(self.budget / first) - 1))


@dataclass
class Outcome:
    """What a contender did in a cell.

    Attributes:
        predicted: seconds a call was predicted to take.
        skipped: why it was not called; None if it was.
        items: `(R, k)` found; None where none are looked for.
        peak: memory of the first call.
        seconds: of the timed calls, in order.
        warm: False where the budget allowed but one call, which then is the timed one.
    """

    predicted: float
    skipped: str | None = None
    items: NDArray[np.int32] | None = None
    peak: Peak = field(default_factory=Peak)
    seconds: list[float] = field(default_factory=list)
    warm: bool = True

    @property
    def median(self) -> float:
        """Median of the timed calls, in seconds."""
        return median(self.seconds)


def race(rivals: Sequence[Contender], timing: Timing, device: str) -> dict[str, Outcome]:
    """Call every contender once for its result and memory, then all in turn against the clock."""
    outcomes, calls, counts = {}, {}, {}
    for contender in rivals:
        outcome = outcomes[contender.name] = Outcome(contender.predicted)
        outcome.skipped = _reason(contender, timing)
        if outcome.skipped is None and (call := _first(contender, outcome, device)):
            calls[contender.name] = call
            counts[contender.name] = timing.number(outcome.seconds[0])
            outcome.warm = counts[contender.name] > 0
            outcome.seconds = [] if outcome.warm else outcome.seconds
    for name in interleaved(counts):
        began = clock(device)
        calls[name]()
        outcomes[name].seconds.append(clock(device) - began)
    return outcomes


def interleaved(counts: dict[str, int]) -> list[str]:
    """Each name as often as it is counted, all of them spread evenly over the whole sequence.

    >>> interleaved({"slow": 1, "fast": 3})
    ['fast', 'fast', 'slow', 'fast']
    """
    places = [((turn + 0.5) / n, name) for name, n in counts.items() for turn in range(n)]
    return [name for _, name in sorted(places)]


def _reason(contender: Contender, timing: Timing) -> str | None:
    if contender.impossible is not None:
        return contender.impossible
    if contender.predicted > timing.budget:
        return f"about {contender.predicted:.0f} s"
    return None


def _first(contender: Contender, outcome: Outcome, device: str) -> Call | None:
    """Prepare and call once; None where memory on the device does not suffice."""
    gc.collect()
    try:
        call = contender.prepare()
        with peak_memory(device) as outcome.peak:
            began = clock(device)
            outcome.items = call()
            outcome.seconds = [clock(device) - began]
    except torch.OutOfMemoryError:
        outcome.skipped = "out of memory"
        return None
    return call
