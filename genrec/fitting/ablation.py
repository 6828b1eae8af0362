"""Ablation: what each part of a recommender brings, alone and by what the whole is worth without it.

Parts are what the language model expects (its codes, and its pointer where that has weight) and every
component that has weight in the mixture; the reranker, which reads them all, has a row without it. Where a
part is left out, the others' weights are chosen and the reranker is fitted anew on the validation cases, in
the way that a fit does it: a whole that lost a part, not one that was never told.
Each part reads each case once, and all rows are mixed from what it said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.evaluation.paired import Difference, paired_differences
from genrec.evaluation.ranking import Ranker, Ranking, chunks
from genrec.evaluation.selection import pairs
from genrec.fitting.reranking import fit_reranker
from genrec.fitting.weighing import Weighing
from genrec.language_model.pointing import NAMED
from genrec.recommender.components import KINDS, weights_of
from genrec.recommender.measure import judge_of
from genrec.recommender.mixture import Share, join, mix, named_by
from genrec.recommender.reranker import DEPTH, Reranker

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from genrec.evaluation.evaluate import Evaluation
    from genrec.evaluation.judge import Judge
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["LANGUAGE_MODEL", "AblationRow", "likeliest", "measure_components"]

LANGUAGE_MODEL = "language_model"
"""Name of the language model among the weights of a row."""
_TEACHER = "text_model"
"""The component that teaches the language model."""
_TITLES = {kind.name: kind.title for kind in KINDS} | {LANGUAGE_MODEL: "language model"}
T = TypeVar("T")
Model = Callable[[Histories, int], Ranking]
"""What stands in the language model's place: log-probabilities of its best items, k of them at least."""


