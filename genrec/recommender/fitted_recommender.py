"""Fitted recommender: a catalog with semantic IDs, and what ranks it; the core of the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, fields, replace
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.data.histories import Histories, Split
from genrec.decoding import BeamSearch, Trie
from genrec.evaluation.ranking import Ranking
from genrec.language_model import LanguageModel
from genrec.language_model.likeness import Likeness
from genrec.language_model.pointing import NAMED, Pointing
from genrec.recommender.catalog import FittedCatalog
from genrec.recommender.components import KINDS, joined, weights_of, with_weights
from genrec.recommender.memory import compare_texts
from genrec.recommender.mixture import Component, Share, mix_in_turn, mixed_scores, named_by
from genrec.recommender.nearest_items import NearestItems
from genrec.recommender.query import QueryWords
from genrec.recommender.reranker import DEPTH, Reranker
from genrec.recommender.settings import FitSettings
from genrec.recommender.text_model.model import TextModel

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_matrix

    from genrec.data.interactions import Interactions
    from genrec.language_model.prompts import Renderer
    from genrec.recommender.vectorizer import Vectorizer
    from genrec.semantic_ids.building import AnyItemTokenizer
    from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = ["AnyRecommender", "FittedRecommender"]

_LOG = ("log", "settings.split", "settings.seed")
_READS: dict[str, tuple[str, ...]] = {
    "split": _LOG,
    "renderer": (
        *("language_model", "catalog", "semantic_ids"),
        *("settings.template", "settings.prompts", "settings.tasks"),
    ),
    "nearest_items": ("catalog", "vectorizer"),
    "item_likeness": ("catalog", "settings.template", "item_vectors", "language_model", "device"),
    "components": (
        *(*_LOG, "catalog", "likeness", "text_model"),
        *("settings.template", "settings.memory", "settings.text_model"),
    ),
    "query_words": (*_LOG, "catalog", "settings.template", "settings.query"),
}
"""Cached part -> what it is made of: it holds for a changed recommender as long as none of that changed."""


@dataclass(eq=False)
class FittedRecommender:
    """Ranks a catalog by generating semantic IDs, and by whatever is mixed with that.

    It is what every way of fitting makes and every way of serving asks; people hold the subclass
    `GenerativeRecommender`, which has the verbs. A function that changes one gives back the class it was
    given.

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
        likeness: of the items' texts (see `genrec.recommender.memory`) where it is at hand; else it is
            computed.
        item_vectors: `(N, D)` of the encoder's that the language model reads beside the codes, or its
            pointer; None where neither does.
        text_model: what learned the items' words; None where there is none.
        reranker: orders the mixture's best items anew; None where there is none.
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
    text_model: TextModel | None = None
    reranker: Reranker | None = None
    index: InitVar[Trie | None] = None
    log_probabilities: ClassVar[bool] = True
    """What scores are, for `genrec.evaluation.Ranker`."""

    def __post_init__(self, index: Trie | None) -> None:
        ids, core = self.semantic_ids, self.language_model.core
        trie = Trie.build(ids.codes, ids.codebook_sizes) if index is None else index
        self.trie = trie.to(core.device)
        self.inputs = self.language_model.inputs(ids.codes, self._read_vectors)
        self._search = BeamSearch(
            core, self.language_model.vocabulary, self.trie, self.settings.search, self.inputs
        )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        for part, reads in _READS.items():  # what was made of the old value holds no more
            if name in (read.partition(".")[0] for read in reads):
                vars(self).pop(part, None)

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
        pointed, reranker = self._pointed(histories, allow), self.reranking
        parts = {part.name: part.scores(histories, allow) for part in self.components}
        share = joined(parts, self.settings)
        deny = list(seen or histories) if exclude_seen else None
        widest = max(k, self.settings.search.widest)
        found = self._search.search(
            self._prompts(histories) if prompts is None else prompts,
            # What others lift need not be among the k that the codes expect: then all beams come.
            widest if pointed or share else k,
            allow=allow,
            deny=deny,
        )
        mixing = partial(mix_in_turn, width=widest + NAMED, allow=allow, deny=deny)
        model = mixing(Ranking(*found), pointed, widest + NAMED if share else k)
        if reranker is None:
            return mixing(model, share, k)
        mixed, known = mixing(model, share, max(k, DEPTH)), named_by(model, len(self.catalog))
        return reranker.rank(mixed, known, parts, k)

    def score(
        self,
        histories: Histories,
        items: NDArray[np.int32],
        prompts: list[NDArray[np.int64]] | None = None,
    ) -> NDArray[np.floating]:
        """Score given items `(C, k)` as `rank` scores those that it finds: exactly, `(C, k)`."""
        prompts = self._prompts(histories) if prompts is None else prompts
        scores = self._search.score(prompts, items).astype(np.float64)
        for share in self._pointed(histories, of=items):
            scores = mixed_scores(scores, items, share)
        parts = {part.name: part.scores_of(histories, items) for part in self.components}
        if (reranker := self.reranking) is not None:
            return reranker.scores(reranker.said(items, np.exp(scores), parts))
        for share in joined(parts, self.settings):
            scores = mixed_scores(scores, items, share)
        return scores

    def expected(self, histories: Histories) -> Ranking:
        """What the language model expects, as it recommends: what `rank` mixes with the other components."""
        deny = list(histories) if self.exclude_seen else None
        widest = self.settings.search.widest
        found = Ranking(*self._search.search(self._prompts(histories), widest, deny=deny))
        pointed, width = self._pointed(histories), widest + NAMED
        return mix_in_turn(found, pointed, width, width, deny=deny)

    def _pointed(
        self,
        histories: Histories,
        allow: NDArray[np.int32] | None = None,
        of: NDArray[np.int32] | None = None,
    ) -> list[Share]:
        """What the pointer says, if it has weight: of all items, the allowed, or `(C, k)` given."""
        if (pointing := self.pointing) is None:
            return []
        weight = np.full(len(histories), pointing.weight)
        if of is not None:
            return [Share(pointing.of_items(histories, of), weight)]
        return [Share(pointing.probabilities(histories, allow), weight)]

    @property
    def _read_vectors(self) -> NDArray[np.float16] | None:
        """What the language model reads of the items beside their codes, `(N, D)`; None if nothing."""
        learned = self.settings.language_model.item_vectors == "text_model"
        return self.text_model.vectors if learned and self.text_model else self.item_vectors

    def _prompts(self, histories: Histories) -> list[NDArray[np.int64]]:
        """LM tokens in front of the item to generate, one sequence a history."""
        prefix = np.array(self.language_model.prefix, np.int64)
        newest = histories.last(self.settings.training.max_items)
        encode, codes = self.language_model.vocabulary.encode, self.semantic_ids.codes
        # (n, L) codes of a history -> (P + n L,) tokens
        return [np.concatenate([prefix, encode(codes[history]).ravel()]) for history in newest]

    @property
    def exclude_seen(self) -> bool:
        """Whether it leaves out items of the history, unless a request says otherwise."""
        return self.settings.exclude_seen is not False

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.trie.leaf_item.device

    @cached_property
    def split(self) -> Split:
        """The log as it was cut for the fit: training, validation, test."""
        return self.settings.split.apply(self.log, self.settings.seed)

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

    @cached_property
    def item_likeness(self) -> Likeness:
        """Likeness of the items by the vectors that the language model reads, and by their words."""
        assert self.item_vectors is not None, "a pointer needs the items' vectors"
        texts = self.catalog.texts(self.settings.template)
        return Likeness.of_texts(self.item_vectors, texts, self.language_model.core.device)

    @property
    def pointing(self) -> Pointing | None:
        """What the language model's pointer expects; None where that has no weight."""
        model, weight = self.language_model, self.settings.language_model.pointer_weight
        if model.pointer is None or not weight:
            return None
        codes, longest = self.semantic_ids.codes, self.settings.training.max_items
        return Pointing(model, codes, self.item_likeness, self.inputs, longest, weight)

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """What is mixed with the language model, of every kind that has weight."""
        self._compare_texts()
        weights = weights_of(self.settings)
        made = (kind.make(self) for kind in KINDS if weights[kind.name])
        return tuple(component for component in made if component is not None)

    @property
    def reranking(self) -> Reranker | None:
        """The reranker, if there is one of this mixture: of other weights it knows nothing."""
        found = self.reranker
        return found if found and found.weights == weights_of(self.settings) else None

    @cached_property
    def query_words(self) -> QueryWords:
        """The items' words, and what sold in the training part of the log."""
        counts = np.bincount(self.split.train.items, minlength=len(self.catalog))
        return QueryWords.of(
            self.catalog.texts(self.settings.template), counts, self.settings.query
        )

    def changed(self, **parts: Any) -> Self:
        """The same recommender with other parts (names of attributes); this one stays as it is.

        The tree of the semantic IDs comes along unless they change, and so does every cached part that none
        of the changes touches.
        """
        same_codes = parts.get("semantic_ids", self.semantic_ids) is self.semantic_ids
        new = replace(self, **parts, index=self.trie if same_codes else None)
        for part, reads in _READS.items():
            if part in vars(self) and all(_unchanged(self, new, read) for read in reads):
                vars(new)[part] = vars(self)[part]
        return new

    def alone(self) -> Self:
        """The language model without other components: its codes, and its pointer if it has one."""
        no_weight = {kind.name: 0.0 for kind in KINDS}
        return self.changed(settings=with_weights(self.settings, no_weight))

    def codes_alone(self) -> Self:
        """The codes that the language model writes, without its pointer and other components."""
        return self.alone().with_pointer_weight(0.0)

    def with_pointer_weight(self, weight: float | None) -> Self:
        """The same recommender with that mixture weight of its pointer; None leaves it to validation."""
        chosen = self.settings.language_model.replace(pointer_weight=weight)
        return self.changed(settings=self.settings.replace(language_model=chosen))

    def with_beams(self, beams: int) -> Self:
        """The same recommender, searched with that many beams a level."""
        search = self.settings.search.replace(beams=beams)
        return self.changed(settings=self.settings.replace(search=search))

    def add_items(self, items: Catalog, vectors: Sequence[str | Path] = ()) -> Self:
        """A recommender of a grown catalog: nothing is trained, and this one stays as it is.

        Items that are there keep their semantic IDs. New ones get theirs from vectorizer and item tokenizer
        as they are, their collaborative part from the nearest items by text; where a tuple is held, the new
        item takes another. Counts know nothing of new items, texts do (see `genrec.recommender.memory`).

        Args:
            items: the new ones. A column of the catalog that they lack is missing for them; a row that
                repeats an item of the catalog word for word is passed over.
            vectors: where the fit read vectors of your own: as many files with those of the new items.

        Raises:
            InputError: the columns differ, an id has another text already, or no codes are left for an item.
        """
        fitted, _ = self.fitted_catalog().add(items, vectors)
        return self.changed(**vars(fitted))

    def remove_items(self, item_ids: Sequence[str]) -> Self:
        """A recommender without some items: nothing is trained, and this one stays as it is.

        Their events leave the log, and their codes become free. What is left of the log stays in the part
        of the split that it was in (see `genrec.data.kept_split`). Items added and removed leave no trace.

        Raises:
            InputError: an id is not in the catalog, there is none, or no item would be left.
        """
        fitted, _ = self.fitted_catalog().remove(item_ids)
        return self.changed(**vars(fitted))

    def update_items(
        self,
        items: Catalog,
        vectors: Sequence[str | Path] = (),
        *,
        remove_missing: bool = False,
        recode: bool = False,
    ) -> Self:
        """A recommender whose catalog follows a feed: nothing is trained, and this one stays as it is.

        New items are added as by `add_items`. Of known ones the feed's values are taken over, whatever they
        are (price, stock, title …), and their events and semantic IDs are kept. Queries, conditions and the
        likeness of texts follow at once; the codes, and the vectors that the language model reads, only
        where `recode` says so. A number that is written otherwise (``1.5`` for ``1.50``) is no change.

        Args:
            items: the feed. A column of the catalog that it lacks stays as it is, and so do titles where it
                has none at all.
            vectors: for its new items, where the fit read vectors of your own (see `add_items`).
            remove_missing: whether items that it does not name are removed, and their events with them.
            recode: whether items whose text or image is another get vectors and semantic IDs anew.

        Raises:
            InputError: a column is not the catalog's or of another type, no item would be left, or no codes
                are left for an item.
        """
        fitted, change = self.fitted_catalog().update(
            items, vectors, remove_missing=remove_missing, recode=recode
        )
        nothing = not (change.added or change.removed or change.changed)
        return self if nothing else self.changed(**vars(fitted))

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


AnyRecommender = TypeVar("AnyRecommender", bound=FittedRecommender)
"""The class that is given to a function, and that it gives back."""


def _unchanged(before: FittedRecommender, after: FittedRecommender, part: str) -> bool:
    """Whether a part is the same object, or, of settings, says the same."""
    one, other = (attrgetter(part)(recommender) for recommender in (before, after))
    return one is other or ((part == "device" or part.startswith("settings.")) and one == other)
