"""Bodies of requests and responses, with the bounds of each field; the OpenAPI document is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genrec.decoding.trie import MAX_CODES
from genrec.recommender.nearest_items import NearestItem
from genrec.recommender.recommend import Recommendation
from genrec.recommender.titles import WrittenTitle

__all__ = [
    "CatalogChange",
    "Found",
    "Health",
    "ItemValues",
    "Items",
    "OneItem",
    "Problem",
    "Recommend",
    "Recommended",
    "Search",
    "Titled",
    "Titles",
    "Tree",
    "TreePlace",
]

MAX_K = 200
MAX_HISTORIES = 256
MAX_HISTORY = 5000
MAX_IDS = 50_000
MAX_CONDITIONS = 32
MAX_TITLES = 20
MAX_REASONS = 10
MAX_EXPLAINED = 16
MAX_ITEMS = 1000
MAX_TEXT = 1000
MAX_CHILDREN = 1000

ItemId = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, examples=["P0001"])]
History = Annotated[list[ItemId], Field(max_length=MAX_HISTORY)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
ItemField = str | int | float | bool | None | list[str]
Hash = Annotated[str, Field(description="Hash of the catalog that answered.")]


class Body(BaseModel):
    """Base of every body: no unknown field, no number in a text's place."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class Asking(Body):
    """One history or many."""

    history: History | None = None
    """One user's item ids, oldest first; may be empty."""
    histories: Annotated[list[History], Field(min_length=1, max_length=MAX_HISTORIES)] | None = None
    """Many users' histories, in place of `history`."""
    unknown_items: Literal["refuse", "drop"] = "refuse"
    """What to do with ids in histories that the catalog lacks."""

    @model_validator(mode="after")
    def _one_or_many(self) -> Asking:
        if (self.history is None) == (self.histories is None):
            raise ValueError("give either history (one user) or histories (many)")
        return self

    @property
    def all_histories(self) -> list[list[str]]:
        """The histories, one or many."""
        return self.histories if self.histories is not None else [self.history or []]


class Recommend(Asking):
    """What to recommend to whom."""

    k: int = Field(10, ge=1, le=MAX_K)
    """Items wanted; fewer come only where fewer pass the filters."""
    exclude_seen: bool | None = None
    """Leave out items of the history; null is as the recommender does, which follows its log."""
    allow: Annotated[list[ItemId], Field(max_length=MAX_IDS)] | None = None
    """The only items that may be returned, such as those in stock."""
    deny: Annotated[list[ItemId], Field(max_length=MAX_IDS)] = []
    """Items never to return."""
    where: Annotated[list[Text], Field(max_length=MAX_CONDITIONS)] = []
    """Conditions on columns of the catalog that every returned item meets."""
    query: Text | None = None
    """What is wanted now, in words: it steers, where `where` is strict."""
    explain: int = Field(0, ge=0, le=MAX_REASONS)
    """Reasons wanted for each item: what of the history raises its score, and by how much. Every item of a
    history costs a search, so at most 16 histories are explained at once."""

    @model_validator(mode="after")
    def _few_to_explain(self) -> Recommend:
        if self.explain and len(self.all_histories) > MAX_EXPLAINED:
            raise ValueError(f"explain goes with at most {MAX_EXPLAINED} histories")
        return self

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"history": ["P0001", "P0002"], "k": 5, "explain": 2},
                {"histories": [["P0001"], []], "k": 3, "exclude_seen": False},
                {
                    "history": ["P0001"],
                    "where": ["price<20", "brand=Acme|Other"],
                    "deny": ["P0002"],
                },
            ]
        }
    )


class Titles(Asking):
    """Titles of the next product to write, for whom."""

    n: int = Field(3, ge=1, le=MAX_TITLES)
    """Titles for each history."""
    mode: Literal["beam", "sample", "grounded"] = "beam"
    """Likeliest titles, drawn ones, or one for each recommended item."""
    seed: int = Field(0, ge=0, lt=1 << 63)
    """Of mode ``sample``."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"history": ["P0001", "P0002"], "n": 3, "mode": "beam"}]}
    )


class Search(BaseModel):
    """Words to look for, and how many items to find."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    q: Text = Field(examples=["trail bike helmet"])
    """Words."""
    k: int = Field(10, ge=1, le=MAX_K, examples=[5])
    """Items wanted."""


class TreePlace(BaseModel):
    """A place in the tree of semantic IDs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prefix: Annotated[str, Field(max_length=100, examples=["3", ""])] = ""
    """First codes of semantic IDs, with commas between; none: the whole catalog."""
    k: int = Field(256, ge=1, le=MAX_CHILDREN, examples=[20])
    """Children wanted, those with most items first."""
    skip: int = Field(0, ge=0, le=MAX_CODES, examples=[0])
    """How many of the first ones to leave out."""


class NewItem(BaseModel):
    """An item with any columns of the catalog."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    __pydantic_extra__: dict[str, ItemField]

    item_id: ItemId
    title: Annotated[str, Field(max_length=MAX_TEXT)] | None = None


