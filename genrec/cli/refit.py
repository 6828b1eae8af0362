"""``genrec refit``: a fit once more, on the events too that it chose by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli.inputs import open_recommender
from genrec.cli.options import Folder, OnceCommand
from genrec.cli.output import log_lines

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec refit runs/shop --out runs/shop_refitted   then   genrec evaluate runs/shop_refitted --baselines",
)
def refit(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing --out.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard an unfinished refit.")
    ] = False,
) -> None:
    """Fit again on training and validation events, with everything that a fit chose on validation.

    The newest event but one of every user is then learned from, too. Test stays held out, so that genrec
    evaluate says what it brought. It takes as long as the fit did.
    """
    from genrec.common.artifacts import require_free
    from genrec.fitting.refit import refit_folder

    require_free(
        out, overwrite=overwrite, advice="choose another --out, or replace it with --overwrite"
    )
    recommender = open_recommender(folder, "cpu")
    refit_folder(recommender, out, overwrite=overwrite, restart=restart)
    log_lines([f"recommender in {out}; next: genrec evaluate {out} --baselines"])
