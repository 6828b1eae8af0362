"""The fitted whole: a catalog with semantic IDs, and the language model that continues histories in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.data.histories import Histories
from genrec.decoding import BeamSearch, Trie
from genrec.evaluation.ranking import Ranking
from genrec.fitted_catalog import FittedCatalog
from genrec.language_model import LanguageModel
from genrec.memory import Memory, compare_texts
from genrec.mixtures import Voice, mix_in_turn, mixed_scores
from genrec.nearest_items import NearestItems
from genrec.pointing import NAMED, Pointing
from genrec.query import QueryWords
from genrec.recommender_folder import open_folder, save_folder
from genrec.request import Request, check_count, check_request
from genrec.settings import FitSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from genrec.data.conditions import Condition
    from genrec.data.interactions import Interactions
    from genrec.language_model.prompts import Renderer
    from genrec.recommendation import Recommendation
    from genrec.semantic_ids.building import AnyItemTokenizer
    from genrec.semantic_ids.semantic_ids import SemanticIds
    from genrec.titles import WritingSettings, WrittenTitle
    from genrec.vectorizer import Vectorizer

__all__ = ["GenerativeRecommender"]


@dataclass(eq=False)
class GenerativeRecommender:
    """Recommends items by generating their semantic IDs; make one with `fit` or `from_pretrained`.

    Attributes:
        catalog: the items.
        semantic_ids: their codes.
        item_tokenizer: what made the codes; or an indexing, which reads no vectors.
        vectorizer: what made the items' vectors.
        language_model: what continues histories.
        settings: everything that was set.
        log: the interactions it was fitted on, for evaluation; without user ids.
        metrics: validation metrics, training curve and costs of the fit.
        data: where catalog and log came from, with their hashes; and how the catalog changed since.
        likeness: of the items' texts (see `genrec.memory`) where it is at hand; else it is computed.
        item_vectors: `(N, D)` that the language model reads beside the codes, if it does.
        index: the prefix tree of the semantic IDs where it is at hand; else it is built. Kept as `trie`.
    """

    catalog: Catalog
    semantic_ids: SemanticIds
    item_tokenizer: AnyItemTokenizer
    vectorizer: Vectorizer
    language_model: LanguageModel
    settings: FitSettings
    log: Interactions
    metrics: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    name: str = "genrec"
    likeness: csr_matrix | None = None
    item_vectors: NDArray[np.float16] | None = None
    index: InitVar[Trie | None] = None
    log_probabilities: ClassVar[bool] = True
    """What scores are, for `genrec.evaluation.Ranker`."""

    def __post_init__(self, index: Trie | None) -> None:
        ids = self.semantic_ids
        trie = Trie.build(ids.codes, ids.codebook_sizes) if index is None else index
        self.trie = trie.to(self.language_model.core.device)
        self.inputs = self.language_model.inputs(ids.codes, self.item_vectors)
        self._search = BeamSearch(
            self.language_model.core,
            self.language_model.vocabulary,
            self.trie,
            self.settings.search,
            self.inputs,
        )

    @classmethod
    def fit(
        cls,
        catalog: Catalog,
        log: Interactions,
        settings: FitSettings | None = None,
        *,
        work: str | Path | None = None,
    ) -> GenerativeRecommender:
        """Fit a recommender on a catalog and its click log.

        Args:
            catalog: the items.
            log: interactions with them.
            settings: anything but the defaults.
            work: a folder for intermediate results; a fit that was interrupted continues from there.
        """
        from genrec.fitting import fit

        return fit(
            catalog, log, settings or FitSettings(), work=None if work is None else Path(work)
        )

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] = (),
        where: Sequence[Condition | str] = (),
        query: str | None = None,
        explain: int = 0,
    ) -> list[list[Recommendation]]:
        """Recommend the `k` most likely next items for each history, for a query in words, or for both.

        Args:
            histories: item ids, oldest first; a history may be empty.
            k: items wanted; a history gets fewer only when the catalog or the filters leave fewer.
            exclude_seen: never return an item of the history.
            allow: the only items that may be returned (such as those in stock).
            deny: items that must not be returned.
            where: conditions that a returned item meets, such as ``["price<20", "brand=Acme|Other"]``
                (see `genrec.data.Condition`).
            query: what is wanted now, in words, such as ``"gift for a gardener"``: it steers, where `where`
                is strict (see `genrec.answering`). Words that fit no item change nothing.
            explain: reasons wanted for each item: the items of the history without which its score would
                fall most (see `genrec.explaining`); 0 for none, which takes less time.

        Returns:
            For each history its recommendations, best first; none where no item passes the filters.

        Raises:
            InputError: `k` is not positive, `explain` is negative, an item id is not in the catalog, a
                condition does not fit the catalog's columns, or the query is blank or too long.
        """
        from genrec.recommending import recommendations

        request = Request(k, exclude_seen, allow, deny, where, query, explain)
        return recommendations(self, histories, request)

    def generate_titles(
        self,
        histories: Sequence[Sequence[str]],
        n: int = 3,
        settings: WritingSettings | None = None,
    ) -> list[list[WrittenTitle]]:
        """Write titles of the product that comes next, each with the real items nearest to it.

        Args:
            histories: item ids, oldest first.
            n: titles for each history.
            settings: how they are written (see `genrec.titles`).

        Raises:
            InputError: the recommender was fitted without a task that writes titles, `n` is not positive,
                or an item id is not in the catalog.
        """
        from genrec.titles import WritingSettings, write_titles

        check_count("n", n, "title")
        check_request(histories, None, ())
        indices = Histories.of([self.catalog.index_of(history) for history in histories])
        return write_titles(self, indices, n, settings or WritingSettings())

    @cached_property
    def renderer(self) -> Renderer:
        """What turns tasks about this catalog into prompts of this language model."""
        from genrec.language_model.prompts import ItemWords, Renderer

        tokenizer = self.language_model.tokenizer
        reserved = [*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens]
        words = ItemWords(self.catalog, self.settings.template, self.settings.prompts, reserved)
        for task in self.settings.tasks.values():
            words.require(task.columns)
        codes = self.semantic_ids.codes
        return Renderer(tokenizer, self.language_model.vocabulary, codes, words)

    @cached_property
    def nearest_items(self) -> NearestItems:
        """Finds items by the likeness of their titles to any text."""
        return NearestItems(self.catalog, self.vectorizer.encoder)

    def rank(
        self,
        histories: Histories,
        k: int,
        *,
        exclude_seen: bool,
        allow: NDArray[np.int32] | None = None,
        prompts: list[NDArray[np.int64]] | None = None,
        seen: Histories | None = None,
    ) -> Ranking:
        """Rank the catalog for histories of catalog indices (see `genrec.evaluation.Ranker`).

        Args:
            histories: C of them; one may be empty.
            k: items wanted.
            exclude_seen: leave out items of the history.
            allow: catalog indices of the only items to rank; None for all.
            prompts: LM tokens in front of the items, C of them; None asks for what follows the histories.
            seen: what `exclude_seen` leaves out, C of them, where that is not what the histories hold.
        """
        voices = self._voices(histories, allow)
        deny = list(seen or histories) if exclude_seen else None
        widest = max(k, self.settings.search.widest)
        found = self._search.search(
            self._prompts(histories) if prompts is None else prompts,
            widest if voices else k,
            allow=allow,
            deny=deny,
        )
        ranking, width = Ranking(*found), widest + NAMED
        return mix_in_turn(ranking, voices, k, width, allow=allow, deny=deny)

    def score(
        self,
        histories: Histories,
        items: NDArray[np.int32],
        prompts: list[NDArray[np.int64]] | None = None,
    ) -> NDArray[np.floating]:
        """Score given items `(C, k)` as `rank` scores those that it finds: exactly, `(C, k)`."""
        scores: NDArray[np.floating] = self._search.score(
            self._prompts(histories) if prompts is None else prompts, items
        )
        for voice in self._voices(histories, of=items):
            scores = mixed_scores(scores, items, *voice)
        return scores

    def expected(self, histories: Histories) -> Ranking:
        """What the language model expects, seen items left out: what `rank` mixes with a memory."""
        deny, widest = list(histories), self.settings.search.widest
        found = Ranking(*self._search.search(self._prompts(histories), widest, deny=deny))
        voices, width = self.alone()._voices(histories), widest + NAMED
        return mix_in_turn(found, voices, width, width, deny=deny)

    def _voices(
        self,
        histories: Histories,
        allow: NDArray[np.int32] | None = None,
        of: NDArray[np.int32] | None = None,
    ) -> list[Voice]:
        """What is mixed in turn with what the codes say: about all items, the allowed, or `(C, k)` given."""
        pointed = [] if self.pointing is None else [self.pointing.voice(histories, allow, of)]
        return pointed if self.memory is None else [*pointed, self.memory.beside(histories)]

    @cached_property
    def pointing(self) -> Pointing | None:
        """What the language model points at; None where that has no weight."""
        if self.language_model.pointer is None or not self.settings.language_model.pointer_weight:
            return None
        return Pointing.of(self)

    @cached_property
    def memory(self) -> Memory | None:
        """Counts of the training part of the log, and likeness of texts; None where they have no weight."""
        if self.settings.memory.silent:
            return None
        self._compare_texts()
        return Memory.of(self._train(), len(self.catalog), self.settings.memory, self.likeness)

    @cached_property
    def query_words(self) -> QueryWords:
        """The items' words, and what sold in the training part of the log."""
        counts = np.bincount(self._train().items, minlength=len(self.catalog))
        return QueryWords.of(
            self.catalog.texts(self.settings.template), counts, self.settings.query
        )

    def add_items(
        self, items: Catalog, vectors: Sequence[str | Path] = ()
    ) -> GenerativeRecommender:
        """A recommender of a grown catalog: nothing is trained, and this one stays as it is.

        Items that are there keep their semantic IDs. New ones get theirs from vectorizer and item tokenizer
        as they are, their collaborative part from the nearest items by text; where a tuple is held, the new
        item takes another. Counts know nothing of new items, texts do (see `genrec.memory`).

        Args:
            items: the new ones. A column of the catalog that they lack is missing for them; a row that
                repeats an item of the catalog word for word is passed over.
            vectors: where the fit read vectors of your own: as many files with those of the new items.

        Raises:
            InputError: the columns differ, an id has another text already, or no codes are left for an item.
        """
        fitted, _ = self.fitted_catalog().add(items, vectors)
        return replace(self, **vars(fitted), index=None)

    def remove_items(self, item_ids: Sequence[str]) -> GenerativeRecommender:
        """A recommender without some items: nothing is trained, and this one stays as it is.

        Their events leave the log, and their codes become free. What is left of the log stays in the part
        of the split that it was in (see `genrec.data.kept_split`). Items added and removed leave no trace.

        Raises:
            InputError: an id is not in the catalog, there is none, or no item would be left.
        """
        fitted, _ = self.fitted_catalog().remove(item_ids)
        return replace(self, **vars(fitted), index=None)

    def transfer(self, catalog: Catalog, log: Interactions | None = None) -> GenerativeRecommender:
        """The same language model on a catalog that it never saw, without training.

        See `genrec.transferring`.

        Args:
            catalog: the new items.
            log: interactions with them, for evaluation and later training; not learned from.

        Raises:
            InputError: the codes of this recommender mean nothing elsewhere, or there are too few of them.
        """
        from genrec.transferring import transfer

        return transfer(self, catalog, log)

    def fitted_catalog(self) -> FittedCatalog:
        """All that follows the catalog: the language model and its metrics do not."""
        self._compare_texts()
        names = (part.name for part in fields(FittedCatalog))
        return FittedCatalog(**{name: getattr(self, name) for name in names})

    def _compare_texts(self) -> None:
        """Find out which texts are alike, if that has weight and is not known."""
        if self.settings.memory.text_weight and self.likeness is None:
            texts = self.catalog.texts(self.settings.template)
            self.likeness = compare_texts(texts, self.settings.memory)

    def alone(self, beams: int | None = None, *, codes_only: bool = False) -> GenerativeRecommender:
        """The language model without its memory (nothing is copied), maybe with another number of beams.

        With `codes_only` its pointer, if it has one, is left out too.
        """
        silent = self.settings.memory.replace(weight=0.0, text_weight=0.0)
        settings = self.settings.replace(memory=silent)
        if codes_only:
            writing = settings.language_model.replace(pointer_weight=0.0)
            settings = settings.replace(language_model=writing)
        if beams is not None:
            settings = settings.replace(search=settings.search.replace(beams=beams))
        return replace(self, settings=settings, index=self.trie)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the recommender folder: whole and verified, or not at all.

        Raises:
            InputError: the folder exists (and `overwrite` is False) or cannot be written.
        """
        save_folder(self, Path(folder), overwrite=overwrite)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: str = "auto",
        dtype: Literal["float32", "bfloat16"] | None = None,
        merged: bool = False,
        base: str | None = None,
    ) -> GenerativeRecommender:
        """Open a recommender folder.

        Args:
            folder: made by `save_pretrained`.
            device: ``auto``, ``cpu``, ``cuda`` …
            dtype: precision in which the language model computes; None as it was trained. ``bfloat16``
                is much faster on processors that have it, and ranks near ties otherwise.
            merged: write a language model's adapter into its weights: a search takes half the time or
                less, and scores differ in the last digits. Nothing to do with a model that has none.
            base: where the pretrained model of an adapter lies now, if not where the fit found it.

        Raises:
            RecommenderError: it is missing, incomplete, altered, or of another format version; or the
                pretrained model of its adapter is.
        """
        return open_folder(cls, Path(folder), device, dtype, merged=merged, base=base)

    def _train(self) -> Histories:
        return self.settings.split.apply(self.log, self.settings.seed).train

    def _prompts(self, histories: Histories) -> list[NDArray[np.int64]]:
        """LM tokens in front of the item to generate, one sequence a history."""
        prefix = np.array(self.language_model.prefix, np.int64)
        newest = histories.last(self.settings.training.max_items)
        encode, codes = self.language_model.vocabulary.encode, self.semantic_ids.codes
        return [np.concatenate([prefix, encode(codes[history]).ravel()]) for history in newest]
