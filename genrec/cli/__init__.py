"""The `genrec` command: options in, library calls, tables or JSON out.

Standard output carries results only; progress and the log go to standard error. Exit status: see
`genrec.common.program`. One module holds one command, or two that belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from genrec.cli import (
    adapters,
    demo,
    evaluate,
    fit,
    inspect,
    items,
    recommend,
    refit,
    serve,
    transfer,
)
from genrec.common.program import log_to_stderr, program

__all__ = ["app", "main"]

app = typer.Typer(
    name="genrec",
    help="Turn a product table and a click log into an LLM recommender that can only name real items.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(demo.commands)
app.add_typer(fit.commands)
app.add_typer(refit.commands)
app.add_typer(transfer.commands)
app.add_typer(adapters.commands)
app.add_typer(evaluate.commands)
app.add_typer(recommend.commands)
app.add_typer(inspect.commands)
app.add_typer(items.commands)
app.add_typer(serve.commands)


@app.callback(invoke_without_command=True)
def _root(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from genrec.common.artifacts import genrec_version

        typer.echo(genrec_version())
        raise typer.Exit
    log_to_stderr(quiet=quiet)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; the console script's entry point."""
    with program():
        app(arguments)
