"""Metrics per case, from a ranking and the one item that came next.

Every metric is a function of the target's 0-based rank alone, so a ranking is read once and any number
of cut-offs follow; where scores tie, it is averaged over the tied places (`genrec.evaluation.ties`).
Conventions:

- one target a case: recall@k and hit@k are the same number, as are mrr@k and map@k, and ndcg@k needs no
  ideal ranking;
- a target outside the ranking counts 0 in every metric, as does an empty row;
- cases are never dropped, so a mean over the returned values is the mean over all users counted.

Sources: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques (TOIS 2002), for
ndcg; Voorhees, The TREC-8 question answering track report (1999), for mrr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import pairs

__all__ = [
    "METRICS",
    "Audit",
    "audit",
    "audit_cases",
    "average_precision",
    "coverage",
    "hit",
    "mrr",
    "ndcg",
    "rank_of_target",
    "recall",
]

Ranks = NDArray[np.integer[Any]]


def rank_of_target(ranking: Ranking, targets: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Find each case's target in its row: `(C,)` 0-based ranks, k where it is absent.

    >>> items = np.array([[4, 2, 0], [1, 3, -1]], np.int32)
    >>> ranking = Ranking(items, np.zeros((2, 3), np.float32))
    >>> rank_of_target(ranking, np.array([2, 0])).tolist()
    [1, 3]
    """
    hits = ranking.items == np.asarray(targets)[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), ranking.k).astype(np.int64)


def recall(ranks: Ranks, k: int) -> NDArray[np.float64]:
    """Return 1 where the target is among the first k, else 0, `(C,)`.

    Args:
        ranks: `(C,)` 0-based, of rankings with at least k columns.
        k: the cut-off.

    >>> recall(np.array([0, 2, 3]), k=3).tolist()
    [1.0, 1.0, 0.0]
    """
    return (np.asarray(ranks) < k).astype(np.float64)


def hit(ranks: Ranks, k: int) -> NDArray[np.float64]:
    """Return hit@k: with one target a case, the same as `recall`."""
    return recall(ranks, k)


def ndcg(ranks: Ranks, k: int) -> NDArray[np.float64]:
    """Return ``1 / log2(rank + 2)`` where the target is among the first k, else 0, `(C,)`.

    The best possible gain with one target is 1 (rank 0), so nothing is left to normalise.

    >>> ndcg(np.array([0, 2, 3]), k=3).tolist()
    [1.0, 0.5, 0.0]
    """
    gains: NDArray[np.float64] = recall(ranks, k) / np.log2(np.asarray(ranks) + 2.0)
    return gains


def mrr(ranks: Ranks, k: int) -> NDArray[np.float64]:
    """Return the reciprocal rank ``1 / (rank + 1)`` among the first k, else 0, `(C,)`.

    >>> mrr(np.array([0, 1, 3]), k=3).tolist()
    [1.0, 0.5, 0.0]
    """
    reciprocal: NDArray[np.float64] = recall(ranks, k) / (np.asarray(ranks) + 1.0)
    return reciprocal


def average_precision(ranks: Ranks, k: int) -> NDArray[np.float64]:
    """Return what map@k averages: the precision at the target's place, 0 behind k.

    With one target a case, the precision where it stands is ``1 / (rank + 1)``: the same as `mrr`.
    """
    return mrr(ranks, k)


METRICS: Mapping[str, Callable[[Ranks, int], NDArray[np.float64]]] = MappingProxyType(
    {"recall": recall, "ndcg": ndcg, "mrr": mrr, "hit": hit, "map": average_precision}
)
"""The metrics of a result file, each a mean over cases."""


def coverage(ranking: Ranking, n_items: int, k: int) -> float:
    """Return the share of the catalog that appears in at least one case's first k.

    >>> items = np.array([[0, 1, 2], [1, 0, -1]], np.int32)
    >>> coverage(Ranking(items, np.zeros((2, 3), np.float32)), n_items=8, k=2)
    0.25
    """
    return float(shown(ranking, n_items, k).mean())


def shown(ranking: Ranking, n_items: int, k: int) -> NDArray[np.bool_]:
    """Mark the catalog items that appear in at least one case's first k, `(N,)`."""
    items = ranking.items[:, :k]
    marks = np.zeros(n_items, np.bool_)
    marks[items[(items >= 0) & (items < n_items)]] = True
    return marks


@dataclass(frozen=True)
class Audit:
    """Entries of a ranking that should not be there.

    Attributes:
        invalid: neither a catalog index nor the -1 of a short row.
        duplicates: repetitions of an item that already stands in the row.
        seen: items of the case's own history, where these are excluded.
        entries: all that was returned, sound or not.
    """

    invalid: int = 0
    duplicates: int = 0
    seen: int = 0
    entries: int = 0

    @classmethod
    def of(cls, counts: NDArray[np.integer[Any]]) -> Audit:
        """Add up what `audit_cases` counted, `(C, 4)`."""
        return cls(*(int(count) for count in counts.sum(axis=0)))

    @property
    def total(self) -> int:
        """All violations together; a sound ranker has 0."""
        return self.invalid + self.duplicates + self.seen

    @property
    def rates(self) -> dict[str, float]:
        """Each kind of violation as a share of what was returned."""
        kinds = {"invalid": self.invalid, "duplicates": self.duplicates, "seen": self.seen}
        return {name: count / max(self.entries, 1) for name, count in kinds.items()}

    def __add__(self, other: Audit) -> Audit:
        return Audit(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def audit(ranking: Ranking, histories: Histories, n_items: int, exclude_seen: bool) -> Audit:
    """Count what a ranking must not hold (see `audit_cases`).

    >>> items = np.array([[0, 0, 7], [1, 2, -1]], np.int32)
    >>> ranking = Ranking(items, np.zeros((2, 3), np.float32))
    >>> audit(ranking, Histories.of([[], [2]]), n_items=3, exclude_seen=True)
    Audit(invalid=1, duplicates=1, seen=1, entries=5)
    """
    return Audit.of(audit_cases(ranking.items, histories, n_items, exclude_seen))


def audit_cases(
    items: NDArray[np.integer[Any]], histories: Histories, n_items: int, exclude_seen: bool
) -> NDArray[np.int64]:
    """Count invalid, duplicate and seen entries, and all entries, of every case, `(C, 4)`.

    Args:
        items: `(C, k)`, what was returned.
        histories: the C histories it was made for.
        n_items: size of the catalog.
        exclude_seen: whether items of the history were forbidden.
    """
    filled = items != -1
    valid = (items >= 0) & (items < n_items)
    in_order = np.sort(np.where(valid, items, -1), axis=1)
    repeated = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)
    seen = np.zeros(items.shape, np.bool_)
    if exclude_seen:
        entries = (np.arange(len(items))[:, None] * n_items + items)[valid]
        seen[valid] = np.isin(entries, pairs(histories, n_items))
    kinds = (filled & ~valid, repeated, seen, filled)
    return np.stack([kind.sum(axis=1) for kind in kinds], axis=1)
