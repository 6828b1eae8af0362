"""Collaborative signal for item vectors: which items the training log buys together.

Items that sell together should share codes even where their texts differ (LETTER, Wang et al.
2024). The signal here is the spectral embedding of the items' co-occurrence graph, a truncated SVD
of its normalised adjacency (Ng, Jordan & Weiss 2001): seconds, no training. An item without
interactions gets the mean of its nearest neighbours by text, so new items need nothing but text.

The signal comes in three ways: *joined* with the text vectors, as the texts of an item's neighbours in
the graph (see `graph`), or as what an autoencoder's codes are to agree with (see `letter`); under this
last one the vectors stay those of text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings, validate, without_retired
from genrec.common.errors import InputError, RecommenderError
from genrec.data.histories import Histories
from genrec.semantic_ids.base import as_vectors
from genrec.semantic_ids.graph import propagated

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "CollaborativeSettings",
    "CollaborativeSignal",
    "cooccurrence_vectors",
    "cooccurrences",
    "graph_vectors",
    "normalised",
]

CONFIG, MODEL = "config.json", "model.safetensors"


_HOPS = 2
"""How far texts travel in the graph of ``mode: graph``."""
_RETIRED = {"hops": _HOPS}


class CollaborativeSettings(Settings):
    """How much behaviour the item vectors carry, and how it is measured."""

    mode: Literal["join", "graph", "align"] = "join"
    """``join``: vectors of co-occurrence beside the text vectors. ``graph``: the mean text of an
    item's neighbours beside its own. ``align``: text alone, and the item tokenizer (``rqvae``, ``moe``
    or ``fsq``) learns codes that agree with the vectors of co-occurrence."""
    weight: float = Field(default=1.0, ge=0)
    """Length of the collaborative part relative to the text part; 0 is text alone. (How much
    alignment counts is the item tokenizer's `alignment`.)"""
    dimension: int = Field(default=128, ge=1)
    """Size of vectors of co-occurrence; less for catalogs of fewer items."""
    window: int = Field(default=5, ge=1)
    """Two items of a history count together when at most this many steps apart, by 1 / steps."""
    neighbors: int = Field(default=5, ge=1)
    """An item without interactions gets the mean over this many items that are nearest by text."""
    seed: int = 0
    """Fixes the randomized SVD."""

    @property
    def joins(self) -> bool:
        """Whether item vectors have a collaborative part."""
        return self.weight > 0 and self.mode != "align"

    @property
    def aligns(self) -> bool:
        """Whether the item tokenizer is to agree with vectors of co-occurrence."""
        return self.weight > 0 and self.mode == "align"


class CollaborativeSignal:
    """Joins text vectors with vectors of co-occurrence.

    Attributes:
        settings: what it was made with.
        dimension: size of the joined vectors, D plus the collaborative part.
    """

    def __init__(self, settings: CollaborativeSettings | None = None) -> None:
        self.settings = CollaborativeSettings() if settings is None else settings
        self._state: dict[str, NDArray[Any]] = {}

    def fit(self, histories: Histories, text_vectors: NDArray[np.float32]) -> Self:
        """Learn from training histories over the N items whose text vectors `(N, D)` are given.

        Raises:
            InputError: a history names an item beyond the text vectors.
        """
        text = as_vectors(text_vectors)
        if self.settings.mode == "graph":
            signal, occurs = graph_vectors(histories, text, self.settings)
        else:
            signal, occurs = cooccurrence_vectors(histories, len(text), self.settings)
        seen = np.flatnonzero(occurs)
        row = np.full(len(text), -1, np.int32)
        row[seen] = np.arange(len(seen), dtype=np.int32)
        self._state = {
            "item.row": row,
            "seen.text": text[seen].astype(np.float16),
            "seen.signal": signal[seen],
        }
        signal = self._signal(text, row)
        for name, vectors in (("text", text), ("signal", signal)):
            center, scale = _center_and_scale(vectors)
            self._state |= {f"{name}.center": center, f"{name}.scale": np.array([scale])}
        return self

    @property
    def dimension(self) -> int:
        """Size of the joined vectors."""
        state = self._fitted()
        signal = len(state["signal.center"]) if self.settings.joins else 0
        return len(state["text.center"]) + signal

    @property
    def items(self) -> int:
        """N, the size of the catalog that it is for."""
        return len(self._fitted()["item.row"])

    def transform(
        self,
        text_vectors: NDArray[np.float32],
        item_indices: NDArray[np.integer[Any]] | None = None,
    ) -> NDArray[np.float32]:
        """Return the joined vectors `(M, D + d)` of M items.

        Args:
            text_vectors: `(M, D)`, from the encoder used in `fit`.
            item_indices: `(M,)` catalog indices of the items as in `fit`, -1 for new items; None
                means that all are new. The collaborative part of new items is predicted.

        Raises:
            InputError: before `fit`, or sizes do not fit together.
        """
        state, text = self._fitted(), as_vectors(text_vectors)
        if text.shape[1] != len(state["text.center"]):
            raise InputError(
                f"text vectors have {text.shape[1]} dimensions, the collaborative signal was "
                f"fitted on {len(state['text.center'])}: use the same encoder and settings"
            )
        if not self.settings.joins:
            return text
        row = np.full(len(text), -1, np.int32)
        if item_indices is not None:
            known = self._checked(item_indices, len(text))
            row = np.where(known >= 0, state["item.row"][known], np.int32(-1))
        signal = self._signal(text, row)
        text = (text - state["text.center"]) / state["text.scale"]
        signal = (signal - state["signal.center"]) / state["signal.scale"]
        return np.concatenate([text, signal * np.float32(self.settings.weight)], axis=1)

    def targets(self) -> NDArray[np.float32] | None:
        """Return what codes of the fitted items are to agree with, `(N, d)`; None but to align.

        Items without interactions have rows of zeros.
        """
        state = self._fitted()
        if not self.settings.aligns:
            return None
        row, signal = state["item.row"], state["seen.signal"]
        targets = np.zeros((len(row), signal.shape[1]), np.float32)
        targets[row >= 0] = signal[row[row >= 0]]
        return targets

    def following(self, items: NDArray[np.int64]) -> CollaborativeSignal:
        """The same signal for a catalog of other items.

        Args:
            items: `(N',)` each item's index in the catalog that this one is for, -1 for a new item.
        """
        row, found = self._fitted()["item.row"], CollaborativeSignal(self.settings)
        known = np.append(row, np.int32(-1))[items]  # index -1 is the last
        found._state = self._state | {"item.row": known}
        return found

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into `folder`, made if absent."""
        from safetensors.numpy import save_file

        state, folder = self._fitted(), Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"kind": "collaborative", "settings": self.settings.model_dump(mode="json")}
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(state, folder / MODEL)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what `save` wrote.

        Raises:
            RecommenderError: a file is missing or cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            values, state = config["settings"], load_file(folder / MODEL)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise RecommenderError(f"{folder}: not a collaborative signal ({error})") from None
        source = str(folder / CONFIG)
        kept = without_retired(values, _RETIRED, source)
        signal = cls(validate(CollaborativeSettings, kept, source=source))
        signal._state = state
        return signal

    def _signal(self, text: NDArray[np.float32], row: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the collaborative part `(M, d)`: row `row` of the seen items', -1 from text."""
        import faiss

        seen, neighbors = self._state["seen.signal"], self._state["seen.text"].astype(np.float32)
        signal = np.zeros((len(text), seen.shape[1]), np.float32)
        signal[row >= 0] = seen[row[row >= 0]]
        absent = np.flatnonzero(row < 0)
        if len(absent) and len(seen):
            k = min(self.settings.neighbors, len(seen))
            _, nearest = faiss.knn(text[absent], neighbors, k)
            signal[absent] = _unit(seen[nearest].mean(axis=1))
        return signal

    def _fitted(self) -> dict[str, NDArray[Any]]:
        if not self._state:
            raise InputError("this CollaborativeSignal is not fitted yet: call fit first")
        return self._state

    def _checked(self, item_indices: NDArray[np.integer[Any]], count: int) -> NDArray[np.int64]:
        indices = np.asarray(item_indices, dtype=np.int64)
        known = self.items
        if indices.shape != (count,) or indices.max(initial=-1) >= known:
            raise InputError(
                f"item_indices must be {count} numbers below {known} (-1 for a new item)"
            )
        return indices


def cooccurrence_vectors(
    histories: Histories, items: int, settings: CollaborativeSettings
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return vectors `(N, d)` that are near for items that occur together, and who has one.

    Each vector is scaled to length 1, so that popular and rare items weigh alike.

    Returns:
        The vectors, zero for items that never occur beside another, and `(N,)` bool: occurs.
    """
    from sklearn.utils.extmath import randomized_svd

    size = min(settings.dimension, items)
    matrix = _graph(histories, items, settings)
    seen = np.diff(matrix.indptr) > 0
    vectors = np.zeros((items, size), np.float32)
    if matrix.nnz:
        left, values, _ = randomized_svd(matrix, size, random_state=settings.seed)
        vectors[:, : len(values)] = _unit(left * np.sqrt(values))
    return vectors, seen


def graph_vectors(
    histories: Histories, text_vectors: NDArray[np.float32], settings: CollaborativeSettings
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return what the texts `(N, D)` around each item say, and who has neighbours (`(N,)` bool)."""
    matrix = _graph(histories, len(text_vectors), settings)
    return propagated(matrix, text_vectors, _HOPS), np.diff(matrix.indptr) > 0


def _graph(histories: Histories, items: int, settings: CollaborativeSettings) -> csr_matrix:
    if len(histories.items) and int(histories.items.max()) >= items:
        raise InputError(
            f"the histories name item {int(histories.items.max())}, but there are only {items} "
            f"text vectors: histories and vectors must be of the same catalog"
        )
    return normalised(cooccurrences(histories, items, settings.window))


def cooccurrences(histories: Histories, items: int, window: int) -> csr_matrix:
    """Sum 1 / steps over all pairs of different items at most `window` steps apart, both ways."""
    from scipy.sparse import coo_matrix, csr_matrix

    user = np.repeat(np.arange(len(histories)), histories.lengths)
    total = csr_matrix((items, items), dtype=np.float32)
    for step in range(1, window + 1):
        earlier, later = histories.items[:-step], histories.items[step:]
        pair = (user[:-step] == user[step:]) & (earlier != later)
        weights = np.full(int(pair.sum()), 1 / step, np.float32)
        places = (earlier[pair], later[pair])
        total = total + coo_matrix((weights, places), shape=(items, items)).tocsr()
    return csr_matrix(total + total.T)


def normalised(adjacency: csr_matrix) -> csr_matrix:
    """Divide every edge by the geometric mean of its ends' total weights."""
    from scipy.sparse import diags_array

    degree = np.asarray(adjacency.sum(axis=1), dtype=np.float32).ravel()
    scale = diags_array(1 / np.sqrt(np.maximum(degree, 1e-12)))
    return (scale @ adjacency @ scale).tocsr()


def _center_and_scale(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], np.float32]:
    """Return the mean vector and the mean distance to it (1 where all vectors are equal)."""
    center = vectors.mean(axis=0)
    scale = np.linalg.norm(vectors - center, axis=1).mean()
    return center, np.float32(scale if scale > 1e-6 else 1.0)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
