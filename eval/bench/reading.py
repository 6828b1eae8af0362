"""Reading of text: seconds and memory of a catalog and its log, from files made for it.

The files are written once; each is read in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from genrec.common.config import Settings
from genrec.data import Catalog, Interactions

__all__ = ["ReadingPoint", "TextShop", "markdown", "measure_reading"]

BLOCK = 1 << 20


class TextShop(Settings):
    """A product table and a log of it, in no order."""

    items: int = Field(default=500_000, ge=1)
    """Products."""
    events: int = Field(default=10_000_000, ge=1)
    """Rows of the log."""
    users: int = Field(default=1_000_000, ge=1)
    """Whose they are."""
    quoting: Literal["none", "all_valid"] = "none"
    """Quotes around no field, or around each."""
    seed: int = 0
    """Fixes the log."""

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``items.csv`` and ``log.csv``, block by block."""
        import pyarrow as pa
        from pyarrow import csv

        options = csv.WriteOptions(quoting_style=self.quoting, include_header=False)
        numbers = np.arange(self.items)
        ids = pa.array([f"B{number:09d}" for number in numbers])
        titles = [f"red lamp {number} of wood, for the garden" for number in numbers]
        if self.quoting == "none":
            titles = [title.replace(",", "") for title in titles]
        items, log = folder / "items.csv", folder / "log.csv"
        with items.open("wb") as file:  # Arrow would put the names in quotes
            file.write(b"item_id,title\n")
            csv.write_csv(pa.table({"item_id": ids, "title": titles}), file, options)
        generator = np.random.default_rng(self.seed)
        names = ("user_id", "item_id", "timestamp")
        schema = pa.schema(
            [(name, pa.int64() if name == "timestamp" else pa.string()) for name in names]
        )
        with log.open("wb") as file, csv.CSVWriter(file, schema, write_options=options) as writer:
            file.write(b"user_id,item_id,timestamp\n")
            for start in range(0, self.events, BLOCK):
                rows = min(BLOCK, self.events - start)
                users = pa.array(generator.integers(self.users, size=rows)).cast(pa.string())
                chosen = ids.take(pa.array(generator.integers(self.items, size=rows)))
                times = generator.integers(1_500_000_000, 1_700_000_000, size=rows)
                writer.write_table(pa.table([users, chosen, pa.array(times)], schema=schema))
        return items, log


@dataclass(frozen=True)
class ReadingPoint:
    """What reading once cost.

    Attributes:
        items: products read.
        events: events read.
        catalog_seconds: of the product table.
        log_seconds: of the log.
        peak_gib: most memory the process held.
    """

    items: int
    events: int
    catalog_seconds: float
    log_seconds: float
    peak_gib: float


def measure_reading(shop: TextShop, folder: Path, repeats: int) -> ReadingPoint:
    """Write the shop into `folder`, read it `repeats` times, and return the quickest."""
    files = shop.write(folder)
    points = []
    for _ in range(repeats):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            points.append(pool.submit(_measure, *files).result())
    return min(points, key=lambda point: point.log_seconds)


def markdown(points: Sequence[tuple[TextShop, ReadingPoint]]) -> str:
    """Return the points as a Markdown table."""
    names = ["quotes", "items", "events", "catalog", "log", "peak memory"]
    rows = [
        f"| {shop.quoting} | {point.items:,} | {point.events:,} | {point.catalog_seconds:.1f} s "
        f"| {point.log_seconds:.1f} s | {point.peak_gib:.2f} GiB |"
        for shop, point in points
    ]
    return "\n".join([f"| {' | '.join(names)} |", "|---|--:|--:|--:|--:|--:|", *rows])


def _measure(items: Path, log: Path) -> ReadingPoint:
    clock = [time.perf_counter()]
    catalog = Catalog.read(items)
    clock.append(time.perf_counter())
    interactions = Interactions.read(log, catalog=catalog)
    clock.append(time.perf_counter())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ReadingPoint(
        items=len(catalog),
        events=len(interactions),
        catalog_seconds=round(clock[1] - clock[0], 2),
        log_seconds=round(clock[2] - clock[1], 2),
        peak_gib=round(peak / (1 << 30 if sys.platform == "darwin" else 1 << 20), 3),
    )
