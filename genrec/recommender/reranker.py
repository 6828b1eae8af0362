"""Reranker: a small network that orders the mixture's best items by what each of its parts says of them.

A mixture adds probabilities, so an item that one part is sure of stands beside one that all parts expect. How
much it means that they agree differs between logs, and is learned from validation cases (stacking, Wolpert
1992, "Stacked Generalization"):

    logit q(item) = logit p(item) + f(log p_1, sqrt p_1, ..., log p_K, sqrt p_K)

where p is the mixture, p_1 to p_K are what its parts say of the item, and f has one hidden layer. An item is
scored by log q: f reads nothing but the item's own probabilities, so filters leave scores as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.ranking import Ranking
from genrec.recommender.mixture import probabilities_of
from genrec.recommender.tables import reading

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["DEPTH", "FILE", "Layers", "Reranker", "evidence", "logits_of"]

DEPTH = 50
"""The mixture's best items that are ordered anew."""
FILE = "reranker.json"
"""In a recommender folder."""
_LEAST = 1e-3
"""Smaller probabilities count as one: below it, a part says no more than that it does not expect the item."""
_ROUNDING = 1e-9
"""What weights that sum to 1 may leave."""


@dataclass(frozen=True, eq=False)
class Layers:
    """The network f, from K probabilities of an item to what its logit changes by; H hidden units.

    Attributes:
        mean: `(2K,)` of what is read. scale: `(2K,)` its standard deviations.
        inner: `(2K, H)`. bias: `(H,)`.
        outer: `(H,)`.
        straight: `(2K,)` past the hidden layer.
        shift: `(1,)` of the result.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    inner: NDArray[np.float64]
    bias: NDArray[np.float64]
    outer: NDArray[np.float64]
    straight: NDArray[np.float64]
    shift: NDArray[np.float64]

    def __post_init__(self) -> None:
        read, hidden = self.inner.shape
        shapes = [(read,), (read,), (read, hidden), (hidden,), (hidden,), (read,), (1,)]
        found = [getattr(self, part.name).shape for part in fields(self)]
        if found != shapes or not all(
            np.isfinite(getattr(self, part.name)).all() for part in fields(self)
        ):
            raise ValueError(f"its layers do not fit each other: {found}")

    def __call__(self, said: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the logits `(E,)` of E items change by, given `(E, K)` probabilities."""
        read = (evidence(said) - self.mean) / self.scale  # (E, K) -> (E, 2K)
        x = read @ self.inner + self.bias  # (E, H)
        # GELU (Hendrycks and Gimpel 2016) by its tanh formula
        x = x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        return np.asarray(x @ self.outer + read @ self.straight + self.shift)


def evidence(said: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the network reads of probabilities `(..., K)`: logarithms and square roots, `(..., 2K)`."""
    return np.concatenate([np.log(np.maximum(said, _LEAST)), np.sqrt(said)], axis=-1)


@dataclass(frozen=True, eq=False)
class Reranker:
    """A fitted reranker. It is of one mixture: beside other weights it says nothing.

    Attributes:
        weights: component -> its weight in the mixture; the language model has what is left to 1.
        layers: read the components with weight in this order, then the language model if it has weight.
    """

    weights: Mapping[str, float]
    layers: Layers

    def __post_init__(self) -> None:
        if 2 * len(self.mixed) != len(self.layers.mean):
            raise ValueError(f"its layers are not of {len(self.mixed)} parts")

    @property
    def mixed(self) -> NDArray[np.float64]:
        """Weights `(K,)` of the parts that it reads."""
        own = [weight for weight in self.weights.values() if weight]
        rest = 1 - sum(own)
        return np.array([*own, rest] if rest > _ROUNDING else own)

    def scores(self, said: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score items by what the parts say of them, `(..., K)` -> `(...)`: below 0."""
        flat = said.reshape(-1, said.shape[-1])  # (..., K) -> (E, K)
        logits = logits_of(flat @ self.mixed) + self.layers(flat)
        return np.asarray(-np.logaddexp(0, -logits).reshape(said.shape[:-1]))  # log sigmoid

    def said(
        self,
        items: NDArray[np.integer],
        model: NDArray[np.float64],
        parts: Mapping[str, csr_matrix],
    ) -> NDArray[np.float64]:
        """What the parts say of items, `(C, T, K)`.

        Args:
            items: `(C, T)` of the catalog.
            model: `(C, T)` the language model's probabilities of them.
            parts: component -> `(C, N)`. Where its row is empty, it says what the language model does.
        """
        columns = []
        for name in (name for name, weight in self.weights.items() if weight):
            known = np.diff(parts[name].indptr) > 0
            columns.append(np.where(known[:, None], probabilities_of(parts[name], items), model))
        if len(self.mixed) > len(columns):
            columns.append(model)
        return np.stack(columns, axis=-1)

    def rank(
        self, mixed: Ranking, model: csr_matrix, parts: Mapping[str, csr_matrix], k: int
    ) -> Ranking:
        """Order the items of a mixture anew and keep the k best, `(C, k)`; equal ones by catalog index.

        Args:
            mixed: `(C, T)`.
            model: `(C, N)` probabilities of what the language model named.
            parts: component -> `(C, N)`.
            k: columns of the result.
        """
        items = mixed.items.clip(min=0)
        found = self.scores(self.said(items, probabilities_of(model, items), parts))
        scores = np.where(mixed.items >= 0, found, -np.inf).astype(np.float32)
        best = np.lexsort((mixed.items, -scores), axis=1)[:, :k]
        return Ranking(
            np.take_along_axis(mixed.items, best, axis=1), np.take_along_axis(scores, best, axis=1)
        )

    def save(self, folder: Path) -> None:
        """Write it into a recommender folder."""
        numbers = {name: part.tolist() for name, part in vars(self.layers).items()}
        content = {"weights": dict(self.weights), "layers": numbers}
        (folder / FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what `save` wrote; None where there is none.

        Raises:
            RecommenderError: the file cannot be read.
        """
        path = folder / FILE
        if not path.exists():
            return None
        with reading(path):
            content = json.loads(path.read_text(encoding="utf-8"))
            numbers = {name: np.array(part, np.float64) for name, part in content["layers"].items()}
            return cls(content["weights"], Layers(**numbers))


def logits_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(p / (1 - p)), finite."""
    p = probabilities.clip(1e-12, 1 - 1e-6)
    return np.asarray(np.log(p) - np.log1p(-p))
