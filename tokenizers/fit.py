"""Fit an item tokenizer and see how good its semantic IDs are, before any language model is trained.

    python tokenizers/fit.py tokenizers/fit_rqkmeans.yaml [item_tokenizer.codes=512 …]

Items become vectors (text, joined with co-occurrence in the training part of the log), vectors become codes,
collisions are resolved; an indexing (random, sequential, category, title, collaborative, hybrid) makes codes
without vectors. `out` gets the item tokenizer, `semantic_ids.jsonl`, `quality.json`; a table row is printed.
"""

import json
import time
from pathlib import Path

from genrec.common.artifacts import atomic_folder, require_free
from genrec.common.config import Settings
from genrec.common.recipe import run_recipe
from genrec.data import leave_one_out
from genrec.data.item_text import ItemTemplate
from genrec.data.settings import DataSettings
from genrec.encoders import EncoderSettings, make_encoder
from genrec.encoders.cache import encode_cached
from genrec.semantic_ids import (
    CollaborativeSettings,
    CollaborativeSignal,
    QualityReport,
    RQKMeansSettings,
)
from genrec.semantic_ids.building import build_semantic_ids, fit_any, measure_ids
from genrec.semantic_ids.collisions import Policy
from genrec.semantic_ids.quality_gate import QualityGate
from genrec.semantic_ids.settings import AnyItemTokenizerSettings


class Config(Settings):
    """From which data, how, and where to."""

    data: DataSettings
    """The catalog and its log."""
    template: ItemTemplate = ItemTemplate()
    """How an item's fields become its text."""
    encoder: EncoderSettings = EncoderSettings()
    """Text to vectors."""
    collaborative: CollaborativeSettings = CollaborativeSettings()
    """Co-occurrence, joined with the text vectors or for codes to agree with."""
    item_tokenizer: AnyItemTokenizerSettings = RQKMeansSettings()
    """Vectors to codes, or an indexing."""
    collisions: Policy = "nearest_free"
    """How items with the same codes are told apart."""
    gate: QualityGate = QualityGate()
    """What is good enough to train on; anything else is warned of, or refused (`gate.strict`)."""
    vectors: Path = Path("runs/vectors")
    """Cache of text vectors, shared by all runs."""
    out: Path
    """Folder to make."""
    overwrite: bool = False
    """Whether an existing folder is replaced."""


def main(config: Config) -> None:
    """Fit, resolve, measure, save."""
    advice = "choose another out, or set overwrite=true"
    require_free(config.out, overwrite=config.overwrite, advice=advice)
    catalog, log = config.data.read()
    texts = catalog.texts(config.template)
    encoder = make_encoder(config.encoder).fit(texts)
    text_vectors = encode_cached(encoder, texts, config.vectors)
    split = leave_one_out(log)
    signal = CollaborativeSignal(config.collaborative).fit(split.train, text_vectors)
    vectors = signal.transform(text_vectors, catalog.index_of(catalog.item_ids))

    clock = [time.perf_counter()]
    tokenizer = fit_any(config.item_tokenizer, vectors, catalog, split, signal.targets())
    clock.append(time.perf_counter())
    ids = build_semantic_ids(tokenizer, catalog, vectors, config.collisions)
    clock.append(time.perf_counter())
    seconds = {"fit": clock[1] - clock[0], "build": clock[2] - clock[1]}
    report = measure_ids(tokenizer, ids, vectors, catalog, split)
    failures = config.gate.apply(report)

    with atomic_folder(config.out, overwrite=config.overwrite) as folder:
        tokenizer.save(folder / "item_tokenizer")
        rows = zip(ids.item_ids, ids.codes.tolist(), strict=True)
        lines = [json.dumps({"item_id": item_id, "codes": row}) + "\n" for item_id, row in rows]
        (folder / "semantic_ids.jsonl").write_text("".join(lines), encoding="utf-8")
        document = {
            "config": config.model_dump(mode="json"),
            "semantic_ids": ids.describe(),
            "quality": report.to_json(),
            "failures": failures,
            "seconds": seconds,
        }
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (folder / "quality.json").write_text(text + "\n", encoding="utf-8")
    print(table(tokenizer.kind, report, seconds))
    print(f"{'not ' if failures else ''}good enough to train on ({config.out})")


def table(kind: str, report: QualityReport, seconds: dict[str, float]) -> str:
    """Rows of the table in this folder's README."""
    error, moves = report.reconstruction_error, report.moves
    row = {
        "item tokenizer": kind,
        "codes": "x".join(str(level.codes) for level in report.levels),
        "fitting": f"{seconds['fit']:.1f} s",
        "all items": f"{seconds['build']:.1f} s",
        "colliding before": f"{report.before.share:.1%}, at most {report.before.largest} at once",
        "after": str(report.after.items),
        "moved, by": f"{moves.items:,}, {moves.mean:.3f} to {moves.max:.3f}" if moves else "none",
        "codes used": " ".join(f"{level.used / level.codes:.0%}" for level in report.levels),
        "reconstruction error": "none" if error is None else f"{error:.3f}",
        "same category, over chance": " ".join(f"{p.ratio:.1f}" for p in report.purity if p.pairs),
        "next item, over chance": " ".join(f"{a.ratio:.1f}" for a in report.agreement if a.chance),
    }
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in (row, ["---"] * len(row), row.values())
    )


if __name__ == "__main__":
    run_recipe(main, Config)
