"""Weighing: what the parts of a mixture say of the same cases, and the weights that suit these best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Cases
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import pairs, top_k_sparse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Weighing", "clearly_better"]

_STEPS = 10
"""Weights of components are tried in steps of a tenth."""
_DRAWS = 200
"""Draws of the validation cases whose best weights are averaged."""
_ERRORS = 2
"""Standard errors that make a difference."""
_LEAST_SHARE = 0.005
"""A weight below it is none."""
_ROUNDING = 1e-9
"""What weights that sum to 1 may leave."""
_NAMED = 200
"""The best items of each component that are looked at: others are never among the best of a mixture."""


@dataclass(frozen=True)
class Weighing:
    """The same cases under any weights: what each component gives the target and its rivals.

    An entry is an item that some component names for a case. Rows stand one behind the other.

    Attributes:
        names: of the components, in the order of `probabilities`; the language model is the last column.
        probabilities: `(E, K + 1)` of each entry, seen items left out where they may not be recommended. In
            a row where a component knows nothing, it says what the language model does.
        starts: `(C + 1,)` where the entries of each case begin, and where the last one ends.
        targets: `(C,)` entry of the target, -1 where nobody names it.
        k: cut-off.
    """

    names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    starts: NDArray[np.int64]
    targets: NDArray[np.int64]
    k: int = 10

    @classmethod
    def of(
        cls,
        model: Ranking,
        parts: Mapping[str, csr_matrix],
        cases: Cases,
        exclude_seen: bool,
    ) -> Weighing:
        """Put what the language model ranks beside what the components expect, `(C, N)` each."""
        shape = (len(cases), next((part.shape[1] for part in parts.values()), _items(model)))
        named = model.items >= 0
        row, item = np.nonzero(named)[0], model.items[named].astype(np.int64)
        columns = [part.tocoo() for part in parts.values()]
        keys = [c.row.astype(np.int64) * shape[1] + c.col for c in columns]
        keys.append(row * shape[1] + item)
        values = [c.data for c in columns]
        values.append(np.exp(model.scores[named].astype(np.float64)))
        likely = [_likeliest(part, cases, exclude_seen) for part in parts.values()]
        entries = np.unique(np.concatenate([*likely, keys[-1]]))
        if exclude_seen:
            entries = entries[~np.isin(entries, pairs(cases.histories, shape[1]))]
        table = np.zeros((len(entries), len(keys)))
        for place, (key, value) in enumerate(zip(keys, values, strict=True)):
            where = np.searchsorted(entries, key)
            where[where == len(entries)] = 0
            kept = entries[where] == key if len(entries) else np.zeros(len(key), np.bool_)
            table[where[kept], place] = value[kept]
        case = entries // shape[1]
        for place, part in enumerate(parts.values()):
            empty = (np.diff(part.indptr) == 0)[case]
            table[empty, place] = table[empty, -1]
        wanted = np.arange(len(cases)) * shape[1] + cases.targets
        found = np.searchsorted(entries, wanted)
        there = found < len(entries)
        there[there] = entries[found[there]] == wanted[there]
        starts = np.searchsorted(case, np.arange(len(cases) + 1))
        return cls(tuple(parts), table, starts, np.where(there, found, -1))

    @classmethod
    def concatenate(cls, some: Sequence[Weighing]) -> Weighing:
        """Put the cases of one or more below each other."""
        shifts = np.cumsum([0, *(len(one.probabilities) for one in some)])
        starts = [one.starts[:-1] + shift for one, shift in zip(some, shifts, strict=False)]
        targets = [
            np.where(one.targets >= 0, one.targets + shift, -1)
            for one, shift in zip(some, shifts, strict=False)
        ]
        table = np.concatenate([one.probabilities for one in some])
        ends = np.concatenate([*starts, shifts[-1:]])
        return replace(some[0], probabilities=table, starts=ends, targets=np.concatenate(targets))

    def ndcg(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """The ndcg@k `(C,)` of the mixture; what the weights leave to 1 is the language model's."""
        scores = self.probabilities @ self.vector(weights)  # (E, K + 1) -> (E,)
        return METRICS["ndcg"](self._ranks(scores), self.k)

    def vector(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """Weights of the columns of `probabilities`, `(K + 1,)`."""
        vector = np.array([*(weights.get(name, 0.0) for name in self.names), 0.0])
        rest = 1 - vector.sum()
        vector[-1] = rest if rest > _ROUNDING else 0.0
        return vector

    def _ranks(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rank of each target from 0; a target that has no probability is behind all others."""
        own = (
            np.where(self.targets >= 0, scores[self.targets], 0.0) if len(scores) else self.targets
        )
        lengths = np.diff(self.starts)
        better = scores > np.repeat(own, lengths)
        sums = np.concatenate([[0], np.cumsum(better)])
        ranks = sums[self.starts[1:]] - sums[self.starts[:-1]]
        return np.where(own > 0, ranks, np.iinfo(np.int64).max // 2)

    def best(
        self,
        stated: Mapping[str, float | None],
        prior: Mapping[str, float] | None = None,
        *,
        language_model: bool = True,
    ) -> dict[str, float]:
        """The weights under which the cases fare best, steadied.

        All weights in steps of a tenth are tried, 0 of the language model among them. Which ones are best
        hangs on the cases that were drawn, so the cases are drawn again and again, with replacement, and the
        best weights of all draws are averaged (bagging, Breiman 1996).

        Args:
            stated: component -> its weight, None to choose it.
            prior: weights that were chosen before, which stay unless others are clearly better.
            language_model: whether there is one; without it, the weights sum to 1.
        """
        free = [name for name, weight in stated.items() if weight is None]
        fixed = {name: weight for name, weight in stated.items() if weight is not None}
        if not free:
            return fixed
        left = 1 - sum(fixed.values())
        least = 0 if language_model else _STEPS
        steps = product(range(_STEPS + 1), repeat=len(free))
        grid = [step for step in steps if least <= sum(step) <= _STEPS]
        tried = np.array(sorted(grid, key=lambda step: (sum(step), step))) / _STEPS * left
        found = np.stack([self.ndcg(fixed | dict(zip(free, row, strict=True))) for row in tried])
        drawn = _draws(found.shape[1])
        winners = (found @ drawn.T).argmax(axis=0)  # (G, C) @ (C, draws): the first of equally good
        mean = tried[winners].mean(axis=0)
        mean = np.floor(np.where(mean < _LEAST_SHARE, 0.0, mean) * 1000 + 1e-6) / 1000
        if not language_model:
            mean[mean.argmax()] += left - mean.sum()
        chosen = fixed | dict(zip(free, mean.tolist(), strict=True))
        if prior is None:
            return chosen
        before = {name: prior[name] for name in stated}
        return chosen if clearly_better(self.ndcg(chosen), self.ndcg(before)) else before


def _likeliest(part: csr_matrix, cases: Cases, exclude_seen: bool) -> NDArray[np.int64]:
    """Keys, case times N plus item, of the best items of a component."""
    ranked = top_k_sparse(part, _NAMED, excluded=cases.histories if exclude_seen else None)
    rows, places = np.nonzero(ranked.items >= 0)
    keys: NDArray[np.int64] = rows * part.shape[1] + ranked.items[rows, places].astype(np.int64)
    return keys


def _items(model: Ranking) -> int:
    return int(model.items.max(initial=0)) + 1


def _draws(cases: int) -> NDArray[np.float64]:
    """How often each case is drawn, `(draws, C)`."""
    generator = np.random.default_rng(0)
    return generator.multinomial(cases, np.full(cases, 1 / cases), _DRAWS).astype(np.float64)


def clearly_better(scores: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether the same cases fare better by more than two standard errors of their differences, `(C,)` each.

    Of one case nothing is known.
    """
    gain = scores - others
    if len(gain) < 2:
        return False
    return bool(gain.mean() > _ERRORS * gain.std(ddof=1) / math.sqrt(len(gain)))
