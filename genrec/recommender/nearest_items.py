"""Nearest items to a written title: what a shop can show beside it.

Titles of the catalog are encoded by the recommender's own text encoder and searched by cosine with
faiss (Douze et al. 2024). Encoders forget word order, case or rare words, so different titles can have one
vector; an item whose title is the very text therefore comes first by name, whatever the vectors say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.data.vectors import unit_rows
from genrec.encoders import TextEncoder, TfidfEncoder
from genrec.evaluation.titles.metrics import normalize_title
from genrec.recommender.request import check_count
from genrec.recommender.vectorizer import encode_texts

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog

__all__ = ["NearestItem", "NearestItems", "NearestItemsSettings"]

_TRAINING_TITLES = 64
"""Titles that each cluster is learned from, at most; faiss asks for 39 at least."""


class NearestItemsSettings(Settings):
    """How items near a text are searched."""

    exact_items: int = Field(default=1_000_000, ge=1)
    """Largest catalog whose titles are all compared; in larger ones those of the nearest clusters are."""
    probed_clusters: int = Field(default=64, ge=1)
    """Clusters looked into, of about ``4 * sqrt(N)``; more find more of the nearest and take longer."""


@dataclass(frozen=True)
class NearestItem:
    """An item near a text.

    Attributes:
        item_id: of the catalog.
        title: its title.
        similarity: cosine of text and title, -1 to 1; 1 where they are equal but for case and spaces.
    """

    item_id: str
    title: str
    similarity: float


@dataclass(eq=False)
class NearestItems:
    """Finds the catalog's items by a text that need not be any item's title.

    Nothing is computed before the first call; from then on the index holds ``4 D`` bytes an item (1 KiB
    for 256 dimensions; twice that while it is built) and the names some 300 bytes more.

    Attributes:
        catalog: the items.
        encoder: a fitted text encoder, such as ``recommender.vectorizer.encoder``; None fits TF-IDF on
            the titles.
        settings: exact up to which size.
    """

    catalog: Catalog
    encoder: TextEncoder | None = None
    settings: NearestItemsSettings = field(default_factory=NearestItemsSettings)

    def search(self, texts: Sequence[str], k: int = 10) -> list[list[NearestItem]]:
        """Return the `k` items nearest to each text.

        Args:
            texts: any number of texts.
            k: items wanted; fewer come where the catalog has fewer, and for a text without a word
                that the encoder knows only items of that very title.

        Returns:
            For each text its items, nearest first: those of the very title, then those whose title
            differs in case or spaces, then by similarity, then in the catalog's order.

        Raises:
            InputError: `k` is not positive, `texts` is one text, or no title holds a word.
        """
        _check_search(texts, k)
        if not len(texts):
            return []
        queries = self._encoded(texts)
        similarities, items = self._index.search(queries, min(k, len(self.catalog)))
        items[~queries.any(axis=1)] = -1  # a vector of zeros is as near to every item
        rows = zip(texts, items.tolist(), similarities.tolist(), strict=True)
        return [self._named(text, found, near, k) for text, found, near in rows]

    def similarity(
        self, texts: Sequence[str], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """Return how near each of C texts is to the title of one item, `(C,)`, as `search` counts it.

        Args:
            texts: C texts; one without a word that the encoder knows has 0.
            items: `(C,)` catalog indices.

        Raises:
            InputError: the two are not as many, or no title holds a word.
        """
        if len(texts) != len(items):
            raise InputError(f"{len(texts)} texts for {len(items)} items: give one for each")
        if not len(texts):
            return np.empty(0)
        names = [normalize_title(self.catalog.titles[item]) for item in items.tolist()]
        pairs = zip(map(normalize_title, texts), names, strict=True)
        equal = np.array([text == name != "" for text, name in pairs])
        titles = self._index.reconstruct_batch(np.asarray(items, np.int64))
        cosines = np.einsum("cd,cd->c", self._encoded(texts), titles, dtype=np.float64)
        return np.where(equal, 1.0, np.clip(cosines, -1, 1))

    def _named(self, text: str, found: list[int], near: list[float], k: int) -> list[NearestItem]:
        titles, name = self.catalog.titles, normalize_title(text)
        same = sorted(self._by_name.get(name, ()), key=lambda item: titles[item] != text)
        similarity = {item: near for item, near in zip(found, near, strict=True) if item >= 0}
        others = sorted(similarity.keys() - set(same), key=lambda i: (-similarity[i], i))
        chosen = [(item, 1.0) for item in same] + [(item, similarity[item]) for item in others]
        return [
            NearestItem(self.catalog.item_ids[item], titles[item], max(-1.0, min(1.0, cosine)))
            for item, cosine in chosen[:k]
        ]

    def _encoded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ascontiguousarray(unit_rows(self._fitted.encode(list(texts))), np.float32)

    @cached_property
    def _fitted(self) -> TextEncoder:
        return TfidfEncoder().fit(self.catalog.titles) if self.encoder is None else self.encoder

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        """Items of each title, its case and spaces aside, in the catalog's order."""
        items: dict[str, list[int]] = {}
        for item, title in enumerate(self.catalog.titles):
            items.setdefault(normalize_title(title), []).append(item)
        return items

    @cached_property
    def _index(self) -> Any:
        """Faiss index of the titles' vectors by inner product, which of unit rows is the cosine."""
        import faiss

        vectors = unit_rows(encode_texts(self._fitted, self.catalog.titles))
        vectors = np.ascontiguousarray(vectors, np.float32)
        flat = faiss.IndexFlatIP(vectors.shape[1])
        if len(vectors) <= self.settings.exact_items:
            flat.add(vectors)
            return flat
        clusters = min(4 * math.isqrt(len(vectors)), max(1, len(vectors) // 39))
        index = faiss.IndexIVFFlat(flat, vectors.shape[1], clusters, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = self.settings.probed_clusters
        index.train(vectors[:: max(1, len(vectors) // (_TRAINING_TITLES * clusters))])
        index.add(vectors)
        index.make_direct_map()  # so that vectors can be read back
        return index


def _check_search(texts: Sequence[str], k: int) -> None:
    if isinstance(texts, str):
        raise InputError(f"texts must be a list of texts, found one: put it in a list, [{texts!r}]")
    check_count("k", k, "item")
