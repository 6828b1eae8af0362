"""What a recommender is made of, and how good its semantic IDs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genrec.semantic_ids.quality import quality

if TYPE_CHECKING:
    from rich.table import Table

    from genrec.recommender import GenerativeRecommender

__all__ = ["inspect_recommender", "inspection_tables"]


def inspect_recommender(recommender: GenerativeRecommender) -> dict[str, Any]:
    """Collect facts, costs and the quality of the semantic IDs as plain values."""
    vectors = recommender.vectorizer.vectors(recommender.catalog, recommender.settings)
    ids, tokenizer = recommender.semantic_ids, recommender.item_tokenizer
    report = quality(
        ids,
        tokenizer.encode(vectors),
        vectors,
        tokenizer,
        recommender.catalog.labels(),
        recommender.catalog.titles,
    )
    return {
        "items": len(recommender.catalog),
        "users": len(recommender.log.histories),
        "interactions": len(recommender.log),
        "encoder": recommender.settings.encoder.name,
        "item_tokenizer": tokenizer.kind,
        "codebook_sizes": list(ids.codebook_sizes),
        "collision_policy": ids.policy,
        "backbone": recommender.settings.language_model.backbone,
        "quality": report.to_json(),
        "failures": report.failures(),
        "fit": recommender.metrics,
    }


def inspection_tables(document: dict[str, Any]) -> list[Table]:
    """Lay the document out for a terminal."""
    return [_facts(document), _levels(document["quality"]), _buckets(document["quality"])]


def _facts(document: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    report, fit = document["quality"], document["fit"]
    table = Table(title="Recommender", title_justify="left", show_header=False)
    facts = {
        "catalog": f"{document['items']:,} items",
        "log": f"{document['interactions']:,} interactions of {document['users']:,} users",
        "encoder": document["encoder"],
        "item tokenizer": f"{document['item_tokenizer']}, codes {document['codebook_sizes']}",
        "language model": f"{document['backbone']}, {fit['parameters']['total']:,} parameters",
        "collisions": (
            f"{report['before']['items']:,} items ({report['before']['share']:.1%}) before resolution, "
            f"{report['after']['items']:,} after; {report['moves']['items']:,} moved by "
            f"{document['collision_policy']}"
        ),
        "reconstruction error": f"{report['reconstruction_error']:.3f} of the vectors' variance",
        "fit": ", ".join(f"{step} {seconds:.0f} s" for step, seconds in fit["seconds"].items())
        + f"; peak memory {fit['peak_memory_mib'] or 0:,} MiB",
    }
    for name, value in facts.items():
        table.add_row(name, escape(value))
    for failure in document["failures"]:
        table.add_row("[bold]warning[/]", escape(failure))
    return table


def _levels(report: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="Semantic IDs, level by level", title_justify="left")
    for name in (
        "level",
        "codes",
        "used",
        "entropy (bits)",
        "perplexity",
        "same category",
        "chance",
        "ratio",
    ):
        table.add_column(name, justify="right")
    purity = {entry["length"]: entry for entry in report["purity"]}
    for level, usage in enumerate(report["levels"]):
        same = purity.get(level + 1)
        cells = [str(level), str(usage["codes"]), str(usage["used"])]
        cells += [f"{usage['entropy']:.2f}", f"{usage['perplexity']:.0f}"]
        if same is not None and same["pairs"]:
            cells += [f"{same['observed']:.3f}", f"{same['chance']:.3f}", f"{same['ratio']:.1f}"]
        table.add_row(*cells)
    return table


def _buckets(report: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Largest collisions before resolution", title_justify="left")
    table.add_column("items", justify="right")
    table.add_column("titles", overflow="fold")
    for bucket in report["worst_buckets"]:
        table.add_row(str(bucket["size"]), escape(" · ".join(bucket["titles"])))
    return table
