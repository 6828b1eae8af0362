"""Settings of the indexings; the ``kind`` chooses one."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from genrec.common.config import Settings

__all__ = [
    "AnyIndexingSettings",
    "AnyPathSettings",
    "CategoryIndexingSettings",
    "CategoryPathSettings",
    "CollaborativeIndexingSettings",
    "CollaborativePathSettings",
    "HybridIndexingSettings",
    "IndexingSettings",
    "Order",
    "RandomIndexingSettings",
    "SequentialIndexingSettings",
    "TitleIndexingSettings",
    "TitlePathSettings",
]

Order: TypeAlias = Literal["sequential", "catalog", "random"]


class CategoryPathSettings(Settings):
    """Codes by category: one a level of the category tree, from the top."""

    kind: Literal["category"] = "category"
    """Names this path among the others."""
    column: str = "categories"
    """Column of category paths (lists, or ``A|B|C``), or of single values such as brands."""
    levels: int = Field(default=4, ge=1)
    """Most levels of the tree that get a code; one that nearly all items share gets none of its own."""
    names: int = Field(default=4096, ge=1)
    """Most categories a level that have a code of their own; rarer ones share code 0."""


class TitlePathSettings(Settings):
    """Codes by title: one for each of its first words."""

    kind: Literal["title"] = "title"
    """Names this path among the others."""
    levels: int = Field(default=3, ge=1)
    """Words of a title that get a code."""
    names: int = Field(default=1024, ge=1)
    """Most words a level that have a code of their own; rarer ones share code 0."""


class CollaborativePathSettings(Settings):
    """Codes by behaviour: clusters of the co-occurrence graph, and clusters within them."""

    kind: Literal["collaborative"] = "collaborative"
    """Names this path among the others."""
    branches: int = Field(default=32, ge=2)
    """Most clusters that a cluster is cut into: the codes of one level."""
    group: int = Field(default=32, ge=1)
    """Most items in a cluster that is cut no further."""
    window: int = Field(default=5, ge=1)
    """Two items of a history count together when at most this many steps apart, by 1 / steps."""
    seed: int = 0
    """Fixes eigenvectors and k-means."""


def _by_word(value: Any) -> Any:
    """Take the name of a path for one with default settings."""
    return {"kind": value} if isinstance(value, str) else value


AnyPathSettings: TypeAlias = Annotated[
    CategoryPathSettings | TitlePathSettings | CollaborativePathSettings,
    Field(discriminator="kind"),
]
_Path: TypeAlias = Annotated[AnyPathSettings, BeforeValidator(_by_word)]


class IndexingSettings(Settings):
    """How the items of one path are numbered."""

    codes: int = Field(default=256, ge=2)
    """Codes of one digit of the number: so many consecutive numbers share all digits but the last."""
    spare: float = Field(default=1.25, ge=1)
    """How many numbers there are for each item of the largest path: room for items to come."""
    order: Order = "sequential"
    """How items are numbered: as they first appear in the training histories, user after user, and
    then those that do not; as they stand in the catalog; or at random."""
    seed: int = 0
    """Fixes the random order."""

    @property
    def path(self) -> tuple[AnyPathSettings, ...]:
        """What stands before the number."""
        return ()


class RandomIndexingSettings(IndexingSettings):
    """A random number: the floor that every other indexing must beat."""

    kind: Literal["random"] = "random"
    """Names this indexing among the item tokenizers."""
    order: Literal["random"] = "random"
    """Fixed."""


class SequentialIndexingSettings(IndexingSettings):
    """Consecutive numbers in order of first appearance in the training histories."""

    kind: Literal["sequential"] = "sequential"
    """Names this indexing among the item tokenizers."""
    order: Literal["sequential"] = "sequential"
    """Fixed."""


class CategoryIndexingSettings(IndexingSettings, CategoryPathSettings):
    """A path through the category tree, and a number."""

    @property
    def path(self) -> tuple[AnyPathSettings, ...]:
        """The category path."""
        return (self,)


class TitleIndexingSettings(IndexingSettings, TitlePathSettings):
    """A path through the trie of title words, and a number."""

    @property
    def path(self) -> tuple[AnyPathSettings, ...]:
        """The title path."""
        return (self,)


class CollaborativeIndexingSettings(IndexingSettings, CollaborativePathSettings):
    """A path through clusters of the co-occurrence graph, and a number."""

    @property
    def path(self) -> tuple[AnyPathSettings, ...]:
        """The collaborative path."""
        return (self,)


class HybridIndexingSettings(IndexingSettings):
    """Several paths one after the other, and a number."""

    kind: Literal["hybrid"] = "hybrid"
    """Names this indexing among the item tokenizers."""
    paths: tuple[_Path, ...] = Field(
        default=(CategoryPathSettings(levels=2), CollaborativePathSettings()), min_length=1
    )
    """What stands before the number: ``category``, ``title`` or ``collaborative`` by name, or each
    with its settings."""

    @property
    def path(self) -> tuple[AnyPathSettings, ...]:
        """The paths in their order."""
        return self.paths


AnyIndexingSettings: TypeAlias = (
    RandomIndexingSettings
    | SequentialIndexingSettings
    | CategoryIndexingSettings
    | TitleIndexingSettings
    | CollaborativeIndexingSettings
    | HybridIndexingSettings
)
