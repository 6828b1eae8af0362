"""Fitted catalog: all of a recommender that follows its catalog, as items come and go.

Nothing is trained. Items that stay keep their semantic IDs; new ones get theirs from the vectorizer and
the item tokenizer as they are, and where a tuple is held already it is the new item that moves. The
language model knows codes and not items, so it stays as it is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.common.manifest import require_unchanged
from genrec.data.catalog import Catalog
from genrec.data.facts import data_facts
from genrec.data.interactions import Interactions
from genrec.data.joining import Joined, join_items
from genrec.decoding.trie import Trie
from genrec.evaluation.baselines.text_graph import without_items
from genrec.recommender.memory import compare_new_texts
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
from genrec.recommender.vectorizer import Vectorizer
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.building import AnyItemTokenizer, load_any
from genrec.semantic_ids.semantic_ids import SemanticIds

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["CatalogChange", "FittedCatalog"]

log = logging.getLogger(__name__)
FILES = (
    "catalog.parquet",
    "trie.safetensors",
    "interactions.parquet",
    "likeness.safetensors",
    "item_vectors.safetensors",
)


@dataclass(frozen=True)
class CatalogChange:
    """What happened to a catalog.

    Attributes:
        added: new items.
        known: rows that repeated an item of the catalog, and were passed over.
        moved: new items whose codes another item held, so that they got others.
        far: those of them that did not even keep their first code.
        removed: items taken out.
        events: interactions with them, which left the log.
        items: size of the catalog afterwards.
    """

    added: int = 0
    known: int = 0
    moved: int = 0
    far: int = 0
    removed: int = 0
    events: int = 0
    items: int = 0

    def write_log(self) -> None:
        """Write it to the log."""
        for line in self.lines():
            log.info("%s", line)

    def lines(self) -> list[str]:
        """The change in words, one sentence each."""
        lines = []
        if self.known:
            lines.append(f"{self.known:,} items were there already, word for word")
        if self.added:
            lines.append(f"{self.added:,} items added, {self.moved:,} of them moved to free codes")
        if self.far:
            lines.append(
                f"{self.far:,} new items found no free code near their own: the semantic IDs fill up, so fit "
                "anew on the grown catalog before long"
            )
        if self.removed:
            lines.append(f"{self.removed:,} items removed, and {self.events:,} events of theirs")
        return [*lines, f"{self.items:,} items in the catalog"]


@dataclass(frozen=True)
class FittedCatalog:
    """A catalog, what gives its items their semantic IDs, and what is known of them.

    Attributes:
        catalog: the items. semantic_ids: their codes. log: the interactions with them.
        item_tokenizer: vectors to codes, or an indexing. vectorizer: items to vectors.
        settings: of the fit.
        likeness: of the items' texts, where it has weight and is at hand.
        data: where catalog and log came from, with their hashes, and every change since.
        item_vectors: `(N, D)` that the language model reads beside the codes, if it does.
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
        )
        moved, far = self._moves(semantic_ids, new_vectors)
        change = CatalogChange(len(joined.new), joined.known, moved, far, items=len(joined.whole))
        return grown._recorded(change), change

    def remove(self, item_ids: Sequence[str]) -> tuple[FittedCatalog, CatalogChange]:
        """Take items out (see `GenerativeRecommender.remove_items`)."""
        gone = np.unique(self.catalog.index_of(item_ids))
        if not len(gone):
            raise InputError("no item to remove: give at least one id")
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
        )
        lost = len(self.log) - len(events)
        change = CatalogChange(removed=len(gone), events=lost, items=len(catalog))
        return reduced._recorded(change), change

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
        changes = [*self.data.get("changes", []), asdict(change)]
        return replace(self, data=self.data | facts | {"changes": changes})
