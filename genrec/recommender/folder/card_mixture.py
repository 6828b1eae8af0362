"""What a model card says of the mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genrec.recommender.components import KINDS
from genrec.recommender.folder.card_words import RETRAINED

if TYPE_CHECKING:
    from genrec.recommender.settings import FitSettings

__all__ = ["fraction", "mixture"]


def mixture(settings: FitSettings, metrics: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Say what each part weighs, how that was chosen, and what it reached.

    Args:
        settings: of the fit. metrics: of ``metrics.json``. data: as in the manifest.
    """
    weights = {kind.title: kind.weight_of(settings) or 0.0 for kind in KINDS}
    weights = {"language model": max(0.0, 1 - sum(weights.values()))} | weights
    said = ", ".join(f"{title} {weight:.2f}" for title, weight in weights.items())
    before = any(kind in metrics for kind in RETRAINED)
    unchosen = "as in the recommender that it was made from" if before else "as set"
    tried = metrics.get("components") or metrics.get("memory")
    chosen = "chosen on validation" if tried else unchosen
    return f"{said}; {chosen}{_without_language_model(tried or {})}{_not_compared(settings, data)}"


def _without_language_model(tried: Mapping[str, float]) -> str:
    """What the language model adds there, as far as that was measured."""
    if not {"mixture", "without_language_model"} <= tried.keys():
        return ""
    whole, without = fraction(tried["mixture"]), fraction(tried["without_language_model"])
    said = f", where its ndcg@10 is {whole}, and {without} at best without the language model"
    if "reranked" not in tried:
        return said
    reranked = fraction(tried["reranked"])
    return f"{said}; ordered anew by a reranker, cases that it was not fitted on get {reranked}"


def _not_compared(settings: FitSettings, data: Mapping[str, Any]) -> str:
    """Why likeness of texts has no weight, if the catalog is too large for it."""
    memory, items = settings.memory, data["items"]["rows"]
    if memory.text_weight or items <= memory.text_items:
        return ""
    return (
        f"; texts of more than {memory.text_items:,} items are not compared (`memory.text_items`)"
    )


def fraction(value: float | None) -> str:
    """Four digits of a metric."""
    return "not defined" if value is None else f"{value:.4f}"
