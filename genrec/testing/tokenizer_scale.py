"""What fitting and encoding cost an item tokenizer as the catalog grows: seconds and memory.

Vectors lie in random clusters, in a file that is opened memory-mapped. Every size is measured in a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from genrec.artifacts import atomic_file
from genrec.config import Settings
from genrec.progress import progress
from genrec.semantic_ids.base import make_item_tokenizer
from genrec.semantic_ids.rqkmeans import RQKMeansSettings

__all__ = ["ClusteredVectors", "ScalePoint", "markdown", "measure_scale", "plot_scale"]

BLOCK = 1 << 16


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


def markdown(points: Sequence[ScalePoint]) -> str:
    """Return the points as a Markdown table."""
    rows = [
        f"| {p.items:,} | {p.fit_seconds:.1f} s | {p.encode_seconds:.1f} s | {p.peak_gib:.2f} GiB |"
        for p in points
    ]
    return "\n".join(["| items | fit | encode | peak memory |", "|--:" * 4 + "|", *rows])


def plot_scale(points: Sequence[ScalePoint], path: Path) -> None:
    """Draw seconds and memory over items, both axes logarithmic, beside a line of cost ∝ items."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    items = [point.items for point in points]
    time_, memory = figure.subplots(1, 2)
    for name in ("fit", "encode"):
        time_.plot(items, [asdict(p)[f"{name}_seconds"] for p in points], "o-", label=name)
    linear = [points[-1].encode_seconds * count / items[-1] for count in items]
    time_.plot(items, linear, ":", color="gray", label="proportional to items")
    memory.plot(items, [point.peak_gib for point in points], "o-")
    for axes, label in ((time_, "seconds"), (memory, "peak memory (GiB)")):
        axes.set(xscale="log", yscale="log", xlabel="items", ylabel=label)
        axes.grid(alpha=0.3)
    time_.legend()
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)


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