@dataclass(frozen=True)
class AblationRow:
    """Some of the parts, mixed and measured.

    Attributes:
        evaluation: what they reached; its name says which parts they are.
        weights: part -> its share in the mixture.
        differences: metric -> the whole less this row, where the row is the whole without a part.
    """

    evaluation: Evaluation
    weights: dict[str, float]
    differences: dict[str, Difference] | None = None

    @property
    def name(self) -> str:
        """Which parts these are, for tables."""
        return self.evaluation.name

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON document."""
        found = self.differences
        return {
            "name": self.name,
            "weights": self.weights,
            "metrics": self.evaluation.metrics,
            "confidence": {name: list(ends) for name, ends in self.evaluation.confidence.items()},
            "differences": None if found is None else {n: d.to_json() for n, d in found.items()},
        }


def measure_components(
    recommender: FittedRecommender, judge: Judge | None = None, network: Ranker | None = None
) -> list[AblationRow]:
    """Measure the whole, each part alone, and the whole without each part.

    A component alone says nothing where its row is empty. A part that is left out leaves its weight to a new
    choice among the others; without the language model their weights sum to 1.

    Args:
        recommender: what is taken apart.
        judge: on what; None takes the recommender's own test.
        network: another ranker of the same catalog and training part that gives the whole catalog scores
            (such as SASRec), for a row in which it has the language model's place: its scores are made a
            distribution by a softmax over the catalog, and its best items are kept, as many as a search
            keeps beams. Seen items are left out of them where they are for the language model, whose
            probabilities of what passes they do not change either.

    Returns:
        The whole first.

    Raises:
        InputError: the recommender has no log, or no user has a validation case.
    """
    judge = judge_of(recommender) if judge is None else judge
    told = _Told(recommender, judge)
    rows = [_whole(told), *_alone(told), *_without(told), *_not_reranked(told)]
    if network is not None:
        place = f"{network.name} in the language model's place"
        rows.append(told.weighed(place, list(told.components), _in_place(network, told)))
    found = judge.measure_together(rows)
    return [
        AblationRow(
            evaluation,
            row.all_weights,
            paired_differences(found[0], evaluation) if row.rechosen else None,
        )
        for row, evaluation in zip(rows, found, strict=True)
    ]


class _Told:
    """What the parts expect of the histories that were asked about last: it is computed once.

    A tie that is cut asks again, for a few cases and for more items: that is computed as it is asked.
    """

    def __init__(self, recommender: FittedRecommender, judge: Judge) -> None:
        settings = recommender.settings
        self.exclude_seen, self.width = judge.exclude_seen, max(judge.ks) + 1
        self.name, self.pointing = recommender.name, recommender.pointing
        self.components = {part.name: part for part in recommender.components}
        self.widest, self.n_items = settings.search.widest, len(judge.catalog)
        self.reranker, self.seed = recommender.reranking, settings.seed
        weights = weights_of(settings)
        self.weights = {name: weights[name] or 0.0 for name in self.components}
        self.valid = judge.parts.valid.draw(settings.mixture_users, settings.seed)
        self._codes = recommender.codes_alone()
        self._histories: Histories | None = None
        self._found: dict[str, Any] = {}
        if not len(self.valid):
            raise InputError(
                "weights without a part are chosen on validation, and no user has a validation case: use a "
                "split that has some"
            )

    def codes(self, histories: Histories, k: int) -> Ranking:
        """What the language model's codes expect."""
        width = max(k, self.widest)
        return self._once(
            *(histories, k, "codes"),
            lambda: self._codes.rank(histories, width, exclude_seen=self.exclude_seen),
        )

    def model(self, histories: Histories, k: int) -> Ranking:
        """What the language model expects, pointer and all."""
        pointing, codes = self.pointing, self.codes(histories, k)
        if pointing is None:
            return codes
        deny = list(histories) if self.exclude_seen else None

        def mixed() -> Ranking:
            share = Share(
                pointing.probabilities(histories), np.full(len(histories), pointing.weight)
            )
            return mix(codes, share, max(k, self.widest) + NAMED, deny=deny)

        return self._once(histories, k, LANGUAGE_MODEL, mixed)

    def scores(self, name: str, histories: Histories, k: int) -> csr_matrix:
        """What a component expects, `(C, N)`."""
        return self._once(histories, k, name, lambda: self.components[name].scores(histories))

    def weighed(self, name: str, parts: list[str], model: Model | None) -> _Mixed:
        """A row of these parts, with the weights under which the validation cases fare best."""
        weights, reranker = {}, None
        if parts:
            histories = self.valid.histories
            ranked = Ranking.empty(len(self.valid), 1)
            if model is not None:
                ranked = model(histories, self.width)
            scores = {part: self.scores(part, histories, self.width) for part in parts}
            weighing = Weighing.of(ranked, scores, self.valid, self.exclude_seen)
            weights = weighing.best(dict.fromkeys(parts), language_model=model is not None)
            reranker = fit_reranker(weighing, weights, self.seed)[0]
        return _Mixed(name, self, model, weights, reranker, rechosen=True)

    def _once(self, histories: Histories, k: int, name: str, make: Callable[[], T]) -> T:
        if k > self.width:
            return make()
        if histories is not self._histories:
            self._histories, self._found = histories, {}
        if name not in self._found:
            self._found[name] = make()
        found: T = self._found[name]
        return found


