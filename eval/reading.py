"""What reading a large log from text costs: seconds and peak memory.

    python eval/reading.py eval/reading.yaml [shops.plain.events=1000000 repeats=1 …]

Writes product tables and logs of random events as CSV, and reads each in a process of its own. The JSON
document and, beside it, the table as Markdown are written after every shop.
"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.reading import TextShop, markdown, measure_reading
from genrec.common.artifacts import atomic_file, provenance, require_file
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe


class Config(Settings):
    """What is read, and where the figures go."""

    shops: dict[str, TextShop]
    """What the files hold, by a name."""
    repeats: int = 3
    """Times that each is read; the quickest counts."""
    out: Path = Path("runs/reading.json")
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Measure shop by shop, write and print."""
    require_file(config.out)
    points = {}
    for name, shop in config.shops.items():
        with tempfile.TemporaryDirectory(prefix="genrec-reading-") as folder:
            points[name] = measure_reading(shop, Path(folder), config.repeats)
        document = {
            "config": config.model_dump(mode="json"),
            "points": {name: asdict(point) for name, point in points.items()},
            "provenance": provenance(),
        }
        with atomic_file(config.out) as path:
            path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    table = markdown([(config.shops[name], point) for name, point in points.items()])
    with atomic_file(config.out.with_suffix(".md")) as path:
        path.write_text(table + "\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    run_recipe(main, Config)
