"""What a query gives to users of whom nothing is known: known-item probes, with confidence intervals.

    python eval/queries.py eval/queries_demo.yaml [column=categories histories=true …]

Every test user asks with words of the item that came next: its brand, or what `column` holds. That is an
upper bound and no natural query: nobody asks in the catalog's own words and is always right. Compared on the
same cases: the recommender with the query and without, text neighbours of the query alone and times
popularity, and popularity. Items of the history may be recommended again.
"""

from pathlib import Path
from typing import Literal

from bench.query_probe import first_items, item_queries, probe_cases, probe_rankers
from genrec import GenerativeRecommender
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results
from genrec.evaluation import Protocol, compare, evaluate, markdown_table


class Config(Settings):
    """Who asks for what, and where the result goes."""

    recommender: Path
    """A recommender folder."""
    column: str = "brand"
    """Column of the catalog whose words of the target are the query."""
    histories: bool = False
    """Whether users keep their history; else nothing is known of them but the query."""
    first: bool = False
    """Ask for the first items of held-out users; needs a fit with split.protocol=user-holdout."""
    split: Literal["valid", "test"] = "test"
    """Which cases, unless `first` takes both parts; test is for reporting only."""
    ks: tuple[int, ...] = (5, 10)
    """Cut-offs of the metrics."""
    out: Path = Path("runs/queries.json")
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Ask, rank, write, print."""
    recommender = GenerativeRecommender.from_pretrained(config.recommender, merged=True)
    parts = recommender.split
    queries = item_queries(recommender.catalog, config.column)
    given = parts.test if config.split == "test" else parts.valid
    given = first_items(parts, recommender.log) if config.first else given
    cases = probe_cases(given, queries, histories=config.histories)
    protocol = Protocol(
        name=f"{parts.protocol}{', first items' * config.first}, asked by {config.column}",
        split=config.split,
        ks=config.ks,
        exclude_seen=False,
    )
    mine, *others = [
        evaluate(ranker, cases, protocol, len(recommender.catalog), progress=True)
        for ranker in probe_rankers(recommender, queries)
    ]
    document = {"config": config.model_dump(mode="json")} | compare(mine, others)
    names = [f"{metric}@{k}" for k in protocol.ks for metric in ("recall", "ndcg")]
    table = markdown_table(mine, others, metrics=names)
    write_results(config.out, document, table)
    print(table)


if __name__ == "__main__":
    run_recipe(main, Config)
