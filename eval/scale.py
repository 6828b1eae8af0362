"""What an item tokenizer costs as the catalog grows: seconds to fit and to encode, and peak memory.

    python eval/scale.py eval/scale.yaml [sizes=[10000,100000] item_tokenizer.balance=4 …]
    python eval/scale.py eval/scale.yaml measured=runs/scale.json

Random vectors of every size go to a file, which the item tokenizer reads memory-mapped, in a process of
its own. The JSON document is written after every size; a table and pictures go beside it.
"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.speed.plots import require_matplotlib
from bench.tokenizer_scale import (
    ClusteredVectors,
    ScalePoint,
    markdown,
    measure_scale,
    plot_scale,
    read_scale,
)
from genrec.common.artifacts import atomic_file, provenance, require_file
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe
from genrec.semantic_ids import RQKMeansSettings


class Config(Settings):
    """What is measured, and where to."""

    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Items of the catalogs."""
    vectors: ClusteredVectors = ClusteredVectors()
    """What their vectors are like."""
    item_tokenizer: RQKMeansSettings = RQKMeansSettings(levels=3, codes=1024)
    """What is measured."""
    out: Path = Path("runs/scale.json")
    """JSON document; table and pictures go beside it, ending in .md, .png and .svg."""
    measured: Path | None = None
    """JSON document of an earlier run, to be drawn again; nothing is measured then."""
    plots: bool = True
    """Whether the pictures are drawn (needs the extra ``plots``)."""


def main(config: Config) -> None:
    """Measure size by size, or read what was; write, draw and print."""
    require_file(config.out)
    if config.plots:
        require_matplotlib()
    if config.measured is None:
        vectors, points = config.vectors, measure(config)
    else:
        vectors, points = read_scale(config.measured)
    with atomic_file(config.out.with_suffix(".md")) as path:
        path.write_text(markdown(points) + "\n", encoding="utf-8")
    if config.plots:
        plot_scale(points, vectors, config.out)
    print(markdown(points))


def measure(config: Config) -> list[ScalePoint]:
    """Measure every size, and write the document after each."""
    points = []
    with tempfile.TemporaryDirectory(prefix="genrec-scale-") as folder:
        for size in config.sizes:
            point = measure_scale(config.vectors, config.item_tokenizer, size, Path(folder))
            points.append(point)
            document = {
                "config": config.model_dump(mode="json"),
                "points": [asdict(point) for point in points],
                "provenance": provenance(),
            }
            with atomic_file(config.out) as path:
                path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return points


if __name__ == "__main__":
    run_recipe(main, Config)
