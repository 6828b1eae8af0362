"""Measure a recommender beside the baselines: full ranking, every user, confidence intervals.

    python eval/rank.py eval/rank_demo.yaml [split=valid …]

The baselines are trained on the same training part and ranked on the same cases. Writes one JSON document,
with slices and paired tests against each baseline; beside it, the table as Markdown and every ranker's result
in every case as Parquet.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from genrec import GenerativeRecommender
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results
from genrec.evaluation import compare, markdown_table
from genrec.evaluation.case_files import write_cases
from genrec.evaluation.report import shown_metrics
from genrec.recommender.measure import judge_of, measure


class Config(Settings):
    """What is measured, and where to."""

    recommender: Path
    """A recommender folder."""
    split: Literal["valid", "test"] = "test"
    """Which cases; test is for reporting only."""
    ks: tuple[int, ...] = (5, 10)
    """Cut-offs of the metrics."""
    exclude_seen: bool = True
    """Whether items of the history are left out."""
    baselines: bool = True
    """Whether the baselines are measured too."""
    alone: bool = False
    """Whether the language model has a row of its own, without the log's counts."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` …"""
    out: Path = Path("runs/rank.json")
    """JSON document; beside it go the table, ending in .md, and the cases of each, ending in .parquet."""


def main(config: Config) -> None:
    """Rank, write, print."""
    recommender = GenerativeRecommender.from_pretrained(config.recommender, device=config.device)
    judge = judge_of(recommender, config.split, config.ks, config.exclude_seen)
    mine, baselines = measure(recommender, judge, baselines=config.baselines)
    if config.alone:
        [alone] = judge.measure([recommender.alone()])
        baselines.insert(0, replace(alone, name="language_model_alone"))
    document = {"config": config.model_dump(mode="json")} | compare(mine, baselines)
    table = markdown_table(mine, baselines, metrics=shown_metrics(mine))
    write_results(config.out, document, table)
    for result in (mine, *baselines):
        name = config.out.stem if result is mine else f"{config.out.stem}_{result.name}"
        path = config.out.with_name(f"{name}.parquet")
        write_cases(result, path, judge.catalog.item_ids, judge.log.user_ids)
    print(table)


if __name__ == "__main__":
    run_recipe(main, Config)
