"""Products of the synthetic shop: brands, types and colours that their titles spell out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BRANDS", "COLOURS", "TYPES", "TYPES_PER_DEPARTMENT", "Products", "draw_products"]

BRANDS = (
    "Alvreth", "Bruskan", "Corlane", "Dunmoor", "Eskfell",
    "Fjordane", "Garrick Bay", "Hollin", "Ironbark", "Juniper & Moss",
)  # fmt: skip
COLOURS = ("Forest Green", "Slate Grey", "Signal Orange", "Ocean Blue", "Sand", "Crimson")

# In each department, what is bought next comes later in the row (and after the last, the first).
_DEPARTMENTS = {
    "Camping": (
        "Dome Tent", "Tent Groundsheet", "Tent Peg Set", "Sleeping Bag",
        "Sleeping Mat", "Camping Pillow", "Camping Lantern", "Folding Chair",
    ),
    "Camp Kitchen": (
        "Gas Stove", "Gas Canister Stand", "Windscreen", "Cooking Pot",
        "Frying Pan", "Cutlery Set", "Insulated Mug", "Water Container",
    ),
    "Hiking": (
        "Trekking Backpack", "Backpack Rain Cover", "Hydration Bladder", "Trekking Poles",
        "Hiking Boots", "Merino Socks", "Gaiters", "Map Case",
    ),
    "Climbing": (
        "Climbing Harness", "Belay Device", "Locking Carabiner", "Quickdraw Set",
        "Dynamic Rope", "Rope Bag", "Climbing Shoes", "Chalk Bag",
    ),
    "Cycling": (
        "Trail Bike Helmet", "Cycling Gloves", "Front Light", "Rear Light",
        "Bottle Cage", "Cycling Bottle", "Saddle Bag", "Mini Pump",
    ),
}  # fmt: skip
TYPES = tuple(name for names in _DEPARTMENTS.values() for name in names)
TYPES_PER_DEPARTMENT = 8

_LINES = ("Trail", "Summit", "Traverse", "Basecamp", "Ridge", "Nomad")
_EDITIONS = ("Classic", "Lightweight", "Professional", "Recycled Materials", "Limited Edition")
_BASE_PRICES = (149, 29, 12, 89, 49, 19, 39, 59)  # by position in the department


@dataclass(frozen=True)
class Products:
    """N products by their attributes; every combination of the first three occurs at most once.

    Attributes:
        brands: `(N,)` positions in `BRANDS`.
        types: `(N,)` positions in `TYPES`.
        colours: `(N,)` positions in `COLOURS`.
        lines: `(N,)` positions in a list of product lines; says nothing about what is bought next.
        editions: `(N,)` positions in a list of editions; likewise.
    """

    brands: NDArray[np.int64]
    types: NDArray[np.int64]
    colours: NDArray[np.int64]
    lines: NDArray[np.int64]
    editions: NDArray[np.int64]

    def rows(self) -> list[dict[str, Any]]:
        """Return the products as rows of a catalog."""
        return [self._row(i) for i in range(len(self.brands))]

    def _row(self, i: int) -> dict[str, Any]:
        brand, kind, colour = BRANDS[self.brands[i]], TYPES[self.types[i]], COLOURS[self.colours[i]]
        line, edition = _LINES[self.lines[i]], _EDITIONS[self.editions[i]]
        price = _BASE_PRICES[self.types[i] % TYPES_PER_DEPARTMENT] * (10 + self.brands[i]) // 10
        department = list(_DEPARTMENTS)[self.types[i] // TYPES_PER_DEPARTMENT]
        return {
            "item_id": f"P{i + 1:04d}",
            "title": f"{brand} {line} {kind}, {edition}, {colour}",
            "brand": brand,
            "categories": ["Outdoor", department, kind],
            "colour": colour,
            "price": float(price) + 0.95,
        }


def draw_products(random: np.random.Generator, items: int) -> Products:
    """Draw products without repeating a combination of brand, type and colour."""
    shape = (len(BRANDS), len(TYPES), len(COLOURS))
    combinations = random.choice(int(np.prod(shape)), items, replace=False)
    brands, types, colours = np.unravel_index(combinations, shape)
    lines = random.integers(len(_LINES), size=items)
    editions = random.integers(len(_EDITIONS), size=items)
    return Products(brands, types, colours, lines, editions)
