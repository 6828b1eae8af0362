"""Give each domain of a shared language model an adapter, and combine them for a catalog none of them knows.

    python train/joint.py train/joint_opposite_demo.yaml
    python train/adapters.py train/adapters_demo.yaml [shares=[] adapter.lora.rank=8 split=valid …]

After X-Cross (Hadad et al. 2025). Combined equally, by likeness of the products' texts, and by weights
learned on a share of the new catalog's users; beside them the base alone, one adapter of all domains
together, an adapter of the new catalog's own, and all weights trained on the same share. Neighbours by text
need no log either. Writes one JSON document, the table as Markdown, and adapters and fits beside them,
which are opened when the command is given again.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from genrec import GenerativeRecommender
from genrec.common.artifacts import require_file
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results
from genrec.data.settings import DataSettings
from genrec.data.split_settings import SplitSettings
from genrec.evaluation import compare, markdown_table
from genrec.evaluation.judge import Judge
from genrec.fitting.adapters.compare import AdapterComparison
from genrec.fitting.adapters.fit import AdapterSettings
from genrec.fitting.adapters.learn import WeightSettings
from genrec.fitting.few_shot import without_a_fit
from genrec.recommender.transfer import transfer

METRICS = ("recall@10", "ndcg@10")


class Config(Settings):
    """Which domains, which new catalog, and how adapters are made and combined."""

    domains: dict[str, Path]
    """Recommender folders that share a language model (see train/joint.py), by name."""
    data: DataSettings
    """The catalog that none of them knows, and its log."""
    adapter: AdapterSettings = AdapterSettings()
    """How an adapter is made."""
    weights: WeightSettings = WeightSettings()
    """How the weights of adapters are learned."""
    further: tuple[str, ...] = ()
    """Settings where all weights train on the new log, as ``key=value`` words."""
    shares: tuple[float, ...] = (0.1,)
    """Shares of the new catalog's users whose log is learned from; none for zero-shot alone."""
    split: Literal["valid", "test"] = "test"
    """Which cases; test is for reporting only."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` …"""
    out: Path
    """JSON document; the table beside it ends in .md, the folder of fits has its name without an ending."""


def main(config: Config) -> None:
    """Train, combine, rank, write, print."""
    require_file(config.out)
    catalog, log = config.data.read()
    domains = {
        name: GenerativeRecommender.from_pretrained(folder, device=config.device, merged=True)
        for name, folder in config.domains.items()
    }
    moved = transfer(next(iter(domains.values())), catalog, log)
    ways = AdapterComparison(
        moved,
        domains,
        config.adapter,
        config.weights,
        config.further,
        config.out.with_suffix(""),
    )
    parts = SplitSettings().apply(log, 0)
    ranked = ways.zero_shot()
    for share in config.shares:
        ranked |= ways.few_shot(share)
    # Memories would hide what differs between language models.
    alone = {name: recommender.alone() for name, recommender in ranked.items()}
    rankers = alone | without_a_fit(moved, parts)
    judge = Judge(catalog, log, parts, config.split, (10,))
    found = zip(rankers, judge.measure(list(rankers.values())), strict=True)
    base, *others = [replace(measured, name=name) for name, measured in found]
    document = {"config": config.model_dump(mode="json")} | compare(base, others)
    table = markdown_table(base, others, metrics=METRICS)
    write_results(config.out, document, table)
    print(table)


if __name__ == "__main__":
    run_recipe(main, Config)