class Items(Body):
    """Items to add to the catalog."""

    items: Annotated[list[NewItem], Field(min_length=1, max_length=MAX_ITEMS)]
    """Each with an id of its own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"items": [{"item_id": "N1", "title": "Trail Bike Helmet", "price": 49.9}]}
            ]
        }
    )


class ItemValues(Body):
    """Items with what is to be known of them from now on."""

    items: Annotated[list[NewItem], Field(min_length=1, max_length=MAX_ITEMS)]
    """Each with its id, and the columns that are others now; an item that the catalog lacks is added."""
    recode: bool = False
    """Give items whose text changed semantic IDs anew; else they keep them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"items": [{"item_id": "P0001", "price": 39.9}]},
                {"items": [{"item_id": "P0001", "title": "Trail Bike Helmet"}], "recode": True},
            ]
        }
    )


_HASH = "9f86d081884c7d65"
_ITEM: dict[str, Any] = {"item_id": "P0097", "title": "Trail Bike Helmet"}


class Answer(BaseModel):
    """Base of every answer from a catalog."""

    catalog: Hash


class _Recommendations(BaseModel):
    recommendations: list[Recommendation]


class Recommended(Answer):
    """Recommendations for one history, or in `results` those for each of many; best first."""

    recommendations: list[Recommendation] | None = Field(
        None, description="For `history`; best first."
    )
    results: list[_Recommendations] | None = Field(
        None, description="For each of `histories`, in their order."
    )
    dropped: int = Field(0, description="Unknown ids of histories that were left out.")
    note: str | None = Field(
        None, description="Only where the query changes nothing: its words fit no item's text."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "catalog": _HASH,
                    "recommendations": [_ITEM | {"score": -1.25, "basis": "model"}],
                    "dropped": 0,
                },
                {
                    "catalog": _HASH,
                    "recommendations": [_ITEM | {"score": -1.25, "basis": "model"}],
                    "dropped": 0,
                    "note": "the query 'xyzzy' changes nothing: its words are in no item's text, or in "
                    "most of them",
                },
                {"catalog": _HASH, "results": [{"recommendations": []}], "dropped": 0},
            ]
        }
    )


class _WrittenTitles(BaseModel):
    titles: list[WrittenTitle]


class Titled(Answer):
    """Titles for one history, or in `results` those for each of many; best first."""

    titles: list[WrittenTitle] | None = Field(None, description="For `history`; best first.")
    results: list[_WrittenTitles] | None = Field(
        None, description="For each of `histories`, in their order."
    )
    dropped: int = Field(0, description="Unknown ids of histories that were left out.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "catalog": _HASH,
                    "titles": [
                        {
                            "title": "Bike Helmet",
                            "score": -3.5,
                            "nearest": [_ITEM | {"similarity": 0.9}],
                            "item_id": None,
                        }
                    ],
                    "dropped": 0,
                }
            ]
        }
    )


class Found(Answer):
    """Items whose titles are nearest to the words."""

    items: list[NearestItem]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"catalog": _HASH, "items": [_ITEM | {"similarity": 0.9}]}]}
    )


class OneItem(Answer):
    """All that the catalog holds of an item, and its semantic ID."""

    item: dict[str, Any]
    semantic_id: list[int]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"catalog": _HASH, "item": _ITEM | {"price": 49.9}, "semantic_id": [3, 41]}
            ]
        }
    )


class _Child(BaseModel):
    code: int
    items: int
    titles: list[str]
    item_id: str | None


class Tree(Answer):
    """What lies below a prefix of semantic IDs."""

    prefix: list[int]
    items: int = Field(description="Items below the prefix.")
    levels: int = Field(description="Codes of a semantic ID.")
    children_in_all: int = Field(description="Children of the prefix, listed or not.")
    children: list[_Child] = Field(
        description="Next codes, those with most items first; `item_id` where one item is left."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "catalog": _HASH,
                    "prefix": [3],
                    "items": 1,
                    "levels": 2,
                    "children_in_all": 1,
                    "children": [
                        {
                            "code": 41,
                            "items": 1,
                            "titles": ["Trail Bike Helmet"],
                            "item_id": "P0097",
                        }
                    ],
                }
            ]
        }
    )


class CatalogChange(Answer):
    """What is served after a change."""

    items: int = Field(description="Items of the catalog now.")
    snapshot: int = Field(
        description="1 for the first recommender, one more for each change since."
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"catalog": _HASH, "items": 500, "snapshot": 2}]}
    )


class Health(CatalogChange):
    """That the server answers, and from what."""

    status: Literal["ok"] = "ok"
    version: str = Field(description="Of genrec.")
    unanswered: int = Field(description="Histories that wait or are being searched.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ok",
                    "version": "0.1.0",
                    "catalog": _HASH,
                    "items": 500,
                    "snapshot": 1,
                    "unanswered": 0,
                }
            ]
        }
    )


class Problem(BaseModel):
    """Why a request was not answered: what was given, what is allowed, what to do."""

    error: str

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"error": "k = 0: should be greater than or equal to 1"}]}
    )
