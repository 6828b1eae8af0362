"""Catalogs, click logs and how they are split: from the user's files to arrays of integers."""

from genrec.data.catalog import Catalog, CatalogColumns, ItemTemplate
from genrec.data.conditions import Condition
from genrec.data.histories import Cases, Histories, Split
from genrec.data.interactions import InteractionColumns, Interactions, LogPolicy
from genrec.data.reading.readers import ReadReport
from genrec.data.reading.text_format import TextFormat
from genrec.data.split import cold_items, leave_one_out, temporal, user_holdout
from genrec.data.synthetic import SyntheticData, SyntheticShop, generate

__all__ = [
    "Cases",
    "Catalog",
    "CatalogColumns",
    "Condition",
    "Histories",
    "InteractionColumns",
    "Interactions",
    "ItemTemplate",
    "LogPolicy",
    "ReadReport",
    "Split",
    "SyntheticData",
    "SyntheticShop",
    "TextFormat",
    "cold_items",
    "generate",
    "leave_one_out",
    "temporal",
    "user_holdout",
]
