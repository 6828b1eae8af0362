"""Synthetic outdoor shop, whose best possible recommender is known exactly.

Customers buy along planted chains: after a tent comes its groundsheet, more often than not of the
same brand and colour. The next item depends on the attributes that the titles are built from, so a
model that reads them can learn the rule, and none can beat `SyntheticData.best_recall`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.data.catalog import Catalog
from genrec.data.histories import Histories
from genrec.data.interactions import Interactions
from genrec.data.shop_products import TYPES, TYPES_PER_DEPARTMENT, Products, draw_products

__all__ = ["SyntheticData", "SyntheticShop", "generate"]

_CHUNK = 4096  # histories whose (N,) distributions are in memory at once


class SyntheticShop(Settings):
    """Size and seed of a synthetic shop."""

    items: int = Field(500, ge=60, le=2000)
    """Products in the catalog, drawn from 2,400 combinations of brand, type and colour."""
    users: int = Field(2500, ge=10, le=200_000)
    """Customers, each with three or more purchases and no repeats."""
    mean_length: float = Field(8.0, ge=3, le=25)
    """Mean number of purchases of a customer."""
    backwards: bool = False
    """Whether customers buy along the chains from their ends: another law over the same products."""
    seed: int = Field(0, ge=0)
    """Draws catalog and purchases."""


@dataclass(frozen=True, eq=False)
class SyntheticData:
    """A shop, its log, and the law that the log was drawn from.

    Attributes:
        catalog: N items.
        log: the purchases.
        popularity: `(N,)` float64, probability of a customer's first item; sums to 1.
        transitions: `(N, N)` float64, row `i` the probabilities of the item after `i` if nothing
            else had been bought; rows sum to 1, the diagonal is 0.
    """

    catalog: Catalog
    log: Interactions
    popularity: NDArray[np.float64]
    transitions: NDArray[np.float64]

    def next_item_probabilities(self, histories: Histories) -> NDArray[np.float64]:
        """Return the true distribution of the item after each history, `(C, N)` float64.

        It is the last item's transition row without the items already bought, rescaled to sum to 1.
        """
        lengths = histories.lengths
        rows = np.tile(self.popularity, (len(histories), 1))
        last = histories.items[histories.offsets[1:][lengths > 0] - 1]
        rows[lengths > 0] = self.transitions[last]
        rows[np.repeat(np.arange(len(histories)), lengths), histories.items] = 0.0
        rows /= rows.sum(axis=1, keepdims=True)
        return rows

    def best_recall(self, histories: Histories, k: int, at_once: int = _CHUNK) -> float:
        """Return the highest expected recall@k that any recommender can have on these histories.

        It is the mean, over histories, of the sum of the k largest next-item probabilities.

        Args:
            histories: at least one.
            k: cut-off.
            at_once: histories whose `(N,)` probabilities are held together; no result depends on it.

        Raises:
            ValueError: there are no histories, or k is below 1.
        """
        if k < 1 or len(histories) == 0:
            raise ValueError(f"need k >= 1 and histories, found k={k}, {len(histories)} histories")
        total = 0.0
        for start in range(0, len(histories), at_once):
            part = histories.take(np.arange(start, min(start + at_once, len(histories))))
            rows = self.next_item_probabilities(part)
            total += float(np.sort(rows, axis=1)[:, -k:].sum())
        return total / len(histories)

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``items.csv`` and ``interactions.csv`` as a shop would; return their paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        items, interactions = folder / "items.csv", folder / "interactions.csv"
        _write_csv(items, [_flat(row) for row in self.catalog.table.to_pylist()])
        _write_csv(interactions, self._rows())
        return items, interactions

    def _rows(self) -> list[dict[str, Any]]:
        assert self.log.timestamps is not None
        users = np.repeat(np.arange(len(self.log.histories)), self.log.histories.lengths)
        events = zip(users, self.log.histories.items, self.log.timestamps, strict=True)
        user_ids, item_ids = self.log.user_ids, self.catalog.item_ids
        return [
            {"user_id": user_ids[user], "item_id": item_ids[item], "timestamp": int(time)}
            for user, item, time in events
        ]


def generate(shop: SyntheticShop | None = None) -> SyntheticData:
    """Make the shop that the settings describe; the same settings give the same shop."""
    import pyarrow as pa

    shop = shop or SyntheticShop()
    random = np.random.default_rng(shop.seed)
    products = draw_products(random, shop.items)
    catalog = Catalog.from_table(pa.Table.from_pylist(products.rows()), source="synthetic shop")
    popularity = _popularity(random, shop.items)
    transitions = _transitions(products, popularity, _followers(shop.backwards))
    histories = _purchases(random, shop, popularity, transitions)
    users = np.repeat(np.arange(shop.users), histories.lengths)
    names = pa.array([f"C{user:06d}" for user in range(shop.users)])
    log = pa.table(
        {
            "user_id": names.take(pa.array(users)),
            "item_id": catalog.table["item_id"].take(pa.array(histories.items)),
            "timestamp": _times(random, users),
        }
    )
    interactions = Interactions.read(log, catalog=catalog)
    return SyntheticData(catalog, interactions, popularity, transitions)


# The planted law. The next item is
#   - of a type one, two or three places later (backwards: earlier) in its department's chain, with these
#     weights,
_STEP_WEIGHTS = (0.5, 0.3, 0.2)
#   - less likely by these factors if its brand, its colour differ,
_OTHER_BRAND, _OTHER_COLOUR = 0.03, 0.3
#   - in proportion to its popularity, which falls with the rank to this power;
_POPULARITY_POWER = 0.3
#   - or, with this probability, anything at all, by popularity.
_WHIM = 0.1


def _popularity(random: np.random.Generator, items: int) -> NDArray[np.float64]:
    weights = random.permutation(np.arange(1, items + 1) ** -_POPULARITY_POWER)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _transitions(
    products: Products, popularity: NDArray[np.float64], followers: NDArray[np.float64]
) -> NDArray[np.float64]:
    kinds, brands, colours = products.types, products.brands, products.colours
    chains = followers[kinds[:, None], kinds]
    chains *= np.where(brands[:, None] == brands, 1.0, _OTHER_BRAND)
    chains *= np.where(colours[:, None] == colours, 1.0, _OTHER_COLOUR)
    chains *= popularity
    whims = np.tile(popularity, (len(popularity), 1))
    np.fill_diagonal(whims, 0.0)
    chains, whims = _normalized(chains), _normalized(whims)
    follow = np.where(chains.any(axis=1, keepdims=True), 1 - _WHIM, 0.0)
    return np.asarray(follow * chains + (1 - follow) * whims, dtype=np.float64)


def _followers(backwards: bool) -> NDArray[np.float64]:
    """Return `(types, types)` weights of the type that follows, zero outside a department."""
    weights = np.zeros((len(TYPES), len(TYPES)))
    for kind in range(len(TYPES)):
        start = kind - kind % TYPES_PER_DEPARTMENT
        for step, weight in enumerate(_STEP_WEIGHTS, start=1):
            weights[kind, start + (kind + step) % TYPES_PER_DEPARTMENT] = weight
    return weights.T if backwards else weights


def _normalized(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = rows.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(rows, sums, out=np.zeros_like(rows), where=sums > 0))


def _purchases(
    random: np.random.Generator,
    shop: SyntheticShop,
    popularity: NDArray[np.float64],
    transitions: NDArray[np.float64],
) -> Histories:
    # Lengths are drawn before any item, so a last item follows the same law as every other.
    lengths = np.minimum(3 + random.poisson(shop.mean_length - 3, shop.users), shop.items // 2)
    items = np.zeros((shop.users, int(lengths.max())), dtype=np.int32)
    for start in range(0, shop.users, _CHUNK):
        part = slice(start, min(start + _CHUNK, shop.users))
        _walk(random, items[part], popularity, transitions)
    taken = np.arange(items.shape[1]) < lengths[:, None]
    return Histories(items[taken], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _walk(
    random: np.random.Generator,
    items: NDArray[np.int32],
    popularity: NDArray[np.float64],
    transitions: NDArray[np.float64],
) -> None:
    """Fill `items` `(U, T)` with purchases, column by column, never one that a user already has."""
    users = np.arange(len(items))
    unseen = np.ones((len(items), len(popularity)))
    for step in range(items.shape[1]):
        rows = transitions[items[:, step - 1]] if step else popularity
        running = np.cumsum(rows * unseen, axis=1)
        drawn = random.random(len(items)) * running[:, -1]
        items[:, step] = np.argmax(running > drawn[:, None], axis=1)
        unseen[users, items[:, step]] = 0.0


def _times(random: np.random.Generator, users: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return seconds since 1970: customers start over half a year and buy every other day or so."""
    first = np.flatnonzero(np.diff(users, prepend=-1))
    gaps = 60 + random.exponential(2 * 86_400, len(users))
    gaps[first] = _OPENING + random.uniform(0, 180 * 86_400, len(first))
    running = np.cumsum(gaps)
    before = np.concatenate([[0.0], running])[first]
    return np.asarray(running - np.repeat(before, np.bincount(users)), dtype=np.int64)


_OPENING = 1_704_067_200  # 2024-01-01


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: "|".join(v) if isinstance(v, list) else v for name, v in row.items()}


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
