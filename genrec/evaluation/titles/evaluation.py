"""Evaluation of written titles, the third task of Amazon-M2: write the title of the product that comes next.

Jin et al. 2023, "Amazon-M2: A Multilingual Multi-locale Shopping Session Dataset". Every case counts,
empty answers too, and every number says how sure it is. BLEU is no mean over cases, so its interval
comes from resampled sums of what it counts, and two systems are compared on the same samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError, InputError
from genrec.evaluation.bootstrap import Bootstrap, interval, resampled_sums
from genrec.evaluation.titles.metrics import (
    BleuSettings,
    bleu_of_sums,
    bleu_signature,
    bleu_statistics,
    catalog_shares,
    distinct,
    exact_match,
    normalize_title,
    rouge_l,
)

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog
    from genrec.data.histories import Cases

__all__ = [
    "BleuDifference",
    "TitleEvaluation",
    "TitleSettings",
    "TitleTargets",
    "bleu_difference",
    "check_same_titles",
    "evaluate_titles",
]


class TitleSettings(BleuSettings):
    """How written titles are judged."""

    bootstrap: Bootstrap = Bootstrap()
    """How confidence intervals are computed."""


@dataclass(frozen=True)
class TitleTargets:
    """What C answers are compared with.

    Attributes:
        titles: C titles of the targets.
        users: `(C,)` int64, whose case it is.
        known: the catalog's titles as `normalize_title` writes them.
    """

    titles: list[str]
    users: NDArray[np.int64]
    known: frozenset[str]

    @classmethod
    def of(cls, cases: Cases, catalog: Catalog) -> TitleTargets:
        """Take the targets' titles from the catalog."""
        titles = catalog.titles
        known = frozenset(map(normalize_title, titles))
        return cls([titles[item] for item in cases.targets.tolist()], cases.users, known)

    @property
    def data_hash(self) -> str:
        """16 hex digits that change with any title, user, their order, or the catalog's size."""
        document = json.dumps([self.titles, self.users.tolist(), len(self.known)])
        return hashlib.sha256(document.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TitleEvaluation:
    """What one system's titles reached.

    Attributes:
        name: the system's name.
        settings: how titles were judged.
        bleu_signature: which BLEU, in sacrebleu's words.
        data_hash: of the targets; equal for systems that may be compared.
        answers: titles judged, of all cases.
        metrics: ``bleu`` from 0 to 100; from 0 to 1 ``rouge_l``, ``exact_match``, ``distinct_1``,
            ``distinct_2``, ``catalog_titles`` and ``empty``; ``similarity`` from -1 to 1, where it was given.
        confidence: lower and upper end of each; the distinct shares have none, since a sample that
            repeats users repeats their words.
        statistics: `(C, 10)` int64, what BLEU counts of each case (see `bleu_statistics`).
        users: `(C,)` int64, whose case it is.
    """

    name: str
    settings: TitleSettings
    bleu_signature: str
    data_hash: str
    answers: int
    metrics: dict[str, float]
    confidence: dict[str, tuple[float, float]]
    statistics: NDArray[np.int64] = field(repr=False, compare=False)
    users: NDArray[np.int64] = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON document; what is kept of each case stays out."""
        return {
            "name": self.name,
            "settings": self.settings.model_dump(mode="json"),
            "bleu_signature": self.bleu_signature,
            "data_hash": self.data_hash,
            "cases": len(self.users),
            "users": len(np.unique(self.users)),
            "answers": self.answers,
            "metrics": self.metrics,
            "confidence": {name: list(ends) for name, ends in self.confidence.items()},
        }


@dataclass(frozen=True)
class BleuDifference:
    """BLEU of one system less that of another on the same cases, with the ends of its interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return plain values for a JSON document."""
        return {"value": self.value, "low": self.low, "high": self.high}


def evaluate_titles(
    name: str,
    answers: Sequence[Sequence[str]],
    targets: TitleTargets,
    settings: TitleSettings | None = None,
    *,
    similarity: NDArray[np.floating[Any]] | None = None,
) -> TitleEvaluation:
    """Judge a system's titles; an empty answer counts, and agrees with nothing.

    Args:
        name: of the system, for tables.
        answers: one or more titles for each of C >= 1 cases. The first is the answer; all of them
            count for `distinct_1`, `distinct_2` and `catalog_titles`.
        targets: what they are compared with.
        settings: which BLEU, and how sure.
        similarity: `(C,)` cosines of each first answer with its target, where vectors are at hand
            (see `genrec.recommender.nearest_items.NearestItems.similarity`).

    Raises:
        InputError: the numbers of cases differ, or a case has no title.
        DataError: there is no case.
        MissingExtraError: the extra ``eval`` is not installed.
    """
    settings = settings or TitleSettings()
    first = _first_answers(answers, targets, similarity)
    per_case = {
        "rouge_l": rouge_l(first, targets.titles),
        "exact_match": exact_match(first, targets.titles),
        "catalog_titles": catalog_shares(answers, targets.known),
        "empty": np.array([not title.strip() for title in first], np.float64),
    }
    if similarity is not None:
        per_case["similarity"] = np.asarray(similarity, np.float64)
    statistics = bleu_statistics(first, targets.titles, settings)
    means = {metric: float(values.mean()) for metric, values in per_case.items()}
    return TitleEvaluation(
        name,
        settings,
        bleu_signature(settings),
        targets.data_hash,
        sum(map(len, answers)),
        {"bleu": bleu_of_sums(statistics.sum(axis=0))}
        | means
        | {f"distinct_{n}": distinct(answers, n) for n in (1, 2)},
        _confidence(statistics, per_case, targets.users, settings.bootstrap),
        statistics,
        targets.users,
    )


def bleu_difference(model: TitleEvaluation, other: TitleEvaluation) -> BleuDifference:
    """Return by how much the model's BLEU is above another's, with the interval of the difference.

    Both are computed on the same samples of users (paired bootstrap; Koehn 2004), so the interval is
    far narrower than those of the two alone suggest.

    Raises:
        InputError: the two were not judged on the same targets in the same way.
    """
    check_same_titles(model, other)
    both = np.column_stack([model.statistics, other.statistics]).astype(np.float64)
    bootstrap = model.settings.bootstrap
    width = model.statistics.shape[1]
    sums = resampled_sums(both, model.users, bootstrap)
    gaps = np.array([[bleu_of_sums(row[:width]) - bleu_of_sums(row[width:-1])] for row in sums])
    low, high = interval(gaps, bootstrap)[:, 0].tolist()
    return BleuDifference(model.metrics["bleu"] - other.metrics["bleu"], low, high)


def check_same_titles(model: TitleEvaluation, other: TitleEvaluation) -> None:
    """Raise `InputError` unless two systems were judged on the same targets in the same way."""
    for name in ("data_hash", "settings", "bleu_signature"):
        ours, theirs = getattr(model, name), getattr(other, name)
        if ours != theirs:
            raise InputError(
                f"{model.name} and {other.name} cannot be compared: {name} is {ours!r} for one and "
                f"{theirs!r} for the other; judge both on the same cases in the same way"
            )


def _first_answers(
    answers: Sequence[Sequence[str]],
    targets: TitleTargets,
    similarity: NDArray[np.floating[Any]] | None,
) -> list[str]:
    cases = len(targets.titles)
    if not cases:
        raise DataError("there is no case to judge titles on: the split gave no user a target")
    given = {"answers": len(answers), "users": len(targets.users)}
    if similarity is not None:
        given["similarity"] = len(similarity)
    for name, count in given.items():
        if count != cases:
            raise InputError(f"{name} of {count} cases for {cases} targets: give one for each")
    for case, titles in enumerate(answers):
        if isinstance(titles, str) or not len(titles):
            raise InputError(
                f"answers of case {case}: {titles!r} is not a list of one or more titles; "
                "write [''] where nothing was written"
            )
    return [titles[0] for titles in answers]


def _confidence(
    statistics: NDArray[np.int64],
    per_case: dict[str, NDArray[np.float64]],
    users: NDArray[np.int64],
    bootstrap: Bootstrap,
) -> dict[str, tuple[float, float]]:
    """Return both ends of BLEU and of every mean over cases, all from the same samples of users."""
    values = np.column_stack([statistics, *per_case.values()]).astype(np.float64)
    sums = resampled_sums(values, users, bootstrap)
    width = statistics.shape[1]
    bleus = np.array([bleu_of_sums(row) for row in sums[:, :width]])
    samples = np.column_stack([bleus, sums[:, width:-1] / sums[:, -1:]])
    low, high = interval(samples, bootstrap).tolist()
    return dict(zip(["bleu", *per_case], zip(low, high, strict=True), strict=True))
