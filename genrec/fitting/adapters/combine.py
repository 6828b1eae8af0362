"""Combination of domain adapters for a catalog that none of them learned.

A transferred recommender (`genrec.recommender.transfer`) has the language model that the adapters were
trained beside; their updates are added to its weights, each with its own weight: equal, by likeness of
texts, or stated. Nothing is trained here: weights learned on the new catalog's log are in
`genrec.fitting.adapters.learn`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.common.errors import InputError
from genrec.fitting.adapters.fit import plain_base
from genrec.fitting.adapters.folder import DomainAdapter
from genrec.fitting.retraining import plain_settings
from genrec.language_model import LanguageModel
from genrec.language_model.domain_adapters import (
    block_count,
    load_loras,
    merge_loras,
    weigh_loras,
)
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.semantic_ids.kmeans import nearest

__all__ = [
    "beside",
    "combine",
    "describe_weights",
    "equal_weights",
    "similar_weights",
]

log = logging.getLogger(__name__)


def combine(
    recommender: AnyRecommender, adapters: Sequence[DomainAdapter], weights: ArrayLike
) -> AnyRecommender:
    """Add adapters to a recommender's language model; an ordinary recommender comes out.

    Args:
        recommender: of any catalog, with the language model that the adapters were trained beside; it stays
            as it is.
        adapters: A of them.
        weights: `(A,)`, or `(A, G)` for a model of G blocks; any finite numbers. 1 alone is that adapter,
            zeros are the base.

    Raises:
        InputError: an adapter belongs to another language model, or the weights do not fit.
    """
    base, adapted = beside(recommender, adapters)
    chosen = _fitting(weights, len(adapters), block_count(adapted))
    weigh_loras(adapted, chosen.tolist())
    record = {
        "base": base,
        "of": [adapter.sha256 for adapter in adapters],
        "weights": describe_weights(adapters, np.asarray(weights)),
    }
    # What was measured does not hold any more; how the base was trained does.
    metrics = {
        k: v for k, v in recommender.metrics.items() if k not in ("validation", "components")
    }
    return recommender.changed(
        language_model=merge_loras(adapted),
        settings=plain_settings(recommender.settings, recommender.settings.training),
        metrics=metrics | {"adapters": record},
    )


def beside(
    recommender: FittedRecommender, adapters: Sequence[DomainAdapter]
) -> tuple[str, LanguageModel]:
    """Put adapters beside a copy of a recommender's language model: its hash, and the copy.

    Raises:
        InputError: there is no adapter, one was trained beside another model, or the model cannot have any.
    """
    if not adapters:
        raise InputError("there is no adapter to combine: give at least one")
    base, plain = plain_base(recommender, "be combined with domain adapters")
    for adapter in adapters:
        if adapter.base != base:
            raise InputError(
                f"{adapter.folder} was trained beside another language model than this recommender's: "
                "combine it with the recommender that it was made for, or with one transferred from that"
            )
    return base, load_loras(plain, [adapter.folder for adapter in adapters])


def equal_weights(adapters: Sequence[DomainAdapter]) -> NDArray[np.float64]:
    """The mean of all: `(A,)`, each ``1 / A``."""
    return np.full(len(adapters), 1 / max(1, len(adapters)))


def similar_weights(
    recommender: FittedRecommender, adapters: Sequence[DomainAdapter]
) -> NDArray[np.float64]:
    """Shares of a catalog's items that are most like each adapter's domain, `(A,)`; they sum to 1.

    Every item votes for the domain that has the centre nearest to its vector. The same domain twice gets
    its votes once.

    Raises:
        InputError: an adapter's domain has vectors of another size.
    """
    vectors = recommender.vectorizer.vectors(recommender.catalog, recommender.settings)
    for adapter in adapters:
        if adapter.centres.shape[1] != vectors.shape[1]:
            raise InputError(
                f"{adapter.folder} knows items by vectors of size {adapter.centres.shape[1]}, and this "
                f"recommender by {vectors.shape[1]}: combine it with the recommender that it was made for"
            )
    owners = np.repeat(np.arange(len(adapters)), [len(adapter.centres) for adapter in adapters])
    votes = owners[nearest(vectors, np.concatenate([adapter.centres for adapter in adapters]))]
    return np.bincount(votes, minlength=len(adapters)) / len(vectors)


def describe_weights(
    adapters: Sequence[DomainAdapter], weights: NDArray[np.floating]
) -> list[dict[str, Any]]:
    """What each adapter weighs, as plain values; and a line of it in the log."""
    rounded = np.round(weights.astype(float), 4).tolist()
    for adapter, weight in zip(adapters, rounded, strict=True):
        log.info("adapter %s weighs %s", adapter.name, weight)
    return [{"adapter": a.name, "weight": w} for a, w in zip(adapters, rounded, strict=True)]


def _fitting(weights: ArrayLike, adapters: int, blocks: int) -> NDArray[np.float64]:
    """The weights as `(A, G)`."""
    given = np.asarray(weights, dtype=np.float64)
    if given.shape not in ((adapters,), (adapters, 1), (adapters, blocks)):
        raise InputError(
            f"weights of shape {given.shape} do not fit {adapters} adapters: give one for each, or one for "
            f"each and every one of {blocks} blocks of layers"
        )
    if not np.isfinite(given).all():
        raise InputError(f"adapters' weights must be finite numbers, not {given.tolist()}")
    return np.broadcast_to(given.reshape(adapters, -1), (adapters, blocks))