@dataclass(frozen=True)
class _Mixed:
    """A ranker that mixes some of the parts.

    Attributes:
        name: for tables. told: what the parts expect.
        model: what stands in the language model's place; None for nothing.
        weights: of the components; the rest to 1 is the model's.
        reranker: of this mixture; None where there is none.
        rechosen: whether the whole had other weights, or another reranker.
    """

    name: str
    told: _Told
    model: Model | None
    weights: Mapping[str, float]
    reranker: Reranker | None = None
    rechosen: bool = False
    log_probabilities: ClassVar[bool] = True

    @property
    def all_weights(self) -> dict[str, float]:
        """Part -> its share in the mixture."""
        rest = {} if self.model is None else {LANGUAGE_MODEL: 1 - sum(self.weights.values())}
        return {name: round(weight, 6) for name, weight in ({**rest, **self.weights}).items()}

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the best k items for each history."""
        model = Ranking.empty(len(histories), k)
        if self.model is not None:
            model = self.model(histories, k)
        weights = {name: weight for name, weight in self.weights.items() if weight}
        if not weights:
            return Ranking(model.items[:, :k], model.scores[:, :k])
        parts = [self.told.scores(name, histories, k) for name in weights]
        share = join(parts, list(weights.values()))
        if self.model is None:
            share = Share(share.distribution, np.ones(len(histories)))
        deny = list(histories) if exclude_seen else None
        if self.reranker is None:
            return mix(model, share, k, deny=deny)
        mixed = mix(model, share, max(k, DEPTH), deny=deny)
        known = named_by(model, self.told.n_items)
        return self.reranker.rank(mixed, known, dict(zip(weights, parts, strict=True)), k)


def _whole(told: _Told) -> _Mixed:
    return _Mixed(told.name, told, told.model, told.weights, told.reranker)


def _not_reranked(told: _Told) -> list[_Mixed]:
    """The mixture as it is, where it has a reranker."""
    if told.reranker is None:
        return []
    return [_Mixed("without the reranker", told, told.model, told.weights, rechosen=True)]


def _alone(told: _Told) -> list[_Mixed]:
    """Each part by itself; of a language model that has a pointer, its codes too."""
    rows = [_Mixed(f"{_TITLES[LANGUAGE_MODEL]} alone", told, told.model, {})]
    if told.pointing is not None:
        rows.append(_Mixed("its codes alone", told, told.codes, {}))
    return rows + [
        _Mixed(f"{_TITLES[name]} alone", told, None, {name: 1.0}) for name in told.components
    ]


def _without(told: _Told) -> list[_Mixed]:
    """The whole without each part, as far as another is left.

    A text model and the language model that it taught know much the same, and stand in for each other where
    one is left out: they have a row without both.
    """
    names = list(told.components)
    rows = [told.weighed(f"without the {_TITLES[LANGUAGE_MODEL]}", names, None)] if names else []
    others = [name for name in names if name != _TEACHER]
    if 0 < len(others) < len(names):
        both = f"without the {_TITLES[LANGUAGE_MODEL]} and the {_TITLES[_TEACHER]}"
        rows.append(told.weighed(both, others, None))
    for name in names:
        others = [other for other in names if other != name]
        rows.append(told.weighed(f"without the {_TITLES[name]}", others, told.model))
    return rows


def _in_place(network: Ranker, told: _Told) -> Model:
    """A ranker of all N items as log-probabilities of its best ones."""

    def model(histories: Histories, k: int) -> Ranking:
        width = max(k, told.widest)
        parts = [Ranking.empty(0, width)]
        for some in chunks(histories, told.n_items):
            ranked = network.rank(some, told.n_items, exclude_seen=False)  # (C, N)
            parts.append(likeliest(ranked, width, some if told.exclude_seen else None))
        return Ranking.concatenate(parts)

    return model


def likeliest(ranked: Ranking, k: int, seen: Histories | None = None) -> Ranking:
    """The k best items by log-probability, `(C, k)`, of scores of the whole catalog, `(C, N)`.

    Args:
        ranked: all items, whose scores a softmax makes probabilities.
        k: columns of the result.
        seen: C sequences of items that are left out, which changes no probability.
    """
    from scipy.special import log_softmax

    C, N = ranked.items.shape
    logs = log_softmax(ranked.scores.astype(np.float64), axis=1).astype(np.float32)
    keep = ranked.items >= 0
    if seen is not None:
        keep &= ~np.isin(np.arange(C)[:, None] * N + ranked.items, pairs(seen, N))
    case, place = np.nonzero(keep)
    return Ranking.of_entries((case, ranked.items[case, place], logs[case, place]), C, k)
