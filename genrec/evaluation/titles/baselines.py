"""Title baselines, which no model wrote: what a title generator has to beat.

In the KDD Cup on Amazon-M2 the last title of the history was the baseline, and cutting words off its end
was enough for a place among the first ten: sizes, colours and boasts seldom come back, and BLEU's
precision pays for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError, InputError
from genrec.evaluation.titles.metrics import BleuSettings, bleu_of_sums, bleu_statistics

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog
    from genrec.data.histories import Cases

__all__ = ["choose_title_length", "last_titles", "shortened", "top_item_titles"]


def last_titles(cases: Cases, catalog: Catalog) -> list[list[str]]:
    """Answer each of C cases with the title of its history's last item; ``""`` without a history."""
    last = cases.histories.last(1)
    titles, found = catalog.titles, iter(last.items.tolist())
    return [[titles[next(found)]] if length else [""] for length in last.lengths]


def shortened(answers: Sequence[Sequence[str]], words: int) -> list[list[str]]:
    """Keep the first `words` words of every title, cut at white space.

    Raises:
        InputError: `words` is not positive.
    """
    if words < 1:
        raise InputError(f"words = {words!r}: a shortened title keeps at least 1 word")
    return [[" ".join(title.split()[:words]) for title in titles] for titles in answers]


def choose_title_length(
    cases: Cases,
    catalog: Catalog,
    settings: BleuSettings | None = None,
    *,
    most_cases: int = 2000,
) -> int:
    """Return how many leading words of the last title have the highest BLEU; of equals the fewest.

    Every length is tried. Where whole titles are best (BLEU also punishes answers that are shorter than
    the targets together), it is the number of words of the catalog's longest title: nothing is cut.

    Args:
        cases: validation cases, never those that are reported.
        catalog: whose titles.
        settings: which BLEU.
        most_cases: of more cases, as many are taken at even distances. Each word of a case's last title
            costs about a quarter of a millisecond.

    Raises:
        DataError: there is no case.
        InputError: `most_cases` is not positive.
        MissingExtraError: the extra ``eval`` is not installed.
    """
    if not len(cases):
        raise DataError("there is no validation case to choose the length of titles on")
    if most_cases < 1:
        raise InputError(f"most_cases = {most_cases!r}: take at least 1")
    if len(cases) > most_cases:
        cases = cases.take(np.linspace(0, len(cases) - 1, most_cases).astype(np.int64))
    answers = [title for [title] in last_titles(cases, catalog)]
    targets = [catalog.titles[item] for item in cases.targets.tolist()]
    scores = _bleu_by_length(answers, targets, settings or BleuSettings())
    if np.argmax(scores) == len(scores) - 1:
        return max(len(title.split()) for title in catalog.titles)
    return 1 + int(np.argmax(scores))


def _bleu_by_length(answers: list[str], targets: list[str], settings: BleuSettings) -> list[float]:
    """Return BLEU of answers cut to 1, 2, … words, up to the longest's number of them."""
    words = np.array([len(answer.split()) for answer in answers])
    whole = bleu_statistics(answers, targets, settings)
    scores = []
    for length in range(1, max(1, words.max()) + 1):
        statistics, cut = whole.copy(), np.flatnonzero(words > length)
        if len(cut):  # the others are as they were
            short = [title for [title] in shortened([[answers[i]] for i in cut], length)]
            statistics[cut] = bleu_statistics(short, [targets[i] for i in cut], settings)
        scores.append(bleu_of_sums(statistics.sum(axis=0)))
    return scores


def top_item_titles(rankings: NDArray[np.integer], catalog: Catalog, n: int = 1) -> list[list[str]]:
    """Answer each case with the titles of its `n` top recommended items.

    Args:
        rankings: `(C, k)` catalog indices, best first; -1 at the end of a row that has fewer.
        catalog: whose titles.
        n: titles a case, no more than k; fewer where the ranking has fewer, ``""`` where it has none.

    Raises:
        InputError: `rankings` has no n columns, or names an item outside the catalog.
    """
    if rankings.ndim != 2 or not 1 <= n <= rankings.shape[1]:
        raise InputError(
            f"{n} titles a case were asked of rankings of shape {rankings.shape}: give (C, k) items "
            "and 1 to k titles"
        )
    if rankings.size and not -1 <= rankings.min() <= rankings.max() < len(catalog):
        raise InputError(
            f"rankings name items {rankings.min()} to {rankings.max()}, the catalog has 0 to "
            f"{len(catalog) - 1} (and -1 is none)"
        )
    titles = catalog.titles
    rows = rankings[:, :n].tolist()
    return [[titles[item] for item in row if item >= 0] or [""] for row in rows]
