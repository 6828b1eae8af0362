"""Plots of an evaluation: recall over k, calibration, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genrec.cli.pages.svg import BLUE, INK, ORANGE, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_plot", "loss_plot", "recall_plot", "validation_plot"]

COLORS = (BLUE, ORANGE, "#3f9e6e", "#b566c9", "#c9555b", "#8a8f98", "#9c8a3c", "#3fa7b5")
"""Legible on light and dark paper; more rows than these begin anew."""


def recall_plot(curves: Mapping[str, Sequence[float]]) -> str:
    """Recall@k of each recommender, from k = 1 on."""

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for place, (name, values) in enumerate(curves.items()):
            color, width = COLORS[place % len(COLORS)], 1.4 if place else 2.2
            ks = range(1, len(values) + 1)
            marker = "o" if len(values) <= 20 else None
            # matplotlib hides names that begin with an underscore, and reads $ as mathematics.
            label = name.replace("$", r"\$").lstrip("_")
            ax.plot(ks, values, color=color, linewidth=width, marker=marker, ms=3, label=label)
        _whole_numbers(ax)
        ax.set(xlabel="k", ylabel="recall@k")
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False, labelcolor=INK, fontsize=8, loc="upper left")

    return svg_of("recall at k from 1 on", draw, size=(5.4, 3.4))


def calibration_plot(found: Mapping[str, Sequence[float]]) -> str:
    """How often the first item came next, over the probability it was given; the line is perfect."""

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        most = max(*found["said"], *found["seen"], 0.05) * 1.1
        ax.plot([0, most], [0, most], color=INK, linewidth=0.8, linestyle="--")
        largest = max(found["cases"])
        areas = [12 + 90 * cases / largest for cases in found["cases"]]
        ax.plot(found["said"], found["seen"], color=BLUE, linewidth=1)
        ax.scatter(found["said"], found["seen"], s=areas, color=BLUE)
        ax.set(xlabel="probability of the first item", ylabel="how often it came next")

    return svg_of("calibration of the first item's probability", draw, size=(3.6, 3.4))


def loss_plot(curve: Sequence[Mapping[str, Any]]) -> str:
    """Mean loss since the last validation, over steps."""
    return _curve_plot(curve, "loss", "training loss", ORANGE)


def validation_plot(curve: Sequence[Mapping[str, Any]], metric: str) -> str:
    """A metric of the validations during training, over steps."""
    return _curve_plot(curve, metric, f"validation {metric}", BLUE)


def _curve_plot(curve: Sequence[Mapping[str, Any]], name: str, label: str, color: str) -> str:
    known = [entry for entry in curve if name in entry]

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        steps, values = ([entry[key] for entry in known] for key in ("step", name))
        ax.plot(steps, values, color=color, marker="o", ms=3)
        _whole_numbers(ax)
        ax.set(xlabel="step", ylabel=label)

    return svg_of(f"{label} over steps", draw)


def _whole_numbers(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
