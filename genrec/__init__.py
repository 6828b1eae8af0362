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
    from genrec.common.errors import GenrecError, InputError
    from genrec.data import Cases, Catalog, Histories, Interactions, SyntheticShop
    from genrec.evaluation import Protocol, Ranking, evaluate
    from genrec.generative_recommender import GenerativeRecommender
    from genrec.recommender.recommend import Recommendation
    from genrec.recommender.settings import FitSettings

_HOME = {
    "Cases": "genrec.data",
    "Catalog": "genrec.data",
    "FitSettings": "genrec.recommender.settings",
    "GenerativeRecommender": "genrec.generative_recommender",
    "GenrecError": "genrec.common.errors",
    "Histories": "genrec.data",
    "InputError": "genrec.common.errors",
    "Interactions": "genrec.data",
    "Protocol": "genrec.evaluation",
    "Ranking": "genrec.evaluation",
    "Recommendation": "genrec.recommender.recommend",
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
