"""``genrec evaluate``: how good a recommender is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrec.options import Device, Dtype, Folder, KeepSeen, OnceCommand, Part

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec evaluate runs/shop --baselines --report report.html\n\n"
    "genrec evaluate runs/shop runs/other --json results.json",
)
def evaluate(
    folder: Folder,
    other: Annotated[
        Path | None,
        typer.Argument(metavar="[OTHER]", help="Another, or a baseline, for paired tests."),
    ] = None,
    split: Annotated[
        Part, typer.Option(help="Which cases; test is for reporting only.")
    ] = Part.test,
    k: Annotated[
        list[int] | None, typer.Option("-k", "--k", min=1, help="Cut-offs; 5 and 10 unless given.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Add the baselines' rows.")
    ] = False,
    keep_seen: KeepSeen = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the result here; '-' prints it and nothing else."),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Write every case's result, a Parquet file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page with plots, which stands alone.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = None,
) -> None:
    """Measure a recommender on held-out items: full ranking, every user, confidence intervals."""
    from genrec.evaluating import EvaluationRequest, run_evaluation

    request = EvaluationRequest(
        folder,
        other,
        split.value,
        tuple(k or (5, 10)),
        not keep_seen,
        baselines,
        json_file=json_file,
        cases=cases,
        report=report,
        device=device,
        dtype=dtype,
    )
    run_evaluation(request)
