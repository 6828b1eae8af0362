"""Plots of an inspection, drawn by matplotlib as SVG that takes its page's text colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genrec.cli.pages.svg import BLUE, INK, ORANGE, plain_numbers, reference, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "collision_plot",
    "meaning_plot",
    "move_plot",
    "ratio_text",
    "usage_plots",
]


def usage_plots(levels: list[dict[str, Any]]) -> list[str]:
    """Items a code at every level, over the mean: a flat line at 1 is even use."""
    return [_usage_plot(number, level) for number, level in enumerate(levels)]


def _usage_plot(number: int, level: dict[str, Any]) -> str:
    counts = level["percentiles"][::-1]
    mean = counts[0] / level["balance"] if counts[0] else 1
    share = [100 * place / (len(counts) - 1) for place in range(len(counts))]

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        ax.fill_between(share, [count / mean for count in counts], color=BLUE, alpha=0.35)
        ax.plot(share, [count / mean for count in counts], color=BLUE)
        reference(ax, "even")
        ax.set(title=f"level {number}", xlabel="codes, most used first (%)", ylabel="items / mean")
        ax.set_ylim(bottom=0)

    return svg_of(f"use of the codes of level {number}", draw, size=(2.3, 2.0))


def collision_plot(sizes: list[list[int]]) -> str:
    """How many tuples had 1, 2, 3 … items before resolution."""
    edges = [1, 2, 3, 4, 5, 9, 17, 65]
    names = ["1", "2", "3", "4", "5-8", "9-16", "17-64", "65+"]
    tuples = [0] * len(edges)
    for size, count in sizes:
        tuples[max(place for place, edge in enumerate(edges) if edge <= size)] += count
    used = max((place for place, count in enumerate(tuples) if count), default=0) + 1

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        colors = [BLUE] + [ORANGE] * (used - 1)
        bars = ax.bar(names[:used], tuples[:used], color=colors)
        ax.bar_label(bars, labels=[f"{count:,}" for count in tuples[:used]], color=INK, fontsize=8)
        ax.set_yscale("symlog")
        ax.set_ylim(0, 3 * max(tuples))
        plain_numbers(ax)
        ax.set(xlabel="items with the same codes", ylabel="how often")

    return svg_of("how many items have the same codes before resolution", draw)


def meaning_plot(purity: list[dict[str, Any]], agreement: list[dict[str, Any]]) -> str:
    """How much likelier than chance a shared prefix goes with a shared category, and with a step."""
    series = [("same category", purity, BLUE), ("next in a history", agreement, ORANGE)]

    def draw(figure: Figure) -> None:
        ax, shown = figure.subplots(), {1}
        for place, (name, entries, color) in enumerate(series):
            known = [entry for entry in entries if entry["pairs"] and entry["ratio"]]
            lengths = [entry["length"] + 0.36 * (place - 0.5) for entry in known]
            shown.update(entry["length"] for entry in known)
            heights = [entry["ratio"] - 1 for entry in known]  # from chance up, or down
            bars = ax.bar(lengths, heights, 0.34, bottom=1, color=color, label=name)
            labels = [ratio_text(entry["ratio"]) for entry in known]
            ax.bar_label(bars, labels=labels, color=INK, fontsize=8, padding=1)
        ax.set_yscale("log")
        plain_numbers(ax)
        reference(ax, "chance")
        ax.set_xticks(sorted(shown))
        ax.set_xlim(0, max(2, *shown) + (1 if len(shown) > 1 else 0))
        ax.set(xlabel="first codes shared", ylabel="times chance")
        above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "borderaxespad": 0.2}
        ax.legend(frameon=False, labelcolor=INK, fontsize=8, **above)
        ax.margins(y=0.15)

    return svg_of(
        "how much likelier than chance a shared prefix goes with a category or step", draw
    )


def move_plot(distances: list[float]) -> str:
    """Distance of the moved items, nearest first."""

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        share = [100 * place / (len(distances) - 1) for place in range(len(distances))]
        ax.fill_between(share, distances, color=ORANGE, alpha=0.35)
        ax.plot(share, distances, color=ORANGE)
        ax.set(xlabel="moved items, nearest first (%)", ylabel="farther by (of the variance)")
        ax.set_ylim(bottom=min(0, *distances))

    return svg_of("how far moved items are from their new codes", draw)


def ratio_text(ratio: float) -> str:
    """Write a ratio with one digit after the point, large ones without."""
    return f"{ratio:.1f}" if ratio < 100 else f"{ratio:,.0f}"
