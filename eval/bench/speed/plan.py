"""Plan of the cells: one factor varied at a time around a reference, and named ones.

A cell's name is its group and its place in it: ``users/8``, ``named/smollm2-135m``, ``index/10m-4x256``.
Where two names mean the same workload, it is one cell of two names, measured once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field

from bench.speed.filtering import FilterLoad, measure_filters
from bench.speed.indexing import measure_index
from bench.speed.race import Timing
from bench.speed.searching import measure_search
from bench.speed.workload import ModelShape, Workload
from genrec.common.config import Settings, validate
from genrec.common.errors import ConfigError

__all__ = ["Cell", "SpeedPlan", "Vary"]

Changes = dict[str, dict[str, Any]]
"""Name of a cell -> the settings of its workload that differ from the reference."""


class Vary(Settings):
    """Values of each factor; the others stay as in the reference. One group of cells a factor."""

    users: tuple[int, ...] = ()
    """Requests of one call."""
    beams: tuple[int, ...] = ()
    """Beams, and items returned."""
    levels: tuple[int, ...] = ()
    """Codes of an item."""
    items: tuple[int, ...] = ()
    """Items of the catalog."""
    model: tuple[str, ...] = ()
    """Names of models."""
    prompt: tuple[int, ...] = ()
    """Prompt tokens of a request."""


@dataclass(frozen=True)
class Cell:
    """One thing to measure.

    Attributes:
        kind: what is measured.
        names: ``group/name``, the first one being its name in tables.
        workload: how much is decoded.
        shape: with what model.
    """

    kind: Literal["search", "index", "filters"]
    names: tuple[str, ...]
    workload: Workload
    shape: ModelShape

    def chosen(self, words: tuple[str, ...]) -> bool:
        """Whether `words` name this cell or one of its groups; none name all."""
        known = {*self.names, *(name.split("/")[0] for name in self.names)}
        return not words or bool(known & set(words))


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class SpeedPlan(Settings):
    """What is measured, with what, how often and where."""

    models: dict[str, ModelShape] = Field({"4m": ModelShape()}, min_length=1)
    """Shapes by name."""
    reference: Workload = Workload()
    """What everything else is varied from."""
    vary: Vary = Vary()
    """One factor at a time."""
    named: Changes = Field({})
    """Further searches: what differs from the reference."""
    index: Changes = Field({})
    """Large catalogs to build and to search beside one of the reference's size: what differs."""
    filters: Changes = Field({})
    """Searches with and without filters: what differs from the reference."""
    filter_load: FilterLoad = FilterLoad()
    """How much those filter."""
    cells: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Groups (``users``) and cells (``users/8``) to measure; none for all."""
    timing: Timing = Timing()
    """How often each contender is called."""
    device: str = Field("auto", pattern=r"auto|cpu|cuda(:\d+)?")
    """``cpu``, ``cuda``, or ``auto`` for the GPU where there is one."""

    def where(self) -> str:
        """The device as torch names it."""
        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def planned(self) -> list[Cell]:
        """The chosen cells, in order.

        Raises:
            ConfigError: a model, a setting or a chosen cell that does not exist.
        """
        merged: dict[str, Cell] = {}
        for cell in self._all():
            key = f"{cell.kind} {cell.workload!r}"
            known = merged.get(key)
            merged[key] = replace(known, names=known.names + cell.names) if known else cell
        self._check(list(merged.values()))
        return [cell for cell in merged.values() if cell.chosen(self.cells)]

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Measure one cell; return plain values."""
        device = self.where()
        if cell.shape.needs_cuda and torch.device(device).type != "cuda":
            return {"skipped": "needs a CUDA device"}
        what = (cell.workload, cell.shape, self.timing, device)
        match cell.kind:
            case "search":
                return measure_search(*what)
            case "index":
                return measure_index(*what, small_items=self.reference.items)
            case "filters":
                return measure_filters(*what, load=self.filter_load)

    def _all(self) -> Iterator[Cell]:
        for name, changes in self.named.items():
            yield self._cell("search", "named", name, changes)
        for factor in Vary.model_fields:
            for value in getattr(self.vary, factor):
                yield self._cell("search", factor, str(value), {factor: value})
        for name, changes in self.filters.items():
            yield self._cell("filters", "filters", name, changes)
        for name, changes in self.index.items():
            yield self._cell("index", "index", name, changes)

    def _cell(
        self,
        kind: Literal["search", "index", "filters"],
        group: str,
        name: str,
        changes: dict[str, Any],
    ) -> Cell:
        source = f"{group}/{name}"
        workload = validate(Workload, self.reference.model_dump() | changes, source)
        if workload.model not in self.models:
            raise ConfigError(
                f"{source}: no model is named {workload.model!r}; known: {', '.join(self.models)}"
            )
        return Cell(kind, (source,), workload, self.models[workload.model])

    def _check(self, cells: list[Cell]) -> None:
        names = [name for cell in cells for name in cell.names]
        known = {*names, *(name.split("/")[0] for name in names)}
        for word in self.cells:
            if word not in known:
                near = difflib.get_close_matches(word, known, n=1)
                hint = (
                    f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
                )
                raise ConfigError(f"cells: there is no cell or group {word!r}, {hint}")
