"""Inspection: what a recommender is made of, and how good its semantic IDs are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from genrec.semantic_ids.building import measure_ids
from genrec.semantic_ids.churn import churn
from genrec.semantic_ids.families import families
from genrec.semantic_ids.neighborhoods import neighborhoods

if TYPE_CHECKING:
    from genrec.recommender.fitted_recommender import FittedRecommender
    from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = ["inspect_recommender"]


def inspect_recommender(
    recommender: FittedRecommender, against: SemanticIds | None = None
) -> dict[str, Any]:
    """Collect facts, costs and the quality of the semantic IDs as plain values.

    Args:
        recommender: what to look at.
        against: semantic IDs of another recommender, to see what changed since.
    """
    settings, catalog = recommender.settings, recommender.catalog
    ids, tokenizer = recommender.semantic_ids, recommender.item_tokenizer
    vectors = recommender.vectorizer.vectors(catalog, settings)
    report = measure_ids(tokenizer, ids, vectors, catalog, recommender.split)
    own = ids.codes[:, : len(tokenizer.codebook_sizes)]
    return {
        "items": len(catalog),
        "users": len(recommender.log.histories),
        "interactions": len(recommender.log),
        "encoder": settings.encoder.name,
        "item_tokenizer": tokenizer.kind,
        "codebook_sizes": list(ids.codebook_sizes),
        "collision_policy": ids.policy,
        "backbone": settings.language_model.backbone,
        "quality": report.to_json(),
        "failures": settings.gate.failures(report),
        "neighbors": asdict(neighborhoods(own, vectors)),
        "families": [asdict(family) for family in families(ids.codes, catalog.titles)],
        "churn": None if against is None else asdict(churn(ids, against)),
        "parameters": recommender.language_model.parameters()[1],
        "fit": recommender.metrics,
    }
