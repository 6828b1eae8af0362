"""What each part of a recommender brings: alone, left out, and a network in its language model's place.

    python eval/components.py eval/components_demo.yaml [split=valid …]

Rows are the whole, the language model and every component alone, and the whole without each, the others'
weights chosen anew on validation; the loss is a paired difference. With `network`, the folder of a baseline
that train/baseline.py fitted (SASRec …), that one stands in the language model's place, beside the same
components with weights chosen anew: its scores become a distribution by a softmax over the catalog, and its
best items are kept, as many as a search keeps beams. Seen items are left out of them and keep their share, as
in the search. Writes one JSON document; beside it, the table as Markdown and every row's result in every case
as Parquet, for eval/table.py.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from genrec import GenerativeRecommender
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results
from genrec.evaluation.case_files import write_cases
from genrec.fitting.ablation import AblationRow, measure_components
from genrec.fitting.baselines.folder import load_baseline
from genrec.recommender.measure import judge_of


class Config(Settings):
    """What is taken apart, and where to."""

    recommender: Path
    """A recommender folder."""
    network: Path | None = None
    """A baseline's folder, of the same data and split, for a row in the language model's place."""
    split: Literal["valid", "test"] = "test"
    """Which cases; test is for reporting only."""
    ks: tuple[int, ...] = (5, 10)
    """Cut-offs of the metrics."""
    exclude_seen: bool = True
    """Whether items of the history are left out."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` …"""
    out: Path = Path("runs/components.json")
    """JSON document; beside it go the table, ending in .md, and the cases of each row, ending in .parquet."""


def main(config: Config) -> None:
    """Measure, write, print."""
    recommender = GenerativeRecommender.from_pretrained(config.recommender, device=config.device)
    judge = judge_of(recommender, config.split, config.ks, config.exclude_seen)
    network = None
    if config.network is not None:
        network = load_baseline(config.network, config.device)
        network.require_split(judge.parts, len(judge.catalog))
    rows = measure_components(recommender, judge, network)
    document = {
        "config": config.model_dump(mode="json"),
        "protocol": rows[0].evaluation.protocol.model_dump(mode="json"),
        "rows": [row.to_json() for row in rows],
    }
    text = table(rows)
    write_results(config.out, document, text)
    for row in rows:
        words = re.sub(r"\W+", "_", row.name.replace("'", ""))
        path = config.out.with_name(f"{config.out.stem}_{words}.parquet")
        write_cases(row.evaluation, path, judge.catalog.item_ids, judge.log.user_ids)
    print(text)


def table(rows: Sequence[AblationRow]) -> str:
    """The rows as a Markdown table: metrics with intervals, what the whole loses, weights."""
    k = max(rows[0].evaluation.protocol.ks)
    metrics, parts = (f"recall@{k}", f"ndcg@{k}"), list(rows[0].weights)
    lines = [
        ["parts", *metrics, f"ndcg@{k} lost", *parts],
        ["---", *["---:"] * (len(metrics) + len(parts) + 1)],
    ]
    for row in rows:
        cells = [
            f"{row.evaluation.metrics[name]:.4f} ({low:.4f} to {high:.4f})"
            for name in metrics
            for low, high in [row.evaluation.confidence[name]]
        ]
        found = row.differences and row.differences[f"ndcg@{k}"]
        cells.append(f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})" if found else "")
        cells += [f"{row.weights[name]:.3f}" if name in row.weights else "" for name in parts]
        lines.append([row.name, *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    run_recipe(main, Config)
