"""Fitted catalog: all of a recommender that follows its catalog, as items come and go.

Nothing is trained. Items that stay keep their semantic IDs; new ones get theirs from the vectorizer and
the item tokenizer as they are, and where a tuple is held already it is the new item that moves. The
language model knows codes and not items, so it stays as it is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError, InputError
from genrec.common.manifest import require_unchanged
from genrec.data.catalog import Catalog
from genrec.data.facts import data_facts
from genrec.data.interactions import Interactions
from genrec.data.joining import Feed, Joined, compare_items, join_items
from genrec.decoding.trie import Trie
from genrec.evaluation.baselines.text_graph import without_items
from genrec.recommender.catalog_change import CatalogChange
from genrec.recommender.memory import compare_changed_texts, compare_new_texts
from genrec.recommender.settings import FitSettings
from genrec.recommender.tables import (
    read_items,
    read_likeness,
    read_log,
    read_vectors,
    write_catalog,
    write_likeness,
    write_log,
    write_vectors,
)
from genrec.recommender.text_model.model import VECTORS, TextModel
from genrec.recommender.vectorizer import Vectorizer
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.building import AnyItemTokenizer, load_any
from genrec.semantic_ids.semantic_ids import SemanticIds

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["FittedCatalog"]

log = logging.getLogger(__name__)
FILES = (
    "catalog.parquet",
    "trie.safetensors",
    "interactions.parquet",
    "likeness.safetensors",
    "item_vectors.safetensors",
    VECTORS,
)


@dataclass(frozen=True)
class FittedCatalog:
    """A catalog, what gives its items their semantic IDs, and what is known of them.

    Attributes:
        catalog: the items. semantic_ids: their codes. log: the interactions with them.
        item_tokenizer: vectors to codes, or an indexing. vectorizer: items to vectors.
        settings: of the fit.
        likeness: of the items' texts, where it has weight and is at hand.
        data: where catalog and log came from, with their hashes, and every change since.
        item_vectors: `(N, D)` of the encoder's that the language model reads, if it does.
        text_model: what learned the items' words; None where there is none.
    """

    catalog: Catalog
    semantic_ids: SemanticIds
    item_tokenizer: AnyItemTokenizer
    vectorizer: Vectorizer
    settings: FitSettings
    log: Interactions
    likeness: csr_matrix | None = None
    data: dict[str, Any] = field(default_factory=dict)
    item_vectors: NDArray[np.float16] | None = None
    text_model: TextModel | None = None

    @classmethod
    def read(cls, folder: Path, manifest: dict[str, Any], settings: FitSettings) -> FittedCatalog:
        """Read a recommender folder, all of it but the language model.

        Raises:
            RecommenderError: the folder was replaced since its manifest was read.
        """
        catalog, semantic_ids = read_items(folder / FILES[0], manifest["semantic_ids"])
        found = cls(
            catalog,
            semantic_ids,
            load_any(folder / "item_tokenizer"),
            Vectorizer.load(folder),
            settings,
            read_log(folder / FILES[2], catalog),
            read_likeness(folder / FILES[3]),
            manifest["data"],
            read_vectors(folder / FILES[4]),
            TextModel.load(folder, settings.text_model.shape),
        )
        require_unchanged(folder, manifest)
        return found

    def write(self, folder: Path, trie: Trie | None = None) -> None:
        """Write what other items change into a recommender folder; `trie` where it is at hand."""
        ids = self.semantic_ids
        write_catalog(self.catalog, ids, folder / FILES[0])
        (trie or Trie.build(ids.codes, ids.codebook_sizes)).save(folder / FILES[1])
        write_log(self.log, folder / FILES[2])
        if self.likeness is not None and self.settings.memory.text_weight:
            write_likeness(self.likeness, folder / FILES[3])
        if self.item_vectors is not None:
            write_vectors(self.item_vectors, folder / FILES[4])
        if self.text_model is not None:
            self.text_model.save_items(folder)
        self.vectorizer.save_items(folder)

    def add(
        self, items: Catalog, vectors: Sequence[str | Path] = ()
    ) -> tuple[FittedCatalog, CatalogChange]:
        """Put new items at the end (see `GenerativeRecommender.add_items`)."""
        joined = join_items(self.catalog, items)
        for note in joined.notes:
            log.info("%s: %s", items.report.source, note)
        if not len(joined.new):
            nothing = CatalogChange(known=joined.known, items=len(self.catalog))
            nothing.write_log()
            return self, nothing
        grown, change = self._grown(joined, vectors)
        return grown._recorded(change), change

    def remove(self, item_ids: Sequence[str]) -> tuple[FittedCatalog, CatalogChange]:
        """Take items out (see `GenerativeRecommender.remove_items`)."""
        gone = np.unique(self.catalog.index_of(item_ids))
        if not len(gone):
            raise InputError("no item to remove: give at least one id")
        reduced, change = self._without(gone)
        return reduced._recorded(change), change

    def update(
        self,
        items: Catalog,
        vectors: Sequence[str | Path] = (),
        *,
        remove_missing: bool = False,
        recode: bool = False,
    ) -> tuple[FittedCatalog, CatalogChange]:
        """Follow a feed (see `GenerativeRecommender.update_items`)."""
        after, change = self.follow(items, vectors, remove_missing=remove_missing, recode=recode)
        if after is not self:
            return after._recorded(change), change
        change.write_log()
        return self, change

    def follow(
        self,
        items: Catalog,
        vectors: Sequence[str | Path] = (),
        *,
        remove_missing: bool = False,
        recode: bool = False,
    ) -> tuple[FittedCatalog, CatalogChange]:
        """What `update` makes, with nothing on record and no word of what was done."""
        feed = compare_items(self.catalog, items)
        for note in feed.notes:
            log.info("%s: %s", items.report.source, note)
        after, renewed = self._taken_over(feed, recode)
        missing = feed.missing if remove_missing else feed.missing[:0]
        if len(missing) == len(self.catalog):
            raise DataError(
                "no item of the catalog is in it, so that all would be removed: look at the name of the id "
                "column and at how ids are written there; for other products altogether see genrec transfer",
                source=items.report.source,
                column="item_id",
                value=items.item_ids[0],
            )
        change = CatalogChange.of_feed(self.catalog, feed, missing)
        change = replace(change, recoded=renewed, items=len(self.catalog))
        if len(missing):
            after, less = after._without(missing)
            change = replace(change, removed=less.removed, events=less.events, items=less.items)
        if feed.new is not None:
            after, more = after._grown(join_items(after.catalog, feed.new), vectors)
            change = replace(
                change, added=more.added, moved=more.moved, far=more.far, items=more.items
            )
        return after, change

    def _grown(
        self, joined: Joined, vectors: Sequence[str | Path]
    ) -> tuple[FittedCatalog, CatalogChange]:
        """With new items at the end."""
        self._require_room(len(joined.new))
        vectorizer, new_vectors = self.vectorizer.grown(joined.new, self.settings, vectors)
        semantic_ids = self._numbered(joined.new, new_vectors)
        grown = replace(
            self,
            catalog=joined.whole,
            semantic_ids=semantic_ids,
            vectorizer=vectorizer,
            log=replace(self.log, catalog=joined.whole),
            likeness=self._likeness_with(joined),
            item_vectors=self._vectors_with(new_vectors),
            text_model=self._text_model_with(joined.new),
        )
        moved, far = self._moves(semantic_ids, new_vectors)
        change = CatalogChange(len(joined.new), joined.known, moved, far, items=len(joined.whole))
        return grown, change

    def _without(self, gone: NDArray[np.integer[Any]]) -> tuple[FittedCatalog, CatalogChange]:
        """Without the items of those catalog indices, each named once."""
        if len(gone) == len(self.catalog):
            raise InputError(f"these are all {len(gone):,} items: a recommender needs at least one")
        kept = np.ones(len(self.catalog), np.bool_)
        kept[gone] = False
        catalog = self.catalog.take(np.flatnonzero(kept))
        split = self.settings.split.apply(self.log, self.settings.seed)
        events = self.log.without(kept, catalog, split)
        reduced = replace(
            self,
            catalog=catalog,
            semantic_ids=self.semantic_ids.remove([self.catalog.item_ids[item] for item in gone]),
            vectorizer=self.vectorizer.reduced(np.flatnonzero(kept)),
            log=events,
            likeness=None if self.likeness is None else without_items(self.likeness, kept),
            item_vectors=None if self.item_vectors is None else self.item_vectors[kept],
            text_model=None
            if self.text_model is None
            else self.text_model.reduced(np.flatnonzero(kept)),
        )
        lost = len(self.log) - len(events)
        return reduced, CatalogChange(removed=len(gone), events=lost, items=len(catalog))

    def _taken_over(self, feed: Feed, recode: bool) -> tuple[FittedCatalog, int]:
        """With a feed's values in the columns of known items, and how many items got new codes."""
        if not feed.changed:
            return self, 0
        catalog, touched = feed.catalog, np.flatnonzero(feed.items_changed())
        texts = (
            whole.take(touched).texts(self.settings.template) for whole in (self.catalog, catalog)
        )
        differ = np.array([one != other for one, other in zip(*texts, strict=True)])
        reworded = np.isin(np.arange(len(catalog)), touched[differ])  # (N,)
        after = replace(self, catalog=catalog, log=replace(self.log, catalog=catalog))
        if self.likeness is not None and self.settings.memory.text_weight and reworded.any():
            words = catalog.texts(self.settings.template)
            memory = self.settings.memory
            likeness = compare_changed_texts(self.likeness, words, reworded, memory)
            after = replace(after, likeness=likeness)
        if self.text_model is not None and reworded.any():
            items = np.flatnonzero(reworded)
            old, new = (
                whole.take(items).texts(self.settings.template) for whole in (self.catalog, catalog)
            )
            after = replace(after, text_model=self.text_model.reworded(items, old, new))
        images = feed.changed.get(self.settings.encoder.image_column or "")
        again = np.flatnonzero(reworded if images is None else reworded | images)
        return after._renewed(again) if recode and len(again) else (after, 0)

    def _renewed(self, items: NDArray[np.int64]) -> tuple[FittedCatalog, int]:
        """With vectors and codes made anew for the items of those catalog indices, and how many differ."""
        vectorizer, vectors = self.vectorizer.renewed(self.catalog, items, self.settings)
        some = self.catalog.take(items)
        left = replace(self, semantic_ids=self.semantic_ids.remove(some.item_ids))
        found = left._numbered(some, vectors)
        rest = np.setdiff1d(np.arange(len(self.catalog)), items)
        back = np.argsort(np.concatenate([rest, items]))  # items stand at the end of `found`
        ids = replace(found, item_ids=self.catalog.item_ids, codes=found.codes[back])
        item_vectors = None if self.item_vectors is None else self.item_vectors.copy()
        if item_vectors is not None:
            item_vectors[items] = vectors.astype(np.float16)
        after = replace(self, semantic_ids=ids, vectorizer=vectorizer, item_vectors=item_vectors)
        moved = (ids.codes[items] != self.semantic_ids.codes[items]).any(axis=1)
        return after, int(moved.sum())

    def _require_room(self, new: int) -> None:
        sizes, wanted = self.semantic_ids.codebook_sizes, len(self.catalog) + new
        if math.prod(sizes) < wanted:
            raise InputError(
                f"{wanted:,} items need {wanted:,} different semantic IDs, and the codes that this language "
                f"model knows, {list(sizes)} by level, make only {math.prod(sizes):,}: fit anew on the grown "
                "catalog (genrec fit), or add fewer items"
            )

    def _numbered(self, new: Catalog, vectors: NDArray[np.float32]) -> SemanticIds:
        """Semantic IDs with the new items at the end."""
        if isinstance(self.item_tokenizer, ItemTokenizer):
            return self.semantic_ids.add(new.item_ids, vectors, self.item_tokenizer)
        return self.item_tokenizer.add(self.semantic_ids, new)

    def _moves(self, grown: SemanticIds, vectors: NDArray[np.float32]) -> tuple[int, int]:
        """Count new items that did not get their own codes, and those that did not get the first of them."""
        if not isinstance(self.item_tokenizer, ItemTokenizer):
            return 0, 0
        got, own = grown.codes[len(self.catalog) :], self.item_tokenizer.encode(vectors)
        far = int((got[:, 0] != own[:, 0]).sum())
        return grown.moved - self.semantic_ids.moved, far

    def _vectors_with(self, new: NDArray[np.float32]) -> NDArray[np.float16] | None:
        """What the language model reads, new items included; None where it reads codes alone."""
        if self.item_vectors is None:
            return None
        return np.concatenate([self.item_vectors, new.astype(np.float16)])

    def _text_model_with(self, new: Catalog) -> TextModel | None:
        """The text model with the words of new items; None where there is none."""
        if self.text_model is None:
            return None
        return self.text_model.grown(new.texts(self.settings.template))

    def _likeness_with(self, joined: Joined) -> csr_matrix | None:
        """Likeness of texts, new items included; None where it has no weight or is not at hand."""
        if self.likeness is None or not self.settings.memory.text_weight:
            return None
        texts = joined.whole.texts(self.settings.template)
        return compare_new_texts(self.likeness, texts, self.settings.memory)

    def _recorded(self, change: CatalogChange) -> FittedCatalog:
        """With hashes of the data as it is now, and the change put on record and into the log."""
        change.write_log()
        facts = data_facts(self.catalog, self.log)
        for name, fact in facts.items():
            fact["source"] = self.data.get(name, fact).get("source", fact["source"])
        changes = [*self.data.get("changes", []), change.record()]
        return replace(self, data=self.data | facts | {"changes": changes})
