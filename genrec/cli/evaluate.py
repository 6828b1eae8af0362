"""``genrec evaluate``: how good a recommender is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genrec.cli.options import Device, Dtype, Folder, KeepSeen, OnceCommand, Part
from genrec.cli.output import components_table, log_lines, print_json, print_table
from genrec.cli.request_words import excluding

if TYPE_CHECKING:
    from genrec.evaluation import Evaluation, Ranker
    from genrec.evaluation.judge import Judge
    from genrec.fitting.ablation import AblationRow
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["EvaluationRequest", "commands", "run_evaluation"]

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec evaluate runs/shop --baselines --report report.html\n\n"
    "genrec evaluate runs/shop --components\n\n"
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
    components: Annotated[
        bool,
        typer.Option(
            "--components", help="Add what each part of the mixture brings: alone, and left out."
        ),
    ] = False,
    keep_seen: KeepSeen = None,
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
    request = EvaluationRequest(
        folder,
        other,
        split.value,
        tuple(k or (5, 10)),
        excluding(keep_seen),
        baselines,
        components,
        json_file=json_file,
        cases=cases,
        report=report,
        device=device,
        dtype=dtype,
    )
    run_evaluation(request)


@dataclass(frozen=True)
class EvaluationRequest:
    """What is measured, and where the result goes.

    Attributes:
        folder: the recommender. other: another one, or a baseline's folder, to compare it with.
        split: which cases. ks: cut-offs. exclude_seen: whether items of the history are left out; None
            is as `folder` recommends.
        baselines: whether the baselines are measured too. components: whether each part of the mixture is.
        json_file: the document; ``-`` prints it and nothing else. cases: Parquet of every case.
        report: HTML page.
        device: of the language model. dtype: its precision.
    """

    folder: Path
    other: Path | None = None
    split: Literal["valid", "test"] = "test"
    ks: tuple[int, ...] = (5, 10)
    exclude_seen: bool | None = None
    baselines: bool = False
    components: bool = False
    json_file: Path | None = None
    cases: Path | None = None
    report: Path | None = None
    device: str = "auto"
    dtype: Dtype = None

    def judge(self, recommender: FittedRecommender) -> Judge:
        """The recommender's own catalog, log and split, and what is asked of them here."""
        from genrec.recommender.measure import judge_of

        return judge_of(recommender, self.split, self.ks, self.exclude_seen)

    def check_targets(self) -> None:
        """Refuse files that could not be written, before anything is measured.

        Raises:
            InputError: with what to do about it.
            MissingExtraError: a report is wanted, and matplotlib is not installed.
        """
        from genrec.cli.pages.html import require_page
        from genrec.common.artifacts import require_file

        for file in (self.json_file, self.cases):
            if file not in (None, Path("-")):
                require_file(file)
        if self.report is not None:
            require_page(self.report)


def run_evaluation(request: EvaluationRequest) -> None:
    """Measure, write, print.

    Raises:
        InputError: a file cannot be written, or two recommenders were not measured on the same cases.
    """
    from genrec.common.artifacts import atomic_file
    from genrec.evaluation import compare
    from genrec.evaluation.report import (
        differences_table,
        rich_table,
        shown_metrics,
        slices_table,
    )

    request.check_targets()
    recommender = _open(request, request.folder)
    judge = request.judge(recommender)
    request = replace(
        request, exclude_seen=judge.exclude_seen
    )  # the same for what it is compared with
    # Both are opened before either is measured: a wrong folder should not cost minutes.
    second = None if request.other is None else _second(request, judge, request.other)
    mine, others, parts = _measured(request, recommender, judge)
    document = compare(mine, others)
    if parts:
        document["components"] = [part.to_json() for part in parts]
    if second is not None and request.other is not None:
        mine = replace(mine, name=_name(request.folder, request.other))
        [other] = second[0].measure([second[1]])
        others = [replace(other, name=_name(request.other, request.folder)), *others]
        document["other"] = _against(mine, others[0])
    _write_files(request, recommender, [mine, *others], parts)
    if request.json_file == Path("-"):
        print_json(document)
        return
    if request.json_file is not None:
        with atomic_file(request.json_file) as path:
            path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print_table(rich_table(mine, others, metrics=shown_metrics(mine)))
    print_table(slices_table(mine))
    if parts:
        print_table(components_table(parts))
    if second is not None:
        found = document["other"]["differences"]
        print_table(differences_table(mine.name, others[0].name, found))


def _measured(
    request: EvaluationRequest, recommender: FittedRecommender, judge: Judge
) -> tuple[Evaluation, list[Evaluation], list[AblationRow]]:
    """The recommender's evaluation, the baselines', and the parts', as far as they are asked for."""
    from genrec.fitting.ablation import measure_components
    from genrec.recommender.measure import measure, measure_baselines

    if not request.components:
        return *measure(recommender, judge, baselines=request.baselines), []
    parts = measure_components(recommender, judge)
    # The first row is the whole: what a measurement of the recommender finds.
    others = measure_baselines(recommender, judge) if request.baselines else []
    return parts[0].evaluation, others, parts


def _open(request: EvaluationRequest, folder: Path) -> FittedRecommender:
    from genrec.cli.inputs import open_recommender

    return open_recommender(folder, request.device, request.dtype, merged=True)


def _second(request: EvaluationRequest, judge: Judge, folder: Path) -> tuple[Judge, Ranker]:
    """What the recommender is compared with, and on what: another one, or a baseline of the same split."""
    from genrec.common.manifest import BASELINE

    if not (folder / BASELINE.manifest).is_file():
        other = _open(request, folder)
        return request.judge(other), other
    from genrec.fitting.baselines.folder import load_baseline

    baseline = load_baseline(folder, request.device)
    baseline.require_split(judge.parts, len(judge.catalog))
    return judge, baseline


def _name(folder: Path, other: Path) -> str:
    """Name a recommender by its folder, by the whole path where two folders have one name."""
    own = folder.resolve()
    return own.name if own.name != other.resolve().name else str(folder)


def _against(mine: Evaluation, other: Evaluation) -> dict[str, Any]:
    from genrec.cli.pages.evaluation_document import differences

    return other.to_json() | {"differences": differences(mine, other)}


def _write_files(
    request: EvaluationRequest,
    recommender: FittedRecommender,
    results: list[Evaluation],
    parts: list[AblationRow],
) -> None:
    if request.cases is not None:
        from genrec.evaluation.case_files import write_cases

        write_cases(
            results[0], request.cases, recommender.catalog.item_ids, recommender.log.user_ids
        )
        log_lines([f"results of {len(results[0].results):,} cases in {request.cases}"])
    if request.report is not None:
        from genrec.cli.pages.evaluation_document import report_document
        from genrec.cli.pages.evaluation_page import write_page

        name = request.folder.resolve().name
        write_page(report_document(recommender, name, results, parts), request.report)
        log_lines([f"report in {request.report}"])
