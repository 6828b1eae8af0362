"""Document of an evaluation: what its HTML page lays out, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation import Evaluation, paired_differences, recall
from genrec.evaluation.calibration import reliability
from genrec.evaluation.ties import expected
from genrec.recommender.measure import judge_of

if TYPE_CHECKING:
    from genrec.fitting.ablation import AblationRow
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["differences", "report_document"]

EXAMPLES = 10
"""Cases shown."""


def report_document(
    recommender: FittedRecommender,
    name: str,
    results: Sequence[Evaluation],
    parts: Sequence[AblationRow] = (),
) -> dict[str, Any]:
    """Collect what `genrec.cli.pages.evaluation_page` lays out, as plain values.

    Args:
        recommender: what was measured.
        name: its name in the title.
        results: its evaluation first, then those it is compared with.
        parts: what each part of its mixture brings, if that was measured.
    """
    mine, *others = results
    k = max(mine.protocol.ks)
    return {
        "name": name,
        "results": [result.to_json() for result in results],
        "differences": {other.name: differences(mine, other) for other in others},
        "components": [part.to_json() for part in parts],
        "recall": {
            result.name: [float(_recall(result, at).mean()) for at in range(1, k + 1)]
            for result in results
        },
        "calibration": _calibration(mine),
        "fit": recommender.metrics,
        "hit_share": float((mine.ranks < k).mean()),
        "examples": _examples(recommender, mine),
    }


def differences(mine: Evaluation, other: Evaluation) -> dict[str, dict[str, float]]:
    """Differences of two evaluations by metric, each with its interval and p value."""
    return {name: found.to_json() for name, found in paired_differences(mine, other).items()}


def _recall(result: Evaluation, k: int) -> NDArray[np.float64]:
    return expected(recall, result.results.ranks, result.results.tied, k)


def _calibration(mine: Evaluation) -> dict[str, list[float]] | None:
    if mine.results.probabilities is None:
        return None
    found = reliability(mine.results.probabilities, _recall(mine, 1))
    return dict(zip(("said", "seen", "cases"), (values.tolist() for values in found), strict=True))


def _examples(recommender: FittedRecommender, mine: Evaluation) -> list[dict[str, Any]]:
    """Draw some cases, half of them with the target in the list where there are so many."""
    found = mine.ranks < max(mine.protocol.ks)
    rng = np.random.default_rng(0)
    hits, misses = (rng.permutation(np.flatnonzero(mark)) for mark in (found, ~found))
    few = min(len(hits), max(EXAMPLES // 2, EXAMPLES - len(misses)))
    drawn = np.sort(np.concatenate([hits[:few], misses[: EXAMPLES - few]]))
    cases = judge_of(recommender, mine.protocol.split).cases
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
