"""Context of an evaluation beside its cases: training events, categories, vectors, slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import InputError
from genrec.data.histories import Cases, Histories
from genrec.evaluation.list_metrics import (
    category_diversity,
    cold_share,
    novelty,
    vector_diversity,
)
from genrec.evaluation.slices import slices_of

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """Facts that add metrics and slices; whatever is None adds nothing.

    Attributes:
        counts: `(N,)` training events of each item; adds ``novelty``, and
            ``cold_share`` where an item has none.
        labels: `(N,)` category of each item, -1 for none; adds ``category_diversity``.
        vectors: `(N, D)` vectors of the items; adds ``vector_diversity``.
        slices: `(C,)` marks of the cases of each slice.
    """

    counts: NDArray[np.integer[Any]] | None = None
    labels: NDArray[np.integer[Any]] | None = None
    vectors: NDArray[np.floating[Any]] | None = None
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        cases: Cases,
        train: Histories,
        n_items: int,
        *,
        labels: NDArray[np.integer[Any]] | None = None,
        vectors: NDArray[np.floating[Any]] | None = None,
        same_time: NDArray[np.bool_] | None = None,
    ) -> Context:
        """Count the training events, and mark the standard slices (`genrec.evaluation.slices`)."""
        counts = np.bincount(train.items, minlength=n_items)
        return cls(counts, labels, vectors, slices_of(cases, train, n_items, same_time))

    def check(self, cases: int, n_items: int) -> None:
        """Refuse facts of other items or cases.

        Raises:
            InputError: with the lengths.
        """
        of_items = {"counts": self.counts, "labels": self.labels, "vectors": self.vectors}
        for name, values in of_items.items():
            if values is not None and len(values) != n_items:
                raise InputError(f"the context has {len(values)} {name} for {n_items} items")
        for name, mark in self.slices.items():
            if len(mark) != cases:
                raise InputError(f"slice {name!r} marks {len(mark)} cases of {cases}")

    def values(
        self, items: NDArray[np.integer[Any]], ks: tuple[int, ...]
    ) -> dict[str, NDArray[np.float64]]:
        """Return what is known of each of the lists `(C, k)` at each cut-off, `(C,)` by metric."""
        found = {}
        for k in ks:
            top = items[:, :k]
            if self.counts is not None:
                found[f"novelty@{k}"] = novelty(top, self.counts)
                if not self.counts.all():
                    found[f"cold_share@{k}"] = cold_share(top, self.counts)
            if self.labels is not None:
                found[f"category_diversity@{k}"] = category_diversity(top, self.labels)
            if self.vectors is not None:
                found[f"vector_diversity@{k}"] = vector_diversity(top, self.vectors)
        return found
