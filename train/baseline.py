"""Fit a strong baseline (counts, EASE, SASRec, BERT4Rec, HSTU …) and measure it as recommenders are.

    python train/baseline.py train/baseline_demo.yaml [baseline.training.epochs=3 …]
    python train/baseline.py train/baseline_demo.yaml test=true

Choose on validation; `test=true` reports. A run that was interrupted goes on where it stood when the same
command is given again, and a baseline that was fitted is opened, not fitted anew.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrec.common.artifacts import atomic_file
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe
from genrec.data.settings import DataSettings
from genrec.data.split_settings import SplitSettings
from genrec.evaluation import markdown_table
from genrec.evaluation.case_files import write_cases
from genrec.evaluation.judge import Judge
from genrec.fitting.baselines.fit import BaselineSettings
from genrec.fitting.baselines.folder import fit_baseline_folder


class Config(Settings):
    """From which data, which baseline, and where to."""

    data: DataSettings
    """The catalog and its log."""
    split: SplitSettings = SplitSettings()
    """Training, validation and test, as for a recommender."""
    baseline: BaselineSettings = BaselineSettings()
    """Which baseline, and how it is fitted."""
    ks: tuple[int, ...] = (5, 10)
    """Cut-offs of the metrics."""
    exclude_seen: bool = True
    """Whether items of the history are left out."""
    test: bool = False
    """Whether test is measured too; it is for reporting only."""
    out: Path
    """Folder to make: the baseline, metrics.json, and every case's result as Parquet."""
    overwrite: bool = False
    """Whether a baseline that is there is fitted anew."""
    restart: bool = False
    """Whether an unfinished fit is discarded instead of continued."""


def main(config: Config) -> None:
    """Fit or open, measure, write, print."""
    catalog, log = config.data.read()
    split = config.split.apply(log, config.baseline.seed)
    judge = Judge(catalog, log, split, "valid", config.ks, config.exclude_seen)
    options = {"overwrite": config.overwrite, "restart": config.restart}
    baseline = fit_baseline_folder(split, len(catalog), config.baseline, config.out, **options)
    document: dict[str, Any] = {"training": baseline.facts}
    for part in ("valid", "test") if config.test else ("valid",):
        judge = replace(judge, split=part)
        if not len(judge.cases):
            continue
        [measured] = judge.measure([baseline])
        document[part] = measured.to_json()
        write_cases(measured, config.out / f"{part}.parquet", catalog.item_ids, log.user_ids)
        shown = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in config.ks]
        print(markdown_table(measured, metrics=shown), end="\n\n")
    with atomic_file(config.out / "metrics.json") as path:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{baseline.name}: {baseline.facts['seconds']} s; baseline in {config.out}")


if __name__ == "__main__":
    run_recipe(main, Config)
