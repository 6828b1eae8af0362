"""How fast the catalog is searched: genrec's beam search against Hugging Face `generate`.

    python eval/decode.py eval/decode.yaml [workload.users=64 repetitions=3 …]

Both search the same random model, catalog and histories in one run, in turn; medians are compared, and so
are the items found. Takes about a minute on 2 cores.
"""

import json
import os
import platform
import time
from pathlib import Path
from statistics import median

from genrec.artifacts import atomic_file, provenance
from genrec.config import Settings
from genrec.recipe import run_recipe
from genrec.testing.decode_race import DecodeRace, DecodeWorkload, overlap


class Config(Settings):
    """What is decoded, and how often."""

    workload: DecodeWorkload = DecodeWorkload()
    """Model, catalog, histories and beams."""
    repetitions: int = 7
    """Timed runs of each, after one that is not counted."""
    out: Path = Path("runs/decode.json")
    """Where the result goes."""


def main(config: Config) -> None:
    """Time both searches in turn and compare what they found."""
    race = DecodeRace(config.workload)
    contenders = {"generate": race.generate, "genrec": race.genrec}
    found = {name: search() for name, search in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(config.repetitions):
        for name, search in contenders.items():
            began = time.perf_counter()
            search()
            seconds[name].append(round(time.perf_counter() - began, 4))
    medians = {name: median(values) for name, values in seconds.items()}
    result = {
        "ratio": round(medians["generate"] / medians["genrec"], 2),
        "overlap": overlap(found["generate"], found["genrec"]),
        "median_seconds": medians,
        "seconds": seconds,
        "parameters": race.parameters,
        "config": config.model_dump(mode="json"),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "provenance": provenance(),
    }
    with atomic_file(config.out) as path:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(
        f"generate {medians['generate']:.3f} s, genrec {medians['genrec']:.3f} s: "
        f"{result['ratio']} times as fast, {result['overlap']:.1%} of the items the same ({config.out})"
    )


if __name__ == "__main__":
    run_recipe(main, Config)
