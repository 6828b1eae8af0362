"""Filter cells: what allow and deny lists cost a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.speed.contenders import Contender, genrec
from bench.speed.race import Timing, race
from bench.speed.searching import summary
from bench.speed.workload import ModelShape, Stage, Workload
from genrec.common.config import Settings

__all__ = ["FilterLoad", "Filters", "measure_filters"]


class FilterLoad(Settings):
    """How much is filtered."""

    allow_share: float = Field(0.1, gt=0, le=1)
    """Part of the catalog that is allowed."""
    deny_items: int = Field(50, ge=1)
    """Items that are denied to each user."""


@dataclass(frozen=True)
class Filters:
    """A search's filters as it takes them; None for no filter of that kind."""

    allow: NDArray[np.integer] | None = None
    deny: list[NDArray[np.integer]] | None = None

    def forbidden(self, users: int, items: int) -> NDArray[np.bool_]:
        """Mark `(R, N)` what must not be returned."""
        marks = np.zeros((users, items), bool)
        if self.allow is not None:
            marks[:, np.setdiff1d(np.arange(items), self.allow)] = True
        for row, denied in enumerate(self.deny or []):
            marks[row, denied] = True
        return marks


def measure_filters(
    workload: Workload, shape: ModelShape, timing: Timing, device: str, load: FilterLoad
) -> dict[str, Any]:
    """Search with and without filters, in turn, and check what was found against them."""
    stage = Stage.build(workload, shape, device)
    kinds = _kinds(stage, load)

    def preparing(filters: Filters) -> Callable[[], Any]:
        return lambda: genrec(stage, "catalog", filters.allow, filters.deny)

    rivals = [Contender(name, 0.0, preparing(filters)) for name, filters in kinds.items()]
    outcomes = race(rivals, timing, device)
    found = {
        name: summary(outcomes[name], workload, filters.forbidden(workload.users, workload.items))
        for name, filters in kinds.items()
    }
    base = outcomes["no filter"].median
    for name, outcome in outcomes.items():
        found[name]["over_no_filter"] = round(outcome.median / base, 3)
    return {"load": load.model_dump(mode="json"), "filters": found}


def _kinds(stage: Stage, load: FilterLoad) -> dict[str, Filters]:
    """Random allowed items; denied are first of all the items that a search would find."""
    workload = stage.workload
    generator = np.random.default_rng(workload.seed)
    size = max(1, round(load.allow_share * workload.items))
    allow = generator.choice(workload.items, size=size, replace=False)
    found = genrec(stage, "catalog")()
    others = generator.integers(workload.items, size=(workload.users, load.deny_items))
    rows = others if found is None else np.concatenate([found, others], axis=1)
    deny = [row[: load.deny_items] for row in rows]
    return {
        "no filter": Filters(),
        f"allow {load.allow_share:.0%}": Filters(allow=allow),
        f"deny {load.deny_items} a user": Filters(deny=deny),
        "both": Filters(allow=allow, deny=deny),
    }
