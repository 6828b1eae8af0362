"""What a recommender is made of, and how good its semantic IDs are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from genrec.semantic_ids.building import measure_ids
from genrec.semantic_ids.churn import churn
from genrec.semantic_ids.families import families
from genrec.semantic_ids.neighborhoods import neighborhoods

if TYPE_CHECKING:
    from rich.table import Table

    from genrec.recommender import GenerativeRecommender
    from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = ["inspect_recommender", "inspection_tables"]


def inspect_recommender(
    recommender: GenerativeRecommender, against: SemanticIds | None = None
) -> dict[str, Any]:
    """Collect facts, costs and the quality of the semantic IDs as plain values.

    Args:
        recommender: what to look at.
        against: semantic IDs of another recommender, to see what changed since.
    """
    settings, catalog = recommender.settings, recommender.catalog
    ids, tokenizer = recommender.semantic_ids, recommender.item_tokenizer
    vectors = recommender.vectorizer.vectors(catalog, settings)
    split = settings.split.apply(recommender.log, settings.seed)
    report = measure_ids(tokenizer, ids, vectors, catalog, split)
    own = ids.codes[:, : len(tokenizer.codebook_sizes)]
    return {
        "items": len(catalog),
        "users": len(recommender.log.histories),
        "interactions": len(recommender.log),
        "encoder": settings.encoder.name,
        "item_tokenizer": tokenizer.kind,
        "codebook_sizes": list(ids.codebook_sizes),
        "collision_policy": ids.policy,
        "backbone": settings.language_model.backbone,
        "quality": report.to_json(),
        "failures": settings.gate.failures(report),
        "neighbors": asdict(neighborhoods(own, vectors)),
        "families": [asdict(family) for family in families(ids.codes, catalog.titles)],
        "churn": None if against is None else asdict(churn(ids, against)),
        "parameters": recommender.language_model.parameters()[1],
        "fit": recommender.metrics,
    }


def inspection_tables(document: dict[str, Any]) -> list[Table]:
    """Lay the document out for a terminal."""
    tables = [_facts(document), _levels(document["quality"]), _buckets(document["quality"])]
    return tables if document["churn"] is None else [*tables, _churn(document["churn"])]


def _facts(document: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    report = document["quality"]
    near = document["neighbors"]
    table = Table(title="Recommender", title_justify="left", show_header=False)
    facts = {
        "catalog": f"{document['items']:,} items",
        "log": f"{document['interactions']:,} interactions of {document['users']:,} users",
        "encoder": document["encoder"],
        "item tokenizer": f"{document['item_tokenizer']}, codes {document['codebook_sizes']}",
        "language model": f"{document['backbone']}, {document['parameters']:,} parameters",
        "collisions": (
            f"{report['before']['items']:,} items ({report['before']['share']:.1%}) before resolution, "
            f"{report['after']['items']:,} after"
        ),
        "moved": _moved(report["moves"], document["collision_policy"]),
        "reconstruction error": _error(report["reconstruction_error"]),
        "neighbours": (
            f"{near['overlap']:.1%} of the {near['k']} nearest by vector are near by code "
            f"({near['chance']:.2%} by chance)"
        ),
        "fit": _costs(document["fit"]),
    }
    for name, value in facts.items():
        table.add_row(name, escape(value))
    for failure in document["failures"]:
        table.add_row("[bold]warning[/]", escape(failure))
    return table


def _costs(fit: dict[str, Any]) -> str:
    if not fit:
        return "none: transferred from another catalog"
    steps = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in fit["seconds"].items())
    return f"{steps}; peak memory {fit['peak_memory_mib'] or 0:,} MiB"


def _moved(moves: dict[str, Any] | None, policy: str) -> str:
    if moves is None or not moves["items"]:
        return f"none by {policy}"
    return (
        f"{moves['items']:,} items by {policy}, {moves['last_code_only']:,} of them in the last code only; "
        f"by {moves['mean']:.3f} of the vectors' variance in the mean, {moves['median']:.3f} in the median, "
        f"{moves['max']:.3f} at most"
    )


def _error(error: float | None) -> str:
    return "none: no vectors" if error is None else f"{error:.3f} of the vectors' variance"


def _levels(report: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="Semantic IDs, level by level", title_justify="left")
    names = ["level", "codes", "used", "entropy (bits)", "perplexity", "largest / mean"]
    names += ["same category", "over chance", "next item", "over chance"]
    for name in names:
        table.add_column(name, justify="right")
    for level, usage in enumerate(report["levels"]):
        cells = [str(level), str(usage["codes"]), str(usage["used"])]
        cells += [f"{usage[name]:.{places}f}" for name, places in _USAGE.items()]
        for kind in ("purity", "agreement"):
            cells += _prefix_cells(report[kind], level + 1)
        table.add_row(*cells)
    return table


_USAGE = {"entropy": 2, "perplexity": 0, "balance": 2}


def _prefix_cells(entries: list[dict[str, Any]], length: int) -> list[str]:
    """Observed share and its ratio to chance for prefixes of a length; empty where unknown."""
    for entry in entries:
        if entry["length"] == length and entry["pairs"] and entry["chance"]:
            return [f"{entry['observed']:.3f}", f"{entry['ratio']:.1f}"]
    return ["", ""]


def _buckets(report: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Largest collisions before resolution", title_justify="left")
    table.add_column("items", justify="right")
    table.add_column("titles", overflow="fold")
    for bucket in report["worst_buckets"]:
        table.add_row(str(bucket["size"]), escape(" · ".join(bucket["titles"])))
    return table


def _churn(found: dict[str, Any]) -> Table:
    from rich.table import Table

    title = f"Churn: {found['changed']:.1%} of {found['common']:,} common items have other codes"
    table = Table(title=title, title_justify="left")
    table.caption = f"{found['added']:,} items only here, {found['removed']:,} only there"
    for name in ("level", "code changed", "prefix changed", "pairs no longer together"):
        table.add_column(name, justify="right")
    for level in found["levels"]:
        shares = [_percent(level[name]) for name in ("code", "prefix", "company")]
        table.add_row(str(level["level"]), *shares)
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
