"""What ``genrec evaluate`` does: measure one recommender or two, and say so in every form asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from genrec.artifacts import BASELINE_MANIFEST, atomic_file, require_file
from genrec.case_files import write_cases
from genrec.evaluation import Evaluation, Ranker, compare, paired_differences, recall
from genrec.evaluation.calibration import reliability
from genrec.evaluation.report import differences_table, rich_table, shown_metrics, slices_table
from genrec.evaluation.ties import expected
from genrec.inputs import open_recommender
from genrec.measuring import Judge, measure
from genrec.output import log_lines, print_json, print_table

if TYPE_CHECKING:
    from genrec.options import Dtype
    from genrec.recommender import GenerativeRecommender

__all__ = ["EvaluationRequest", "report_document", "run_evaluation"]

EXAMPLES = 10


@dataclass(frozen=True)
class EvaluationRequest:
    """What is measured, and where the result goes.

    Attributes:
        folder: the recommender. other: another one, or a baseline's folder, to compare it with.
        split: which cases. ks: cut-offs. exclude_seen: whether items of the history are left out.
        baselines: whether the baselines are measured too.
        json_file: the document; ``-`` prints it and nothing else. cases: Parquet of every case.
        report: HTML page.
        device: of the language model. dtype: its precision.
    """

    folder: Path
    other: Path | None = None
    split: Literal["valid", "test"] = "test"
    ks: tuple[int, ...] = (5, 10)
    exclude_seen: bool = True
    baselines: bool = False
    json_file: Path | None = None
    cases: Path | None = None
    report: Path | None = None
    device: str = "auto"
    dtype: Dtype = None

    def judge(self, recommender: GenerativeRecommender) -> Judge:
        """The recommender's own catalog, log and split, and what is asked of them here."""
        return Judge.of(recommender, self.split, self.ks, self.exclude_seen)

    def check_targets(self) -> None:
        """Refuse files that could not be written, before anything is measured.

        Raises:
            InputError: with what to do about it.
            MissingExtraError: a report is wanted, and matplotlib is not installed.
        """
        from genrec.html_page import require_page

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
    request.check_targets()
    recommender = _open(request, request.folder)
    judge = request.judge(recommender)
    # Both are opened before either is measured: a wrong folder should not cost minutes.
    second = None if request.other is None else _second(request, judge, request.other)
    mine, others = measure(recommender, judge, baselines=request.baselines)
    document = compare(mine, others)
    if second is not None and request.other is not None:
        mine = replace(mine, name=_name(request.folder, request.other))
        [other] = second[0].measure([second[1]])
        others = [replace(other, name=_name(request.other, request.folder)), *others]
        document["other"] = _against(mine, others[0])
    _write_files(request, recommender, [mine, *others])
    if request.json_file == Path("-"):
        print_json(document)
        return
    if request.json_file is not None:
        with atomic_file(request.json_file) as path:
            path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print_table(rich_table(mine, others, metrics=shown_metrics(mine)))
    print_table(slices_table(mine))
    if second is not None:
        found = document["other"]["differences"]
        print_table(differences_table(mine.name, others[0].name, found))


def report_document(
    recommender: GenerativeRecommender, name: str, results: Sequence[Evaluation]
) -> dict[str, Any]:
    """Collect what `genrec.evaluation_page` lays out, as plain values.

    Args:
        recommender: what was measured.
        name: its name in the title.
        results: its evaluation first, then those it is compared with.
    """
    mine, *others = results
    k = max(mine.protocol.ks)
    return {
        "name": name,
        "results": [result.to_json() for result in results],
        "differences": {other.name: _differences(mine, other) for other in others},
        "recall": {
            result.name: [float(_recall(result, at).mean()) for at in range(1, k + 1)]
            for result in results
        },
        "calibration": _calibration(mine),
        "fit": recommender.metrics,
        "hit_share": float((mine.ranks < k).mean()),
        "examples": _examples(recommender, mine),
    }


def _open(request: EvaluationRequest, folder: Path) -> GenerativeRecommender:
    return open_recommender(folder, request.device, request.dtype, merged=True)


def _second(request: EvaluationRequest, judge: Judge, folder: Path) -> tuple[Judge, Ranker]:
    """What the recommender is compared with, and on what: another one, or a baseline of the same split."""
    if not (folder / BASELINE_MANIFEST).is_file():
        other = _open(request, folder)
        return request.judge(other), other
    from genrec.baseline_files import load_baseline

    baseline = load_baseline(folder, request.device)
    baseline.require_split(judge.parts, len(judge.catalog))
    return judge, baseline


def _name(folder: Path, other: Path) -> str:
    """Name a recommender by its folder, by the whole path where two folders have one name."""
    own = folder.resolve()
    return own.name if own.name != other.resolve().name else str(folder)


def _against(mine: Evaluation, other: Evaluation) -> dict[str, Any]:
    return other.to_json() | {"differences": _differences(mine, other)}


def _differences(mine: Evaluation, other: Evaluation) -> dict[str, dict[str, float]]:
    return {name: found.to_json() for name, found in paired_differences(mine, other).items()}


def _write_files(
    request: EvaluationRequest, recommender: GenerativeRecommender, results: list[Evaluation]
) -> None:
    if request.cases is not None:
        write_cases(
            results[0], request.cases, recommender.catalog.item_ids, recommender.log.user_ids
        )
        log_lines([f"results of {len(results[0].results):,} cases in {request.cases}"])
    if request.report is not None:
        from genrec.evaluation_page import write_page

        name = request.folder.resolve().name
        write_page(report_document(recommender, name, results), request.report)
        log_lines([f"report in {request.report}"])


def _recall(result: Evaluation, k: int) -> NDArray[np.float64]:
    return expected(recall, result.results.ranks, result.results.tied, k)


def _calibration(mine: Evaluation) -> dict[str, list[float]] | None:
    if mine.results.probabilities is None:
        return None
    found = reliability(mine.results.probabilities, _recall(mine, 1))
    return dict(zip(("said", "seen", "cases"), (values.tolist() for values in found), strict=True))


def _examples(recommender: GenerativeRecommender, mine: Evaluation) -> list[dict[str, Any]]:
    """Draw some cases, half of them with the target in the list where there are so many."""
    found = mine.ranks < max(mine.protocol.ks)
    rng = np.random.default_rng(0)
    hits, misses = (rng.permutation(np.flatnonzero(mark)) for mark in (found, ~found))
    few = min(len(hits), max(EXAMPLES // 2, EXAMPLES - len(misses)))
    drawn = np.sort(np.concatenate([hits[:few], misses[: EXAMPLES - few]]))
    cases = Judge.of(recommender, mine.protocol.split).cases
    titles = recommender.catalog.titles
    return [_example(mine, int(case), cases.histories[case], titles) for case in drawn]


def _example(
    mine: Evaluation, case: int, history: NDArray[np.int32], titles: Sequence[str]
) -> dict[str, Any]:
    results = mine.results
    target, top = int(results.targets[case]), results.top[case]
    shown = [int(item) for item in top if 0 <= item < len(titles)]
    return {
        "history": [titles[item] for item in history],
        "target": titles[target],
        "place": shown.index(target) + 1 if target in shown else None,
        "recommended": [(titles[item], item == target) for item in shown],
    }
