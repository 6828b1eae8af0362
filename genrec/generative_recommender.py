"""Generative recommender: the class that people hold, a fitted recommender with its verbs.

    fit -> recommend, generate_titles, transfer, add_items, remove_items -> save_pretrained, from_pretrained

What it holds and how it ranks is in `genrec.recommender.fitted_recommender`; each verb is a module of
`genrec.fitting` or `genrec.recommender`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from genrec.recommender.fitted_recommender import FittedRecommender
from genrec.recommender.folder.whole import open_folder, save_folder
from genrec.recommender.recommend import Recommendation, recommend
from genrec.recommender.request import Request, check_count, read_histories
from genrec.recommender.settings import FitSettings
from genrec.recommender.titles import WritingSettings, WrittenTitle, write_titles
from genrec.recommender.transfer import transfer

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog
    from genrec.data.conditions import Condition
    from genrec.data.interactions import Interactions

__all__ = ["GenerativeRecommender"]


class GenerativeRecommender(FittedRecommender):
    """Recommends items by generating their semantic IDs; make one with `fit` or `from_pretrained`.

    Its attributes are those of `FittedRecommender`.
    """

    @classmethod
    def fit(
        cls,
        catalog: Catalog,
        log: Interactions,
        settings: FitSettings | None = None,
        *,
        work: str | Path | None = None,
    ) -> Self:
        """Fit a recommender on a catalog and its click log.

        Args:
            catalog: the items.
            log: interactions with them.
            settings: anything but the defaults.
            work: a folder for intermediate results; a fit that was interrupted continues from there.
        """
        from genrec.fitting.fit import fit  # what trains is not loaded where one only recommends

        folder = None if work is None else Path(work)
        return fit(cls, catalog, log, settings or FitSettings(), work=folder)

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        exclude_seen: bool | None = None,
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
            exclude_seen: never return an item of the history; None is as the fit found right for its log.
            allow: the only items that may be returned (such as those in stock).
            deny: items that must not be returned.
            where: conditions that a returned item meets, such as ``["price<20", "brand=Acme|Other"]``
                (see `genrec.data.Condition`).
            query: what is wanted now, in words, such as ``"gift for a gardener"``: it steers, where `where`
                is strict (see `genrec.recommender.answer`). Words that fit no item change nothing.
            explain: reasons wanted for each item: the items of the history without which its score would
                fall most (see `genrec.recommender.explain`); 0 for none, which takes less time.

        Returns:
            For each history its recommendations, best first; none where no item passes the filters.

        Raises:
            InputError: `k` is not positive, `explain` is negative, an item id is not in the catalog, a
                condition does not fit the catalog's columns, or the query is blank or too long.
        """
        request = Request(k, exclude_seen, allow, deny, where, query, explain)
        return recommend(self, histories, request)

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
            settings: how they are written (see `genrec.recommender.titles`).

        Raises:
            InputError: the recommender was fitted without a task that writes titles, `n` is not positive,
                or an item id is not in the catalog.
        """
        check_count("n", n, "title")
        indices = read_histories(histories, self.catalog)
        return write_titles(self, indices, n, settings or WritingSettings())

    def transfer(self, catalog: Catalog, log: Interactions | None = None) -> Self:
        """The same language model on a catalog that it never saw, without training.

        See `genrec.recommender.transfer`.

        Args:
            catalog: the new items.
            log: interactions with them, for evaluation and later training; not learned from.

        Raises:
            InputError: the codes of this recommender mean nothing elsewhere, or there are too few of them.
        """
        return transfer(self, catalog, log)

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
    ) -> Self:
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
