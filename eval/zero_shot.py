"""A recommender on a catalog it never saw: at once, and after a few per cent of that catalog's log.

    python eval/zero_shot.py eval/zero_shot_demo.yaml [split=valid shares=[] …]

Beside it: neighbours by text, which need no log either; repeat-last and popularity; genrec and SASRec fitted
on the same share of the log. Every user is tested, whatever the share that was trained on. Writes one JSON
document, the table as Markdown, and the fitted folders beside them, which are opened when the command is
given again.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from genrec import FitSettings, GenerativeRecommender
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results
from genrec.data.settings import DataSettings
from genrec.data.split_settings import SplitSettings
from genrec.evaluation import compare, markdown_table
from genrec.evaluation.judge import Judge
from genrec.fitting.baselines.fit import BaselineSettings
from genrec.fitting.few_shot import FewShot, without_training
from genrec.recommender.transfer import TransferSettings, transfer

METRICS = ("recall@10", "ndcg@10")


class Config(Settings):
    """Which recommender goes where, and what is measured beside it."""

    recommender: Path
    """A recommender folder."""
    data: DataSettings
    """The catalog it never saw, and its log."""
    transfer: TransferSettings = TransferSettings()
    """What speaks beside the language model."""
    shares: tuple[float, ...] = (0.01, 0.1, 1.0)
    """Shares of the users whose log is trained on; none for zero-shot alone."""
    fit: FitSettings = FitSettings()
    """Of genrec fitted on such a share alone."""
    further: tuple[str, ...] = ()
    """Settings of genrec fitted on from the transferred one, as ``key=value`` words."""
    baseline: BaselineSettings = BaselineSettings()
    """Of SASRec."""
    split: Literal["valid", "test"] = "test"
    """Which cases; test is for reporting only."""
    exclude_seen: tuple[bool, ...] = (True, False)
    """Whether items of the history are left out; one table for each."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` …"""
    out: Path
    """JSON document; the table beside it ends in .md, the folder of fits has its name without an ending."""


def main(config: Config) -> None:
    """Transfer, fit, rank, write, print."""
    catalog, log = config.data.read()
    source = GenerativeRecommender.from_pretrained(config.recommender, device=config.device)
    moved = transfer(source, catalog, log, config.transfer)
    few = FewShot(moved, config.fit, config.further, config.baseline, config.out.with_suffix(""))
    parts = SplitSettings().apply(log, config.fit.seed)
    rankers = without_training(moved, parts)
    for share in config.shares:
        rankers |= few.fitted(share)
    document, tables = {"config": config.model_dump(mode="json")}, []
    for exclude_seen in config.exclude_seen:
        judge = Judge(catalog, log, parts, config.split, (10,), exclude_seen)
        found = zip(rankers, judge.measure(list(rankers.values())), strict=True)
        mine, *others = [replace(measured, name=name) for name, measured in found]
        said = "seen items left out" if exclude_seen else "seen items kept"
        document[said] = compare(mine, others)
        tables.append(f"{said}:\n\n" + markdown_table(mine, others, metrics=METRICS))
    text = "\n\n".join(tables)
    write_results(config.out, document, text)
    print(text)


if __name__ == "__main__":
    run_recipe(main, Config)
