"""Quality of semantic IDs, measured before any language model is trained on them.

Five questions: do items share tuples (collisions), and how far did resolving that carry them? Are
the codes used, and evenly (entropy, balance)? Do they still say what the item is (reconstruction)?
Do items that share a prefix belong together more often than chance: by category (purity), by what
follows what in training histories (agreement)? All of it is counted by sorting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.semantic_ids.base import ItemTokenizer, as_codes, as_vectors
from genrec.semantic_ids.prefixes import (
    PrefixMatch,
    prefix_agreement,
    prefix_purity,
)
from genrec.semantic_ids.rows import row_keys
from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = [
    "Bucket",
    "Collisions",
    "LevelUsage",
    "Moves",
    "QualityReport",
    "collisions",
    "level_usage",
    "lost_variance",
    "quality",
]

STEPS = np.linspace(0, 100, 21)
"""Percentiles of which distributions are told, in percent."""
CHUNK = 1 << 16
"""Rows that are decoded at once."""


@dataclass(frozen=True)
class Collisions:
    """Items that share a tuple with another.

    Attributes:
        items: how many items share their tuple.
        share: the same as a share of all items, in [0, 1].
        buckets: how many tuples are shared.
        largest: how many items the most crowded tuple has.
        sizes: how many tuples have 1, 2 … items, as (items, tuples) pairs, ascending.
    """

    items: int
    share: float
    buckets: int
    largest: int
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class LevelUsage:
    """How evenly one level's codes are used.

    Attributes:
        codes: how many the codebook has (K).
        used: how many occur.
        entropy: of the code of a random item, in bits, in [0, log2 K].
        perplexity: 2 to the entropy: as many equally frequent codes would tell as much.
        balance: items of the most frequent code over the mean, N / K; at least 1, which is even.
        percentiles: items a code at the 0th, 5th … 100th percentile of all K codes.
    """

    codes: int
    used: int
    entropy: float
    perplexity: float
    balance: float
    percentiles: tuple[float, ...]


@dataclass(frozen=True)
class Moves:
    """How far collision resolution carried the items that could not keep their codes.

    The distance of a move is what it adds to the squared error between vector and reconstruction,
    in units of the vectors' variance (the mean squared distance to the mean vector; where that is 0,
    as it is): 0 costs nothing, 1 as much as knowing nothing of the item. It can be negative.

    Attributes:
        items: how many moved.
        last_code_only: how many of them kept all codes but the last.
        mean: mean distance; 0 where none moved, as are the others.
        median: median distance.
        max: largest distance.
        percentiles: distances at the 0th, 5th … 100th percentile; empty where none moved.
    """

    items: int
    last_code_only: int
    mean: float
    median: float
    max: float
    percentiles: tuple[float, ...]


@dataclass(frozen=True)
class Bucket:
    """A tuple that several items had before resolution.

    Attributes:
        codes: the tuple.
        size: how many items.
        titles: of its first few items.
    """

    codes: tuple[int, ...]
    size: int
    titles: tuple[str, ...]


@dataclass(frozen=True)
class QualityReport:
    """All measurements of one catalog's semantic IDs.

    Attributes:
        items: N.
        before: collisions of the item tokenizer's own codes.
        after: collisions of the semantic IDs; none, by construction.
        moves: what resolution cost; None without vectors.
        levels: usage of each level of the semantic IDs, an extra level included.
        reconstruction_error: ``sum ‖x - x̂‖² / sum ‖x - mean‖²`` of the tokenizer's own codes; 0 is
            perfect, 1 no better than the mean; None without vectors.
        purity: for prefixes of 1, 2 … codes; empty without labels.
        agreement: for prefixes of 1, 2 … codes; empty without histories.
        worst_buckets: the most crowded tuples before resolution, largest first.
    """

    items: int
    before: Collisions
    after: Collisions
    moves: Moves | None
    levels: tuple[LevelUsage, ...]
    reconstruction_error: float | None
    purity: tuple[PrefixMatch, ...]
    agreement: tuple[PrefixMatch, ...]
    worst_buckets: tuple[Bucket, ...]

    def summary(self) -> str:
        """Say in one line how many codes there are, what collided, and how far items moved."""
        codes = "x".join(str(level.codes) for level in self.levels)
        said = f"{codes} codes, {self.before.items:,} items ({self.before.share:.1%}) collided"
        moves = self.moves
        if moves is None or not moves.items:
            return f"{said}, none moved"
        return (
            f"{said}, {moves.items:,} moved: by {moves.mean:.3f} of the vectors' variance in the mean, "
            f"{moves.median:.3f} in the median, {moves.max:.3f} at most"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return asdict(self)


def quality(
    semantic_ids: SemanticIds,
    codes_before: ArrayLike,
    vectors: ArrayLike | None = None,
    tokenizer: ItemTokenizer | None = None,
    labels: NDArray[np.integer[Any]] | None = None,
    titles: Sequence[str] | None = None,
    histories: Histories | None = None,
) -> QualityReport:
    """Measure semantic IDs.

    Args:
        semantic_ids: of the N items.
        codes_before: `(N, L)`, what they were before collisions were resolved.
        vectors: `(N, D)`, what the item tokenizer was given; None for IDs that no vector made.
        tokenizer: the fitted item tokenizer; needed with vectors.
        labels: `(N,)`, say a category each; -1 is unknown. None leaves purity out.
        titles: N titles for the worst buckets; item ids by default.
        histories: the training part of the log. None leaves agreement out.

    Raises:
        InputError: the arguments are not of the same N items.
    """
    levels = np.shape(codes_before)[-1]
    sizes = semantic_ids.codebook_sizes[:levels] if tokenizer is None else tokenizer.codebook_sizes
    before = as_codes(codes_before, sizes)
    names = semantic_ids.item_ids if titles is None else titles
    _require_same_items(semantic_ids, before, vectors, labels, names)
    own = semantic_ids.codes[:, :levels]
    moves, error = None, None
    if vectors is not None and tokenizer is not None:
        moves, error = _distances(own, before, as_vectors(vectors), tokenizer)
    return QualityReport(
        items=len(before),
        before=collisions(before),
        after=collisions(semantic_ids.codes),
        moves=moves,
        levels=tuple(
            level_usage(column, size)
            for column, size in zip(semantic_ids.codes.T, semantic_ids.codebook_sizes, strict=True)
        ),
        reconstruction_error=error,
        purity=() if labels is None else prefix_purity(own, labels),
        agreement=() if histories is None else prefix_agreement(own, histories),
        worst_buckets=_worst_buckets(before, names),
    )


def collisions(codes: NDArray[np.int32]) -> Collisions:
    """Count the rows of `(N, L)` codes that are not unique."""
    _, counts = np.unique(row_keys(codes), return_counts=True)
    shared = counts[counts > 1]
    items = int(shared.sum())
    sizes, tuples = np.unique(counts, return_counts=True)
    return Collisions(
        items=items,
        share=items / len(codes) if len(codes) else 0.0,
        buckets=len(shared),
        largest=int(counts.max(initial=0)),
        sizes=tuple(zip(sizes.tolist(), tuples.tolist(), strict=True)),
    )


def level_usage(codes: NDArray[np.int32], size: int) -> LevelUsage:
    """Measure how one level, `(N,)` codes below `size`, is used."""
    counts = np.bincount(codes, minlength=size)
    shares = counts[counts > 0] / max(len(codes), 1)
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    balance = float(counts.max()) * size / len(codes) if len(codes) else 1.0
    percentiles = tuple(np.percentile(counts, STEPS).tolist())
    return LevelUsage(size, len(shares), entropy, 2**entropy, balance, percentiles)


def _distances(
    after: NDArray[np.int32],
    before: NDArray[np.int32],
    vectors: NDArray[np.float32],
    tokenizer: ItemTokenizer,
) -> tuple[Moves, float]:
    """Return how far items moved, and the reconstruction error before they did."""
    error = _squared_errors(vectors, before, tokenizer)
    total = float(((vectors - vectors.mean(axis=0)) ** 2).sum()) if len(vectors) else 0.0
    variance = total / len(vectors) if total else 1.0
    different = after != before
    moved = np.flatnonzero(different.any(axis=1))
    farther = _squared_errors(vectors[moved], after[moved], tokenizer) - error[moved]
    lost = float(error.sum()) / total if total else 0.0
    last_only = len(moved) - int(different[:, :-1].any(axis=1).sum())
    if not len(moved):
        return Moves(0, 0, 0.0, 0.0, 0.0, ()), lost
    distances = farther / variance
    spread = tuple(np.percentile(distances, STEPS).tolist())
    mean, middle, most = distances.mean(), np.median(distances), distances.max()
    return Moves(len(moved), last_only, float(mean), float(middle), float(most), spread), lost


def lost_variance(tokenizer: ItemTokenizer, vectors: NDArray[np.float32]) -> float:
    """Share of the variance of vectors `(N, D)` that their codes lose; 0 where there is none to lose.

    Of vectors unlike those that the item tokenizer was fitted on it may be above 1.
    """
    total = float(((vectors - vectors.mean(axis=0)) ** 2).sum())
    error = float(_squared_errors(vectors, tokenizer.encode(vectors), tokenizer).sum())
    return error / total if total else 0.0


def _squared_errors(
    vectors: NDArray[np.float32], codes: NDArray[np.int32], tokenizer: ItemTokenizer
) -> NDArray[np.float64]:
    """Return ``‖x - x̂‖²`` of each of `(N, D)` vectors, decoded part by part."""
    error = np.empty(len(vectors))
    for start in range(0, len(vectors), CHUNK):
        part = slice(start, start + CHUNK)
        error[part] = ((vectors[part] - tokenizer.decode(codes[part])) ** 2).sum(axis=1)
    return error


def _worst_buckets(codes: NDArray[np.int32], titles: Sequence[str]) -> tuple[Bucket, ...]:
    """Return the ten largest buckets with at most five titles each."""
    _, bucket, counts = np.unique(row_keys(codes), return_inverse=True, return_counts=True)
    largest = [b for b in np.argsort(-counts, kind="stable")[:10] if counts[b] > 1]
    found = []
    for b in largest:
        rows = np.flatnonzero(bucket == b)
        shown = tuple(titles[row] for row in rows[:5])
        found.append(Bucket(tuple(codes[rows[0]].tolist()), len(rows), shown))
    return tuple(found)


def _require_same_items(semantic_ids: SemanticIds, *others: Any) -> None:
    lengths = [len(semantic_ids), *(len(other) for other in others if other is not None)]
    if len(set(lengths)) > 1:
        raise InputError(
            f"semantic IDs, codes, vectors, labels and titles must be of the same items; their "
            f"lengths are {lengths}"
        )
