"""Building of semantic IDs from a catalog, by an item tokenizer of vectors or an indexing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.data.histories import Split
from genrec.semantic_ids.base import CONFIG, ItemTokenizer
from genrec.semantic_ids.collisions import Policy
from genrec.semantic_ids.indexing.indexing import ItemIndexing
from genrec.semantic_ids.indexing.settings import IndexingSettings
from genrec.semantic_ids.kinds import load_item_tokenizer, make_item_tokenizer
from genrec.semantic_ids.quality import QualityReport, quality
from genrec.semantic_ids.semantic_ids import SemanticIds
from genrec.semantic_ids.settings import AnyItemTokenizerSettings

__all__ = [
    "AnyItemTokenizer",
    "build_semantic_ids",
    "codes_before",
    "fit_any",
    "load_any",
    "measure_ids",
]

AnyItemTokenizer: TypeAlias = ItemTokenizer | ItemIndexing


def fit_any(
    settings: AnyItemTokenizerSettings,
    vectors: NDArray[np.float32],
    catalog: Catalog,
    split: Split,
    collaborative: NDArray[np.float32] | None = None,
) -> AnyItemTokenizer:
    """Fit the item tokenizer that the settings describe.

    Args:
        settings: of any kind.
        vectors: `(N, D)`, read unless the kind is an indexing.
        catalog: the N items, read by an indexing.
        split: its training part is read by an indexing.
        collaborative: `(N, C)` that codes are to agree with, made from the training part.

    Raises:
        InputError: the data cannot be fitted with these settings.
    """
    if isinstance(settings, IndexingSettings):
        return ItemIndexing(settings).fit(catalog, split)
    return make_item_tokenizer(settings).fit(vectors, collaborative)


def load_any(folder: str | Path) -> AnyItemTokenizer:
    """Read an item tokenizer or indexing of whichever kind `folder` holds.

    Raises:
        RecommenderError: the folder is incomplete or names a kind that does not exist.
    """
    try:
        config = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
        is_indexing = "paths" in config
    except (OSError, ValueError, TypeError):
        is_indexing = False  # the other reader says what is wrong with the file
    return ItemIndexing.load(folder) if is_indexing else load_item_tokenizer(folder)


def build_semantic_ids(
    tokenizer: AnyItemTokenizer,
    catalog: Catalog,
    vectors: NDArray[np.float32],
    policy: Policy = "nearest_free",
) -> SemanticIds:
    """Give every item of the fitted catalog its semantic ID; an indexing needs no policy.

    Raises:
        InputError: there are more items than tuples, or the item tokenizer was fitted on others.
    """
    if isinstance(tokenizer, ItemIndexing):
        return tokenizer.semantic_ids(catalog)
    return SemanticIds.build(catalog.item_ids, vectors, tokenizer, policy, catalog.titles)


def codes_before(
    tokenizer: AnyItemTokenizer, ids: SemanticIds, vectors: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Return the codes `(N, L)` that the items had before collisions were resolved."""
    return ids.codes if isinstance(tokenizer, ItemIndexing) else tokenizer.encode(vectors)


def measure_ids(
    tokenizer: AnyItemTokenizer,
    ids: SemanticIds,
    vectors: NDArray[np.float32],
    catalog: Catalog,
    split: Split,
) -> QualityReport:
    """Measure semantic IDs on the catalog's categories and the training part of the log."""
    return quality(
        ids,
        codes_before(tokenizer, ids, vectors),
        vectors,
        tokenizer if isinstance(tokenizer, ItemTokenizer) else None,
        catalog.labels(),
        catalog.titles,
        split.train,
    )
