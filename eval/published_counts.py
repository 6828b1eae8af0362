"""Counts beside their published figures, with the protocol and the settings of these.

    python eval/published_counts.py eval/published_counts_beauty.yaml

Petrov et al. (RecSys 2026) count all but the last item of every user, where genrec keeps one more, and leave
out users whose target nobody had before. Settings and figures in the YAML files are from their repository,
spotify-research/sequential-capacity-probes (configs/table1.json and artifacts/table1-clean-room).
"""

from pathlib import Path

from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results
from genrec.data.histories import Cases
from genrec.data.settings import DataSettings
from genrec.data.split import leave_one_out
from genrec.evaluation import Protocol, evaluate
from genrec.fitting.baselines.fit import BaselineSettings, fit_baseline


class Config(Settings):
    """What is counted, and what it is to reach."""

    data: DataSettings
    """The catalog and its log."""
    baselines: tuple[BaselineSettings, ...]
    """With the settings that the figures were published for."""
    published: dict[str, dict[str, float]]
    """Name of a baseline -> metric -> figure."""
    out: Path
    """JSON document; beside it goes the table, ending in .md."""


def main(config: Config) -> None:
    """Fit on all but the last items, rank, write, print."""
    catalog, log = config.data.read()
    test = leave_one_out(log).test
    had = set(test.histories.items.tolist())
    cases = test.take([case for case, target in enumerate(test.targets.tolist()) if target in had])
    rows, lines = {}, ["| ranker | metric | here | published | difference |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    for settings in config.baselines:
        baseline = fit_baseline(test.histories, Cases.none(), len(catalog), settings)
        result = evaluate(baseline, cases, Protocol(name="published"), len(catalog))
        rows[baseline.name] = result.to_json()
        for metric, figure in config.published[baseline.name].items():
            here = result.metrics[metric]
            cells = [metric, f"{here:.4f}", f"{figure:.4f}", f"{here / figure - 1:+.2%}"]
            lines.append(f"| {baseline.name} | " + " | ".join(cells) + " |")
    lines += ["", f"{len(cases):,} users of {len(test):,}, {len(catalog):,} items."]
    document = {"config": config.model_dump(mode="json"), "rows": rows}
    write_results(config.out, document, "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    run_recipe(main, Config)
