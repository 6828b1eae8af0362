"""``genrec demo``: the whole of it on a synthetic shop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrec.options import Json, OnceCommand
from genrec.output import print_json, print_table

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Example[/]   genrec demo --out runs/demo   then   genrec inspect runs/demo/recommender",
)
def demo(
    out: Annotated[
        Path | None, typer.Option(help="Keep data and recommender in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit, evaluate and recommend on a synthetic shop whose best possible recall is known.

    Takes about a minute on 2 cores and needs no download.
    """
    from genrec.demo import run_demo

    result = run_demo(out)
    if as_json:
        print_json(result.document)
        return
    for table in result.tables:
        print_table(table)
    typer.echo(result.summary)
