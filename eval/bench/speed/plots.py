"""Plots of how the cost of a call grows along each factor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.speed.plan import Vary
from bench.speed.results import Record
from genrec.common.artifacts import atomic_file
from genrec.common.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_growth", "require_matplotlib"]

_LABELS = {
    "users": "users of one call",
    "beams": "beams",
    "levels": "levels",
    "items": "items of the catalog",
    "model": "parameters of the model",
    "prompt": "prompt tokens",
}
Series = dict[str, list[tuple[float, float]]]


def require_matplotlib() -> None:
    """Say at the start what would be missing at the end.

    Raises:
        MissingExtraError: with the pip command.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plots", "drawing (plots=false goes without)")


def plot_growth(records: Sequence[Record], stem: Path) -> list[Path]:
    """Draw a panel for each factor with two values or more; write ``stem.png`` and ``stem.svg``.

    Returns:
        The files; none where no factor was varied.
    """
    panels = {factor: growth(records, factor) for factor in Vary.model_fields}
    panels = {
        factor: series
        for factor, series in panels.items()
        if any(len(points) > 1 for points in series.values())
    }
    if not panels:
        return []
    figure = _figure(panels)
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=150)
    return paths


def growth(records: Sequence[Record], factor: str) -> Series:
    """For each contender, and for the roofline: the factor's values and median milliseconds, ascending."""
    series: Series = {}
    for record in records:
        inside = any(name.split("/")[0] == factor for name in record["names"])
        result = record["result"]
        if record["kind"] != "search" or not inside or "skipped" in result:
            continue
        workload = record["settings"]["workload"]
        place = result["parameters"] if factor == "model" else workload[factor]
        for name, milliseconds in _milliseconds(result).items():
            series.setdefault(name, []).append((place, milliseconds))
    return {name: sorted(points) for name, points in series.items()}


def _milliseconds(result: dict[str, Any]) -> dict[str, float]:
    ran = {name: f["ms_p50"] for name, f in result["contenders"].items() if "skipped" not in f}
    return ran | {"roofline": 1000 * sum(step["seconds"] for step in result["roofline"])}


def _figure(panels: dict[str, Series]) -> Figure:
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.6 * rows + 0.6), layout="constrained")
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    for panel, (factor, series) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, panel + 1)
        for name, points in series.items():
            style = "k--" if name == "roofline" else f"C{names.index(name)}o-"
            axes.plot(*zip(*points, strict=True), style, markersize=4, label=name)
        axes.set(xscale="log", yscale="log", xlabel=_LABELS[factor], ylabel="ms a call, median")
        places = sorted({place for points in series.values() for place, _ in points})
        axes.set_xticks(places, [_short(place) for place in places])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        if not panel:
            handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _short(value: float) -> str:
    """A number with k, M or G: ``12k``, ``4.5M``."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:g}"
