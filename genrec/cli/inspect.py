"""``genrec inspect`` and ``genrec export``: what a recommender is made of, and its language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrec.inputs import open_recommender
from genrec.options import Folder, Json, OnceCommand
from genrec.output import log_lines, print_json, print_table

__all__ = ["commands"]

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
    from genrec.inspecting import inspect_recommender, inspection_tables
    from genrec.inspection_page import require_page, write_page
    from genrec.recommender_files import read_catalog

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
    from genrec.exporting import export_model

    export_model(folder, out, base=base)
    log_lines([f"language model in {out}; next: see {out / 'README.md'}"])
