"""Train the same small language model on every kind of semantic ID, and see which it learns best from.

    python tokenizers/compare.py tokenizers/compare_beauty.yaml [fit.training.epochs=20 …]

Each row of `rows` changes something of `fit`, mostly the item tokenizer; everything else stays. Recall is
measured on validation cases, since it is there to choose by. Where items that share their codes are numbered
(collisions=extra_level), it is also counted as if these were one item, as papers do that let semantic IDs
collide and count a hit by the codes. The result is written after every row, and a
run that was interrupted goes on behind the rows that it finds in `out`.
"""

import json
import time
from pathlib import Path
from typing import Any

from genrec import FitSettings, GenerativeRecommender
from genrec.common.artifacts import provenance
from genrec.common.config import Settings, validate
from genrec.common.recipe import run_recipe, write_results
from genrec.data.settings import DataSettings
from genrec.evaluation.shared_codes import hits_by_codes
from genrec.semantic_ids.building import measure_ids


class Config(Settings):
    """What is compared, on which data, and where to."""

    data: DataSettings
    """The catalog and its log."""
    fit: FitSettings = FitSettings()
    """What all rows share."""
    rows: dict[str, dict[str, Any]]
    """Name of a row -> settings of `fit` that it replaces."""
    out: Path = Path("runs/tokenizers.json")
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Fit and measure row by row."""
    shared = config.fit.model_dump(mode="json", exclude_unset=True)
    wanted = {
        name: validate(FitSettings, shared | row, source=f"rows.{name}")
        for name, row in config.rows.items()
    }
    catalog, log = config.data.read()
    done = json.loads(config.out.read_text())["rows"] if config.out.exists() else {}
    for name, settings in wanted.items():
        asked = settings.model_dump(mode="json", exclude_defaults=True)
        if done.get(name, {}).get("settings") != asked:
            began = time.perf_counter()
            recommender = GenerativeRecommender.fit(catalog, log, settings)
            seconds = round(time.perf_counter() - began, 1)
            done[name] = {"settings": asked, "seconds": seconds} | facts(recommender)
        kept = {key: done[key] for key in wanted if key in done}
        document = {"rows": kept, "provenance": provenance()}
        write_results(config.out, document, table(kept))
    print(table(kept))


def facts(recommender: GenerativeRecommender) -> dict[str, Any]:
    """What is known of a row: quality of the semantic IDs, cost, and how well the model learned."""
    settings = recommender.settings
    vectors = recommender.vectorizer.vectors(recommender.catalog, settings)
    split = settings.split.apply(recommender.log, settings.seed)
    report = measure_ids(
        recommender.item_tokenizer, recommender.semantic_ids, vectors, recommender.catalog, split
    )
    return {
        "quality": report.to_json(),
        "seconds_by_step": recommender.metrics["seconds"],
        "curve": recommender.metrics["training"]["curve"],
        "validation": recommender.metrics["validation"],
        "by_codes": recall_by_codes(recommender),
    }


def recall_by_codes(recommender: GenerativeRecommender) -> float | None:
    """Validation recall@10 where items that differ by their number alone are one; None without numbers."""
    ids, cases = recommender.semantic_ids, recommender.split.valid
    if ids.policy != "extra_level":
        return None
    found = recommender.rank(cases.histories, 100, exclude_seen=True)
    return float(hits_by_codes(found, ids.codes[:, :-1], cases.targets, k=10).mean())


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [cells(name, row) for name, row in rows.items()]
    header = list(lines[0])
    body = [
        header,
        ["---", "---", *["---:"] * (len(header) - 2)],
        *(line.values() for line in lines),
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in body)


def cells(name: str, row: dict[str, Any]) -> dict[str, str]:
    """One line of the table."""
    quality, valid = row["quality"], row["validation"]
    low, high = valid["confidence"]["recall@10"]
    error = quality["reconstruction_error"]
    return {
        "semantic IDs": name,
        "codes": "x".join(str(level["codes"]) for level in quality["levels"]),
        "IDs": f"{row['seconds_by_step']['semantic_ids']:.1f} s",
        "colliding before": f"{quality['before']['share']:.1%}",
        "codes used": " ".join(f"{u['used'] / u['codes']:.0%}" for u in quality["levels"]),
        "reconstruction error": "none" if error is None else f"{error:.3f}",
        "same category, over chance": " ".join(
            f"{shared['ratio']:.1f}" for shared in quality["purity"] if shared["pairs"]
        ),
        "training": f"{row['seconds_by_step']['training']:.0f} s",
        "recall@10": f"{valid['metrics']['recall@10']:.4f} ({low:.4f} to {high:.4f})",
        "ndcg@10": f"{valid['metrics']['ndcg@10']:.4f}",
        "recall@10 by codes": "" if row["by_codes"] is None else f"{row['by_codes']:.4f}",
    }


if __name__ == "__main__":
    run_recipe(main, Config)
