"""Mixture weights: what pointer and memory weigh beside the codes, chosen on validation."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Cases, Split
from genrec.evaluation.metrics import METRICS, rank_of_target
from genrec.evaluation.ranking import Ranking
from genrec.fitting.repeats import choose_seen
from genrec.recommender.fitted_recommender import AnyRecommender
from genrec.recommender.memory import Memory, MemorySettings, compare_texts, join
from genrec.recommender.mixture import Component, mix
from genrec.recommender.settings import FitSettings

__all__ = [
    "UNCHOSEN",
    "best_weight",
    "choose_mixture_weights",
    "choose_pointer_weight",
    "choose_weights",
    "clearly_better",
]

log = logging.getLogger(__name__)

POINTER_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""What `choose_pointer_weight` tries."""
MEMORY_WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""What `choose_weights` tries."""
_MOST = max(MEMORY_WEIGHTS) + 1e-9
"""Most that all of them may weigh together."""
UNCHOSEN = 0.5
"""What the pointer weighs where nothing can be tried."""
_ERRORS = 2
"""Standard errors that make a difference."""
W = TypeVar("W")


def choose_mixture_weights(
    recommender: AnyRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[AnyRecommender, dict[str, dict[str, float]]]:
    """Choose on validation what the pointer, then what the memory weighs, unless the settings say it.

    Where users come back to items, that is done with seen items left out and with them kept, and the better
    way is the recommender's from now on (see `genrec.fitting.repeats`).

    Args:
        recommender: trained.
        split: its validation cases choose.
        prior: what was chosen before this training, which stays unless something else is clearly better.

    Returns:
        The recommender with these weights, and for ``pointer`` (where there is one) and ``memory`` the
        ndcg@10 of every weight tried; for ``repeats`` how many targets are, and what each way reached.
    """
    return choose_seen(recommender, split, lambda way: _weighed(way, split, prior))


def _weighed(
    recommender: AnyRecommender, split: Split, prior: FitSettings | None
) -> tuple[AnyRecommender, dict[str, dict[str, float]]]:
    """Choose with seen items left out or kept, as the recommender does (see `choose_mixture_weights`)."""
    tried = {}
    if recommender.language_model.pointer is not None:
        recommender, tried["pointer"] = choose_pointer_weight(recommender, split, prior)
    recommender, tried["memory"] = choose_memory_weights(recommender, split, prior)
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
        weight: mixed_ndcg(codes, Component(expected, np.full(len(cases), weight)), cases, seen)
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


def choose_memory_weights(
    recommender: AnyRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[AnyRecommender, dict[str, float]]:
    """Choose what the log's counts weigh beside the language model, unless the settings say it.

    Returns:
        The recommender with that weight, and the validation ndcg@10 of every weight tried.
    """
    whole = recommender.settings
    settings = whole.memory
    cases = split.valid.draw(whole.validation_users, whole.seed)
    if None not in (settings.weight, settings.text_weight):
        return recommender, {}
    if not len(cases):
        kept = settings if prior is None else settings.filled(prior.memory)
        unchosen = whole.replace(memory=kept)
        return recommender.changed(settings=unchosen), {}
    model = recommender.expected(cases.histories)
    likeness = compare_texts(recommender.catalog.texts(whole.template), settings)
    memory = Memory.of(split.train, len(recommender.catalog), settings, likeness)
    before = None if prior is None else prior.memory
    seen = recommender.exclude_seen
    chosen, found = choose_weights(model, memory, cases, prior=before, exclude_seen=seen)
    log.info(
        "the log's counts weigh %.2f beside the language model%s: validation ndcg@10 %.4f%s",
        chosen.weight,
        f", likeness of texts {chosen.text_weight:.2f}" if chosen.text_weight else "",
        found[f"{chosen.weight}+{chosen.text_weight}"],
        f", alone {found['0.0+0.0']:.4f}" if "0.0+0.0" in found else "",
    )
    weighted = recommender.changed(settings=whole.replace(memory=chosen), likeness=likeness)
    return weighted, {weights: round(ndcg, 6) for weights, ndcg in found.items()}


def choose_weights(
    model: Ranking,
    memory: Memory,
    cases: Cases,
    k: int = 10,
    prior: MemorySettings | None = None,
    exclude_seen: bool = True,
) -> tuple[MemorySettings, dict[str, float]]:
    """Choose the weights of the best ndcg@k on validation cases; of equally good ones the smallest.

    Args:
        model: `(C, M)`, what the language model ranks for the cases.
        memory: what is mixed with it; weights that its settings state stay as they are.
        cases: their targets and histories.
        k: cut-off.
        prior: weights that were chosen before, which stay unless others are clearly better (see
            `best_weight`).
        exclude_seen: whether the histories' items are not recommended again.

    Returns:
        The settings with both weights, and the ndcg of every pair tried, by ``counts+texts``.
    """
    settings = memory.settings
    parts = [memory.probabilities(cases.histories)]
    if memory.likeness is not None:
        parts.append(memory.text_probabilities(cases.histories))
    counts = MEMORY_WEIGHTS if settings.weight is None else (settings.weight,)
    texts: tuple[float, ...] = (settings.text_weight or 0.0,)
    if settings.text_weight is None and memory.likeness is not None:
        texts = MEMORY_WEIGHTS
    most = max(_MOST, (settings.weight or 0.0) + (settings.text_weight or 0.0))
    tried = {(a, b) for a in counts for b in texts if a + b <= most}
    before = None if prior is None else settings.filled(prior).weights
    tried |= set() if before is None else {before}
    found = {
        pair: mixed_ndcg(model, join(parts, pair), cases, exclude_seen, k)
        for pair in sorted(tried, key=lambda pair: (sum(pair), pair))
    }
    best = best_weight(found, before)
    chosen = settings.replace(weight=best[0], text_weight=best[1])
    return chosen, {f"{a}+{b}": float(ndcg.mean()) for (a, b), ndcg in found.items()}


def mixed_ndcg(
    model: Ranking, component: Component, cases: Cases, exclude_seen: bool, k: int = 10
) -> NDArray[np.float64]:
    """The ndcg@k `(C,)` of a model mixed with a component, seen items left out or kept."""
    mixed = mix(model, component, k, deny=list(cases.histories) if exclude_seen else None)
    return METRICS["ndcg"](rank_of_target(mixed, cases.targets), k)


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


def clearly_better(scores: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether the same cases fare better by more than two standard errors of their differences, `(C,)` each.

    Of one case nothing is known.
    """
    gain = scores - others
    if len(gain) < 2:
        return False
    return bool(gain.mean() > _ERRORS * gain.std(ddof=1) / math.sqrt(len(gain)))
