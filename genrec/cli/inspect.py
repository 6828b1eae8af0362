"""``genrec inspect`` and ``genrec export``: what a recommender is made of, and its language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli.inputs import open_recommender
from genrec.cli.options import Folder, Json, OnceCommand
from genrec.cli.output import log_lines, print_json, print_table

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["commands", "inspection_tables"]

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec inspect runs/shop --json\n\n"
    "genrec inspect runs/shop --out report.html --against runs/earlier",
)
def inspect(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(help="Write an HTML page with plots, which stands alone.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Another recommender: how many items' codes changed since."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a recommender is made of, and how good its semantic IDs are."""
    from genrec.cli.pages.inspection_page import require_page, write_page
    from genrec.recommender.inspection import inspect_recommender
    from genrec.recommender.tables import read_catalog

    if out is not None:
        require_page(out)
    earlier = None if against is None else read_catalog(against)[1]
    document = inspect_recommender(open_recommender(folder, "cpu"), earlier)
    if out is not None:
        write_page(document, folder.resolve().name, out)
        log_lines([f"report in {out}"])
    if as_json:
        print_json(document)
        return
    for table in inspection_tables(document):
        print_table(table)


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Example[/]   genrec export runs/shop --out models/shop",
)
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    base: Annotated[
        str | None, typer.Option(help="Where a tuned model's base lies now, if it has moved.")
    ] = None,
) -> None:
    """Write the language model, its adapter merged, as Transformers and vLLM read it.

    The folder's README.md holds a program that generates items with it.
    """
    from genrec.recommender.folder.export import export_model

    export_model(folder, out, base=base)
    log_lines([f"language model in {out}; next: see {out / 'README.md'}"])


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
