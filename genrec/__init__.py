"""genrec turns a product table and a click log into an LLM recommender that can only name real items.

    from genrec import Catalog, Interactions, GenerativeRecommender

    catalog = Catalog.read("items.parquet")
    log = Interactions.read("interactions.csv", catalog=catalog)
    model = GenerativeRecommender.fit(catalog, log)
    model.recommend([["B004756YJA", "B004ZT0SSG"]], k=10)

Names are imported on first use, so `import genrec` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec.data import Cases, Catalog, Histories, Interactions, SyntheticShop
    from genrec.errors import GenrecError, InputError
    from genrec.evaluation import Protocol, Ranking, evaluate
    from genrec.recommendation import Recommendation
    from genrec.recommender import GenerativeRecommender
    from genrec.settings import FitSettings

_HOME = {
    "Cases": "genrec.data",
    "Catalog": "genrec.data",
    "FitSettings": "genrec.settings",
    "GenerativeRecommender": "genrec.recommender",
    "GenrecError": "genrec.errors",
    "Histories": "genrec.data",
    "InputError": "genrec.errors",
    "Interactions": "genrec.data",
    "Protocol": "genrec.evaluation",
    "Ranking": "genrec.evaluation",
    "Recommendation": "genrec.recommendation",
    "SyntheticShop": "genrec.data",
    "evaluate": "genrec.evaluation",
}

__all__ = [
    "Cases",
    "Catalog",
    "FitSettings",
    "GenerativeRecommender",
    "GenrecError",
    "Histories",
    "InputError",
    "Interactions",
    "Protocol",
    "Ranking",
    "Recommendation",
    "SyntheticShop",
    "evaluate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'genrec' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
