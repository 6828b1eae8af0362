"""What one causal pass a user saves over one sample a position: seconds an epoch, and ndcg after equal time.

    python eval/passes.py eval/passes_beauty.yaml [seconds=60 …]

Catalog, log, semantic IDs and settings are those of a recommender that was fitted; its language model starts
anew for every way of training, from the same weights, with batches of the same size.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.sample_passes import Passes, PassResult, fresh_model, measure_passes
from genrec import GenerativeRecommender
from genrec.common.artifacts import provenance, require_file
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe, write_results
from genrec.evaluation import Protocol, evaluate


class Config(Settings):
    """What is measured, for how long, and where to."""

    recommender: Path
    """Folder of a fitted recommender without tasks."""
    passes: tuple[Passes, ...] = ("user", "position", "position, padded at random")
    """Ways of training."""
    seconds: float = 120.0
    """Training time of each."""
    validation_users: int = 5000
    """Validation cases drawn at random for ndcg@10."""
    out: Path = Path("runs/passes.json")
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Measure every way, write and print."""
    require_file(config.out)
    given = GenerativeRecommender.from_pretrained(config.recommender)
    split = given.split
    cases = split.valid.draw(config.validation_users, seed=0)
    protocol = Protocol(name=given.settings.split.protocol, split="valid", ks=(10,))
    results = []
    for passes in config.passes:
        model = fresh_model(given, given.settings.seed)
        with tempfile.TemporaryDirectory(prefix="genrec-passes-") as folder:
            results.append(
                measure_passes(
                    model,
                    split.train,
                    passes,
                    lambda: evaluate(model, cases, protocol, len(model.catalog)).metrics,  # noqa: B023
                    seconds=config.seconds,
                    folder=Path(folder),
                )
            )
        document = {"results": [asdict(result) for result in results], "provenance": provenance()}
        write_results(config.out, document, table(results))
    print(table(results))


def table(results: list[PassResult]) -> str:
    """The results as a Markdown table, seconds also as multiples of the first row's."""
    head = (
        "| one pass a | sequences | items read | with padding | seconds an epoch | times the first "
        "| epochs | in seconds | ndcg@10 |"
    )
    rows = [
        f"| {r.passes} | {r.sequences:,} | {r.items:,} | {r.padded:,} | {r.epoch_seconds:.1f} "
        f"| {r.epoch_seconds / results[0].epoch_seconds:.1f} | {r.epochs:.2f} | {r.seconds:.0f} "
        f"| {r.ndcg:.4f} |"
        for r in results
    ]
    return "\n".join([head, "|---|" + "---:|" * 8, *rows])


if __name__ == "__main__":
    run_recipe(main, Config)
