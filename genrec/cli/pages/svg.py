"""Plots for HTML pages, drawn by matplotlib as SVG that takes its page's text colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from genrec.common.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "INK", "ORANGE", "plain_numbers", "reference", "require_plots", "svg_of"]

INK = "#010203"
"""Stands for the page's text colour, light or dark, until the SVG is written."""
BLUE, ORANGE = "#4a90d9", "#d9822b"


def require_plots() -> None:
    """Refuse where matplotlib is not installed.

    Raises:
        MissingExtraError: with the command that installs it.
    """
    try:
        missing = find_spec("matplotlib") is None
    except ValueError:
        missing = True
    if missing:
        raise MissingExtraError("matplotlib", "plots", "a report with plots")


def reference(ax: Axes, name: str) -> None:
    """Draw and name the line at 1, to the right of the data."""
    ax.axhline(1, color=INK, linewidth=0.8, linestyle="--")
    ax.annotate(
        name, (1, 1), (3, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=8
    )


def plain_numbers(ax: Axes) -> None:
    """Write 1, 10, 1,000 on a logarithmic axis, not powers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def svg_of(
    name: str, draw: Callable[[Figure], None], size: tuple[float, float] = (4.5, 2.6)
) -> str:
    """Draw a figure of inches and return its ``<svg>`` element: no script, no link, no date."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,  # ids must differ between the figures of one page
        "font.size": 9,
        "axes.titlesize": 9,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
        "axes.edgecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style), io.StringIO() as file:
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        for ax in figure.axes:
            _fade(ax)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
        text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return text.replace("<svg", f'<svg class="plot" role="img" aria-label="{name}"', 1)


def _fade(ax: Axes) -> None:
    """Draw thin axes, behind the data."""
    for spine in ax.spines.values():
        spine.set_linewidth(0.6)
    ax.tick_params(width=0.6)
    ax.set_axisbelow(True)
