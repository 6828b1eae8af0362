"""Mixture weights: what the pointer and the other components weigh beside the codes, chosen on validation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Cases, Split
from genrec.evaluation.metrics import METRICS, rank_of_target
from genrec.evaluation.ranking import Ranking
from genrec.fitting.repeats import choose_seen
from genrec.fitting.reranking import fit_reranker
from genrec.fitting.weighing import Weighing, clearly_better
from genrec.recommender.components import KINDS, weights_of, with_weights
from genrec.recommender.fitted_recommender import AnyRecommender
from genrec.recommender.memory import compare_texts
from genrec.recommender.mixture import Component, Share, mix
from genrec.recommender.settings import FitSettings

if TYPE_CHECKING:
    pass

__all__ = [
    "UNCHOSEN",
    "best_weight",
    "choose_mixture_weights",
    "choose_pointer_weight",
]

log = logging.getLogger(__name__)

POINTER_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""What `choose_pointer_weight` tries."""
_ASKED = 2000
"""Cases of which the parts are asked together."""
UNCHOSEN = 0.5
"""What the pointer weighs where nothing can be tried."""
W = TypeVar("W")


def choose_mixture_weights(
    recommender: AnyRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[AnyRecommender, dict[str, dict[str, float]]]:
    """Choose on validation what the pointer, then what all other components weigh, unless the settings say.

    Where users come back to items, that is done with seen items left out and with them kept, and the better
    way is the recommender's from now on (see `genrec.fitting.repeats`).

    Args:
        recommender: trained.
        split: its validation cases choose.
        prior: what was chosen before this training, which stays unless something else is clearly better.

    Returns:
        The recommender with these weights, and for ``pointer`` (where there is one) and ``components`` the
        ndcg@10 of what was tried; for ``repeats`` how many targets are, and what each way reached.
    """
    return choose_seen(recommender, split, lambda way: _weighed(way, split, prior))


def _weighed(
    recommender: AnyRecommender, split: Split, prior: FitSettings | None
) -> tuple[AnyRecommender, dict[str, dict[str, float]]]:
    """Choose with seen items left out or kept, as the recommender does (see `choose_mixture_weights`)."""
    tried = {}
    if recommender.language_model.pointer is not None:
        recommender, tried["pointer"] = choose_pointer_weight(recommender, split, prior)
    recommender, tried["components"] = choose_weights(recommender, split, prior)
    return recommender, tried


def choose_pointer_weight(
    recommender: AnyRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[AnyRecommender, dict[str, float]]:
    """Choose the pointer's weight in what the language model expects (see `choose_mixture_weights`)."""
    whole = recommender.settings
    cases = split.valid.draw(whole.validation_users, whole.seed)
    before = None if prior is None else prior.language_model.pointer_weight
    if (
        recommender.language_model.pointer is None
        or whole.language_model.pointer_weight is not None
    ):
        return recommender, {}
    if not len(cases):
        weight = UNCHOSEN if before is None else before
        log.warning("no user has a validation case: the pointer weighs %.2f, good or not", weight)
        return recommender.with_pointer_weight(weight), {}
    seen = recommender.exclude_seen
    codes = recommender.codes_alone().rank(cases.histories, whole.search.widest, exclude_seen=seen)
    pointing = recommender.with_pointer_weight(0.5).pointing
    assert pointing is not None
    expected = pointing.probabilities(cases.histories)
    weights = sorted({*POINTER_WEIGHTS, *([] if before is None else [before])})
    found = {
        weight: mixed_ndcg(codes, Share(expected, np.full(len(cases), weight)), cases, seen)
        for weight in weights
    }
    best = best_weight(found, before)
    tried = {str(weight): round(float(ndcg.mean()), 6) for weight, ndcg in found.items()}
    log.info(
        "the pointer weighs %.2f in the language model: validation ndcg@10 %.4f, codes alone %.4f",
        best,
        tried[str(best)],
        tried["0.0"],
    )
    return recommender.with_pointer_weight(best), tried


def mixed_ndcg(
    model: Ranking, share: Share, cases: Cases, exclude_seen: bool, k: int = 10
) -> NDArray[np.float64]:
    """The ndcg@k `(C,)` of a model mixed with a component, seen items left out or kept."""
    mixed = mix(model, share, k, deny=list(cases.histories) if exclude_seen else None)
    return METRICS["ndcg"](rank_of_target(mixed, cases.targets), k)


def choose_weights(
    recommender: AnyRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[AnyRecommender, dict[str, float]]:
    """Choose what the components weigh beside the language model, unless the settings say it.

    Returns:
        The recommender with these weights and a reranker where that is clearly better, and the validation
        ndcg@10 of the mixture, of the language model alone, of each component alone, of the best mixture
        without a language model, and of the reranker where there is one.
    """
    whole = recommender.settings
    stated = weights_of(whole)
    cases = split.valid.draw(whole.mixture_users, whole.seed)
    if None not in stated.values():
        return recommender, {}
    before = None if prior is None else _filled(stated, weights_of(prior))
    if not len(cases):
        return recommender.changed(settings=with_weights(whole, before or _filled(stated, {}))), {}
    recommender = _compared(recommender)
    weighing = _weighing(recommender, cases, stated)
    known = weighing.names
    asked = {name: weight for name, weight in stated.items() if name in known or weight is not None}
    best = weighing.best(asked, before)
    weights = {kind.name: best.get(kind.name, stated[kind.name] or 0.0) for kind in KINDS}
    reranker, reranked = fit_reranker(weighing, weights, whole.seed)
    tried = _tried(weighing, best) | reranked
    log.info(
        "weights in the mixture: language model %.2f, %s; validation ndcg@10 %s",
        1 - sum(best.values()),
        ", ".join(f"{kind.title} {best.get(kind.name, 0.0):.2f}" for kind in KINDS),
        ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in tried.items()),
    )
    settings = with_weights(whole, weights)
    return recommender.changed(settings=settings, reranker=reranker), tried


def _compared(recommender: AnyRecommender) -> AnyRecommender:
    """The recommender with the likeness of its texts, if that may have weight."""
    settings, catalog = recommender.settings, recommender.catalog
    stated = settings.memory.text_weight
    if stated == 0 or recommender.likeness is not None:
        return recommender
    if stated is None and len(catalog) > settings.memory.text_items:
        log.warning(
            "texts of %s items are not compared, since time grows with the square (memory.text_items is %s): "
            "their likeness has no weight",
            f"{len(catalog):,}",
            f"{settings.memory.text_items:,}",
        )
        return recommender
    likeness = compare_texts(catalog.texts(settings.template), settings.memory)
    return recommender.changed(likeness=likeness)


def _weighing(
    recommender: AnyRecommender, cases: Cases, stated: Mapping[str, float | None]
) -> Weighing:
    """What every part says of the cases, asked of some at a time: rows of counts name thousands of items."""
    components = _components(recommender, stated)
    found = []
    for start in range(0, len(cases), _ASKED):
        some = cases.take(np.arange(start, min(start + _ASKED, len(cases))))
        parts = {name: component.scores(some.histories) for name, component in components.items()}
        model = recommender.expected(some.histories)
        found.append(Weighing.of(model, parts, some, recommender.exclude_seen))
    return Weighing.concatenate(found)


def _components(
    recommender: AnyRecommender, stated: Mapping[str, float | None]
) -> dict[str, Component]:
    """Those that may have weight, by name."""
    found = {}
    for kind in KINDS:
        # Texts that were not compared are too many, or hold no word.
        unknown = kind.name == "texts" and recommender.likeness is None
        component = None if unknown or stated[kind.name] == 0 else kind.make(recommender)
        if component is not None:
            found[kind.name] = component
    return found


def _tried(weighing: Weighing, best: Mapping[str, float]) -> dict[str, float]:
    """The ndcg of the mixture, of each part alone, and of the best mixture without a language model."""
    found = {"mixture": best, "language_model": {}}
    found |= {name: {name: 1.0} for name in weighing.names}
    if weighing.names:
        open_ones: dict[str, float | None] = dict.fromkeys(weighing.names)
        found["without_language_model"] = weighing.best(open_ones, language_model=False)
    return {name: round(float(weighing.ndcg(weights).mean()), 6) for name, weights in found.items()}


def _filled(
    stated: Mapping[str, float | None], others: Mapping[str, float | None]
) -> dict[str, float]:
    """The stated weights, and others where none is stated, as far as the stated ones leave room."""
    free = {name: others.get(name) or 0.0 for name, weight in stated.items() if weight is None}
    left = 1 - sum(weight or 0.0 for weight in stated.values())
    scale = min(1.0, left / total) if (total := sum(free.values())) else 1.0
    return {name: free[name] * scale if w is None else w for name, w in stated.items()}


def best_weight(found: Mapping[W, NDArray[np.float64]], prior: W | None = None) -> W:
    """The weight under which cases fare best on average; of equally good ones the first.

    One that was chosen before, on other data, stays unless the best is clearly better: of a handful of users,
    some weight is always the best by chance.

    Args:
        found: weight -> what each of the same cases got, `(C,)`.
        prior: the weight that was chosen before, one of these; None where there is none.
    """
    best = max(found, key=lambda weight: float(found[weight].mean()))
    if prior is None:
        return best
    return best if clearly_better(found[best], found[prior]) else prior
