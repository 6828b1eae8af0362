"""Tokenizer scale: seconds and memory of fitting and encoding as the catalog grows.

Vectors lie in random clusters, in a file that is opened memory-mapped. Every size is measured in a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from genrec.common.artifacts import atomic_file
from genrec.common.config import Settings, validate
from genrec.common.errors import InputError
from genrec.common.progress import progress
from genrec.semantic_ids.kinds import make_item_tokenizer
from genrec.semantic_ids.rqkmeans import RQKMeansSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ClusteredVectors",
    "ScalePoint",
    "markdown",
    "measure_scale",
    "plot_scale",
    "read_scale",
]

BLOCK = 1 << 16
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "scale",  # the same figures make the same file
}


class ClusteredVectors(Settings):
    """Vectors around random centres."""

    dimension: int = Field(default=384, ge=1)
    """D."""
    clusters: int = Field(default=5000, ge=1)
    """Centres, drawn from a normal distribution."""
    spread: float = Field(default=0.5, ge=0)
    """Deviation of a vector from its centre, in units of that of the centres."""
    seed: int = 0
    """Fixes centres and vectors."""

    def write(self, path: Path, count: int) -> None:
        """Write `(count, dimension)` float32 as an ``.npy`` file, block by block."""
        generator = np.random.default_rng(self.seed)
        centres = generator.normal(size=(self.clusters, self.dimension)).astype(np.float32)
        file = np.lib.format.open_memmap(
            path, mode="w+", dtype=np.float32, shape=(count, self.dimension)
        )
        with progress("Drawing vectors", count) as advance:
            for start in range(0, count, BLOCK):
                rows = min(BLOCK, count - start)
                noise = generator.standard_normal((rows, self.dimension), dtype=np.float32)
                chosen = centres[generator.integers(self.clusters, size=rows)]
                file[start : start + rows] = chosen + np.float32(self.spread) * noise
                advance(rows)
        file.flush()


@dataclass(frozen=True)
class ScalePoint:
    """What one size cost.

    Attributes:
        items: N.
        fit_seconds: of `fit`.
        encode_seconds: of `encode` of all items.
        peak_gib: most memory the process held, pages of the vectors' file included.
    """

    items: int
    fit_seconds: float
    encode_seconds: float
    peak_gib: float


def measure_scale(
    vectors: ClusteredVectors, item_tokenizer: RQKMeansSettings, items: int, folder: Path
) -> ScalePoint:
    """Write vectors of `items` items into `folder`, fit and encode them, and remove them."""
    path = folder / f"vectors_{items}.npy"
    try:
        vectors.write(path, items)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_measure, path, item_tokenizer).result()
    finally:
        path.unlink(missing_ok=True)


def read_scale(path: Path) -> tuple[ClusteredVectors, list[ScalePoint]]:
    """Return what an earlier run wrote: what its vectors were like, and its points.

    Raises:
        InputError: the file cannot be read, or is not the JSON document of such a run.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        vectors = validate(ClusteredVectors, document["config"]["vectors"], source=str(path))
        return vectors, [ScalePoint(**point) for point in document["points"]]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a document of eval/scale.py ({type(error).__name__}: {error})"
        ) from None


def markdown(points: Sequence[ScalePoint]) -> str:
    """Return the points as a Markdown table; the last columns divide seconds by millions of items."""
    names = ["items", "fit", "encode", "peak memory", "fit a million", "encode a million"]
    rows = [
        f"| {p.items:,} | {p.fit_seconds:.1f} s | {p.encode_seconds:.1f} s | {p.peak_gib:.2f} GiB "
        f"| {1e6 * p.fit_seconds / p.items:.0f} s | {1e6 * p.encode_seconds / p.items:.0f} s |"
        for p in points
    ]
    return "\n".join([f"| {' | '.join(names)} |", "|--:" * len(names) + "|", *rows])


def plot_scale(points: Sequence[ScalePoint], vectors: ClusteredVectors, stem: Path) -> None:
    """Draw seconds and memory over items into ``stem.png`` and ``stem.svg``.

    Both axes are logarithmic. A dotted line is what grows as the items do: the seconds of the largest
    size, and the vectors' file, whose pages the peak memory includes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 3.2), layout="constrained")
        seconds, memory = figure.subplots(1, 2)
        _draw_seconds(seconds, points)
        _draw_memory(memory, points, vectors)
        for axes in (seconds, memory):
            _finish(axes, [point.items for point in points])
        for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
            with atomic_file(stem.with_suffix(suffix)) as path:
                figure.savefig(path, format=suffix[1:], dpi=120, metadata=metadata)


def _draw_seconds(axes: Axes, points: Sequence[ScalePoint]) -> None:
    items, last = [point.items for point in points], points[-1]
    proportional = [last.encode_seconds * count / last.items for count in items]
    axes.plot(items, proportional, ":", color="gray", label="proportional to items")
    fit = [point.fit_seconds for point in points]
    encode = [point.encode_seconds for point in points]
    for name, values, above in (("fit", fit, True), ("encode", encode, False)):
        [line] = axes.plot(items, values, "o-", label=name)
        _write_values(axes, items, values, line.get_color(), above)
    axes.set_title("seconds", loc="left")


def _draw_memory(axes: Axes, points: Sequence[ScalePoint], vectors: ClusteredVectors) -> None:
    items = [point.items for point in points]
    file = [4 * vectors.dimension * count / (1 << 30) for count in items]
    axes.plot(items, file, ":", color="gray", label="file of the vectors, mapped")
    peak = [point.peak_gib for point in points]
    [line] = axes.plot(items, peak, "o-", label="peak of the process, file included")
    _write_values(axes, items, peak, line.get_color(), above=True)
    axes.set_title("memory, GiB", loc="left")


def _write_values(
    axes: Axes, items: Sequence[int], values: Sequence[float], color: Any, above: bool
) -> None:
    for count, value in zip(items, values, strict=True):
        text = f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
        place: dict[str, Any] = {
            "ha": "center" if above else "left",
            "va": "bottom" if above else "top",
        }
        offset = (0, 6) if above else (6, -3)
        axes.annotate(
            text, (count, value), offset, textcoords="offset points", color=color, **place
        )


def _finish(axes: Axes, items: Sequence[int]) -> None:
    """Logarithmic axes with whole numbers on them, and room for what is written at the points."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    axes.set(xscale="log", yscale="log", xlabel="items")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(items, [f"{count:,}" for count in items])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.1, y=0.15)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _measure(path: Path, settings: RQKMeansSettings) -> ScalePoint:
    vectors: Any = np.load(path, mmap_mode="r")
    clock = [time.perf_counter()]
    tokenizer = make_item_tokenizer(settings).fit(vectors)
    clock.append(time.perf_counter())
    tokenizer.encode(vectors)
    clock.append(time.perf_counter())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ScalePoint(
        items=len(vectors),
        fit_seconds=round(clock[1] - clock[0], 2),
        encode_seconds=round(clock[2] - clock[1], 2),
        peak_gib=round(peak / (1 << 30 if sys.platform == "darwin" else 1 << 20), 3),
    )
