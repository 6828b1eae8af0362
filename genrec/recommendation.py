"""What a request is answered with: items by id and title, each with its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.query import Basis

__all__ = ["Recommendation", "named"]


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item_id: of the catalog.
        title: for reading.
        score: log-probability of the item given history and query, under `search.normalization` and mixed
            with the memory's if that has weight; at most 0.
        basis: what the item came from: the model (language model and memory), the query, what sells.
    """

    item_id: str
    title: str
    score: float
    basis: Basis = "model"


def named(
    catalog: Catalog, items: NDArray[np.int32], scores: NDArray[np.float32], basis: Sequence[Basis]
) -> list[Recommendation]:
    """Name the items of one row of a ranking `(k,)`; places that are -1 are left out."""
    ids, titles = catalog.item_ids, catalog.titles
    return [
        Recommendation(ids[item], titles[item], float(score), source)
        for item, score, source in zip(items, scores, basis, strict=True)
        if item >= 0
    ]
