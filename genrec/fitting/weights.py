"""Mixture weights: what pointer and memory weigh beside the codes, chosen on validation."""

from __future__ import annotations

import logging

import numpy as np

from genrec.data.histories import Split
from genrec.recommender.fitted_recommender import AnyRecommender
from genrec.recommender.memory import Memory, choose_weights, compare_texts
from genrec.recommender.mixture import Component, best_weight, mixed_ndcg
from genrec.recommender.settings import FitSettings

__all__ = [
    "POINTER_WEIGHTS",
    "UNCHOSEN",
    "choose_memory_weights",
    "choose_mixture_weights",
    "choose_pointer_weight",
]


log = logging.getLogger(__name__)

POINTER_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""What `choose_pointer_weight` tries."""


UNCHOSEN = 0.5
"""What the pointer weighs where nothing can be tried."""


def choose_mixture_weights(
    recommender: AnyRecommender, split: Split, prior: FitSettings | None = None
) -> tuple[AnyRecommender, dict[str, dict[str, float]]]:
    """Choose on validation what the pointer, then what the memory weighs, unless the settings say it.

    Args:
        recommender: trained.
        split: its validation cases choose.
        prior: what was chosen before this training, which stays unless something else is clearly better.

    Returns:
        The recommender with these weights, and for ``pointer`` (where there is one) and ``memory`` the
        ndcg@10 of every weight tried.
    """
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
    codes = recommender.codes_alone().rank(cases.histories, whole.search.widest, exclude_seen=True)
    pointing = recommender.with_pointer_weight(0.5).pointing
    assert pointing is not None
    expected = pointing.probabilities(cases.histories)
    weights = sorted({*POINTER_WEIGHTS, *([] if before is None else [before])})
    found = {
        weight: mixed_ndcg(codes, Component(expected, np.full(len(cases), weight)), cases)
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
    chosen, found = choose_weights(model, memory, cases, prior=before)
    log.info(
        "the log's counts weigh %.2f beside the language model%s: validation ndcg@10 %.4f%s",
        chosen.weight,
        f", likeness of texts {chosen.text_weight:.2f}" if chosen.text_weight else "",
        found[f"{chosen.weight}+{chosen.text_weight}"],
        f", alone {found['0.0+0.0']:.4f}" if "0.0+0.0" in found else "",
    )
    weighted = recommender.changed(settings=whole.replace(memory=chosen), likeness=likeness)
    return weighted, {weights: round(ndcg, 6) for weights, ndcg in found.items()}
