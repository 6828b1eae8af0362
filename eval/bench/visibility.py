"""Visibility: how many ranks a product gains by its text, for real users, and after text cleaning.

Some products that sell little leave the recommender, and come back one at a time with another text, as
``genrec items add`` takes them in: codes from the text, likeness of texts, nothing trained. Their rank is
counted for users with histories, for the same users who ask for the bestseller by its title, and among the
text neighbours of that title.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from bench.text_attacks import STRATEGIES, Rival, manipulated
from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.data.catalog import Catalog
from genrec.data.histories import Cases
from genrec.data.text_cleaning import TextCleaning
from genrec.evaluation import Bootstrap, Ranking
from genrec.evaluation.bootstrap import confidence_intervals
from genrec.evaluation.selection import top_k
from genrec.generative_recommender import GenerativeRecommender
from genrec.recommender.answer import answer
from genrec.recommender.request import Request

__all__ = ["TextAttack", "VisibilityRow", "measure_visibility"]

TOP = 10


class TextAttack(Settings):
    """Whose text is changed, for whom it is measured, and how texts are cleaned."""

    products: int = Field(10, ge=1)
    """Products that come back with another text, one at a time, drawn from those that sell least."""
    users: int = Field(200, ge=1)
    """Test users, drawn at random."""
    depth: int = Field(100, ge=TOP)
    """Ranks looked at; a product below counts as the next one."""
    cleanings: dict[str, TextCleaning] = Field(default_factory=lambda: {"default": TextCleaning()})
    """Name -> what is taken out of texts."""
    seed: int = Field(0, ge=0)
    """Of products and users."""


@dataclass(frozen=True)
class VisibilityRow:
    """A strategy, a cleaning, and who ranks.

    Attributes:
        strategy: of `STRATEGIES`. cleaning: of the settings. ranker: who ranks.
        mean: rank of the product, counted from 1, over products and users. median: likewise.
        top: share of users in whose top 10 it stands, with its interval.
        gained: mean ranks gained on the honest text under the same cleaning and ranker, with the interval.
    """

    strategy: str
    cleaning: str
    ranker: str
    mean: float
    median: float
    top: tuple[float, float, float]
    gained: tuple[float, float, float]


def measure_visibility(
    recommender: GenerativeRecommender,
    settings: TextAttack,
    report: Callable[[int], None] = lambda _: None,
) -> list[VisibilityRow]:
    """Add each product with each text under each cleaning, and rank.

    Args:
        recommender: of the whole catalog.
        settings: of the measurement.
        report: called with 1 after each product.

    Raises:
        InputError: too few products sell to take so many away.
    """
    train = recommender.split.train
    sold = np.bincount(train.items, minlength=len(recommender.catalog))
    slow = np.flatnonzero(sold <= np.median(sold))
    if len(slow) < settings.products or settings.products > len(sold) // 2:
        raise InputError(f"products = {settings.products}: this catalog has fewer to take away")
    drawn = np.random.default_rng(settings.seed).choice(slow, settings.products, replace=False)
    rows = recommender.catalog.table.take(pa.array(drawn)).to_pylist()
    rest = recommender.remove_items([row["item_id"] for row in rows])
    bench = _Bench.of(rest, settings)
    found: dict[tuple[str, str, str], list[NDArray[np.int64]]] = {}
    for row in rows:
        with _quietly():
            for key, ranks in bench.ranks(row):
                found.setdefault(key, []).append(ranks)
        report(1)
    return [_row(key, found) for key in found]


@dataclass(frozen=True)
class _Bench:
    """What products are added to, and for whom they are ranked."""

    recommender: GenerativeRecommender
    cases: Cases
    rival: Rival
    settings: TextAttack

    @classmethod
    def of(cls, recommender: GenerativeRecommender, settings: TextAttack) -> _Bench:
        split = recommender.split
        rival = Rival.of(recommender.catalog, split.train, recommender.semantic_ids.codes.tolist())
        return cls(recommender, split.test.draw(settings.users, settings.seed), rival, settings)

    def ranks(self, row: dict[str, Any]) -> Iterator[tuple[tuple[str, str, str], Any]]:
        """The product's rank from 1 for each user, `(C,)`, or for all, `(1,)`, by what is measured."""
        schema = self.recommender.catalog.table.schema
        for name, cleaning in self.settings.cleanings.items():
            cleaned = _cleaned(self.recommender, cleaning)
            for strategy in STRATEGIES:
                text = manipulated(row, strategy, self.rival)
                table = pa.Table.from_pylist([text], schema=schema)
                grown = cleaned.add_items(Catalog.from_table(table))
                for ranker, ranking in self._rankings(grown):
                    yield (strategy, name, ranker), _ranks(ranking, len(grown.catalog) - 1)

    def _rankings(self, grown: GenerativeRecommender) -> Iterator[tuple[str, Ranking]]:
        depth = min(self.settings.depth, len(grown.catalog))
        histories, query = self.cases.histories, self.rival.title
        yield "history", grown.rank(histories, depth, exclude_seen=True)
        if query:
            yield "history and query", answer(grown, histories, Request(depth, query=query))[0]
            fit = grown.query_words.fit(query)
            alike = top_k(np.where(fit > 0, fit, -np.inf)[None], depth)
            yield "query's text neighbours", alike


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep hundreds of added items out of the log."""
    logger = logging.getLogger("genrec.recommender.catalog")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _cleaned(recommender: GenerativeRecommender, cleaning: TextCleaning) -> GenerativeRecommender:
    settings = recommender.settings
    template = settings.template.replace(cleaning=cleaning)
    changed = recommender.changed(
        settings=settings.replace(template=template),
    )
    changed.likeness = recommender.fitted_catalog().likeness
    return changed


def _ranks(ranking: Ranking, item: int) -> NDArray[np.int64]:
    """Where an item stands in each row, from 1; one below the last place where it does not."""
    hits = ranking.items == item
    return np.where(hits.any(axis=1), hits.argmax(axis=1), ranking.k) + 1


def _row(
    key: tuple[str, str, str], found: dict[tuple[str, str, str], list[NDArray[np.int64]]]
) -> VisibilityRow:
    strategy, cleaning, ranker = key
    ranks = np.stack(found[key])
    honest = np.stack(found["as it is", cleaning, ranker])
    values = np.stack([ranks.ravel() <= TOP, (honest - ranks).ravel()], axis=1).astype(np.float64)
    # Where no user has a say, products are what is drawn.
    drawn = np.indices(ranks.shape)[1 if ranks.shape[1] > 1 else 0]
    users = drawn.ravel().astype(np.int64)
    low, high = confidence_intervals(values, users, Bootstrap())
    means = values.mean(axis=0)
    top, gained = ((float(means[i]), float(low[i]), float(high[i])) for i in range(2))
    return VisibilityRow(
        strategy, cleaning, ranker, float(ranks.mean()), float(np.median(ranks)), top, gained
    )
