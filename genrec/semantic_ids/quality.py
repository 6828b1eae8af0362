"""How good semantic IDs are, measured before any language model is trained on them.

Four questions: do items share tuples (collisions)? Are the codes used (entropy a level)? Do the
codes still say what the item is (reconstruction)? And do items that share a prefix belong together
more often than chance (purity)? Everything is counted by sorting: linear in items but for the sort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genrec.config import Settings
from genrec.errors import InputError
from genrec.semantic_ids.base import ItemTokenizer, as_codes, as_vectors
from genrec.semantic_ids.collisions import row_keys
from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = [
    "Bucket",
    "Collisions",
    "LevelUsage",
    "Moves",
    "PrefixPurity",
    "QualityGate",
    "QualityReport",
    "collisions",
    "level_usage",
    "prefix_purity",
    "quality",
]


class QualityGate(Settings):
    """What semantic IDs must reach before it is worth training on them."""

    max_colliding: float = 0.5
    """Largest share of items that collide before resolution."""
    min_usage: float = 0.3
    """Smallest share of a level's codes that are used, of those the catalog could use."""
    max_reconstruction_error: float = 0.95
    """Largest relative reconstruction error; 1 is no better than the mean vector."""
    min_purity: float = 1.5
    """How much likelier than chance items with the same first code must share a label."""


@dataclass(frozen=True)
class Collisions:
    """Items that share a tuple with another.

    Attributes:
        items: how many items share their tuple.
        share: the same as a share of all items, in [0, 1].
        buckets: how many tuples are shared.
        largest: how many items the most crowded tuple has.
    """

    items: int
    share: float
    buckets: int
    largest: int


@dataclass(frozen=True)
class LevelUsage:
    """How evenly one level's codes are used.

    Attributes:
        codes: how many the codebook has (K).
        used: how many occur.
        entropy: of the code of a random item, in bits, in [0, log2 K].
        perplexity: 2 to the entropy: as many equally frequent codes would tell as much.
    """

    codes: int
    used: int
    entropy: float
    perplexity: float


@dataclass(frozen=True)
class PrefixPurity:
    """Whether items that share their first codes share a label.

    Attributes:
        length: how many codes are shared.
        pairs: pairs of labelled items that share them.
        observed: share of these pairs with equal labels; 0 where there are no pairs.
        chance: share of all pairs of labelled items with equal labels.
        ratio: observed / chance; 0 where chance is 0.
    """

    length: int
    pairs: int
    observed: float
    chance: float
    ratio: float


@dataclass(frozen=True)
class Moves:
    """What collision resolution cost the items that could not keep their codes.

    The ratio compares the distance between vector and reconstruction after and before the move: 1
    means that nothing was lost. Items with no error before have no ratio; 0 where none has one.

    Attributes:
        items: how many moved.
        mean_ratio: mean of the ratio.
        max_ratio: its maximum.
    """

    items: int
    mean_ratio: float
    max_ratio: float


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
        moves: what resolution cost.
        levels: usage of each level of the semantic IDs, an extra level included.
        reconstruction_error: ``sum ‖x - x̂‖² / sum ‖x - mean‖²`` of the tokenizer's own codes; 0 is
            perfect, 1 no better than the mean.
        purity: for prefixes of 1, 2 … codes; empty without labels.
        worst_buckets: the most crowded tuples before resolution, largest first.
    """

    items: int
    before: Collisions
    after: Collisions
    moves: Moves
    levels: tuple[LevelUsage, ...]
    reconstruction_error: float
    purity: tuple[PrefixPurity, ...]
    worst_buckets: tuple[Bucket, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return asdict(self)

    def failures(self, gate: QualityGate | None = None) -> list[str]:
        """Say in words which bounds of the gate are not met; empty when all are."""
        gate = QualityGate() if gate is None else gate
        said = []
        if self.before.share > gate.max_colliding:
            said.append(
                f"{self.before.share:.0%} of items collide before resolution (at most "
                f"{gate.max_colliding:.0%}): use more levels or codes, or more text per item"
            )
        for level, usage in enumerate(self.levels):
            if usage.used < gate.min_usage * min(usage.codes, self.items):
                said.append(
                    f"level {level} uses {usage.used} of {usage.codes} codes (at least "
                    f"{gate.min_usage:.0%}): use fewer codes or another item tokenizer"
                )
        if self.reconstruction_error > gate.max_reconstruction_error:
            said.append(
                f"reconstruction error is {self.reconstruction_error:.2f} (at most "
                f"{gate.max_reconstruction_error:.2f}): the codes say little about the items"
            )
        if self.purity and self.purity[0].pairs and self.purity[0].ratio < gate.min_purity:
            said.append(
                f"items with the same first code share a label only {self.purity[0].ratio:.1f} "
                f"times as often as chance (at least {gate.min_purity:.1f})"
            )
        return said


def quality(
    semantic_ids: SemanticIds,
    codes_before: ArrayLike,
    vectors: ArrayLike,
    tokenizer: ItemTokenizer,
    labels: NDArray[np.integer[Any]] | None = None,
    titles: Sequence[str] | None = None,
) -> QualityReport:
    """Measure semantic IDs.

    Args:
        semantic_ids: of the N items.
        codes_before: `(N, L)`, what `tokenizer` gave before collisions were resolved.
        vectors: `(N, D)`, what it was given.
        tokenizer: the fitted item tokenizer.
        labels: `(N,)`, say a category each; -1 is unknown. None leaves purity out.
        titles: N titles for the worst buckets; item ids by default.

    Raises:
        InputError: the arguments are not of the same N items.
    """
    table = as_vectors(vectors)
    before = as_codes(codes_before, tokenizer.codebook_sizes)
    names = semantic_ids.item_ids if titles is None else titles
    _require_same_items(semantic_ids, before, table, labels, names)
    error = _squared_errors(table, before, tokenizer)
    spread = float(((table - table.mean(axis=0)) ** 2).sum()) if len(table) else 0.0
    return QualityReport(
        items=len(table),
        before=collisions(before),
        after=collisions(semantic_ids.codes),
        moves=_moves(semantic_ids.codes[:, : before.shape[1]], before, table, tokenizer, error),
        levels=tuple(
            level_usage(column, size)
            for column, size in zip(semantic_ids.codes.T, semantic_ids.codebook_sizes, strict=True)
        ),
        reconstruction_error=float(error.sum()) / spread if spread else 0.0,
        purity=_purity(semantic_ids.codes[:, : before.shape[1]], labels),
        worst_buckets=_worst_buckets(before, names),
    )


def collisions(codes: NDArray[np.int32]) -> Collisions:
    """Count the rows of `(N, L)` codes that are not unique."""
    _, counts = np.unique(row_keys(codes), return_counts=True)
    shared = counts[counts > 1]
    items = int(shared.sum())
    return Collisions(
        items=items,
        share=items / len(codes) if len(codes) else 0.0,
        buckets=len(shared),
        largest=int(counts.max(initial=0)),
    )


def level_usage(codes: NDArray[np.int32], size: int) -> LevelUsage:
    """Measure how one level, `(N,)` codes below `size`, is used."""
    counts = np.bincount(codes, minlength=size)
    shares = counts[counts > 0] / max(len(codes), 1)
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    return LevelUsage(size, len(shares), entropy, 2**entropy)


def prefix_purity(
    codes: NDArray[np.int32], labels: NDArray[np.integer[Any]], length: int
) -> PrefixPurity:
    """Compare pairs of items that share their first `length` codes with all pairs.

    Args:
        codes: `(N, L)`.
        labels: `(N,)`; items labelled -1 are left out.
        length: how many codes, 1 to L.
    """
    known = labels >= 0
    _, label = np.unique(labels[known], return_inverse=True)
    _, prefix = np.unique(row_keys(codes[known, :length]), return_inverse=True)
    both = np.column_stack([prefix, label]).astype(np.int32)
    pairs, same = _pairs(prefix), _pairs(row_keys(both))
    observed = same / pairs if pairs else 0.0
    all_pairs = len(label) * (len(label) - 1) // 2
    chance = _pairs(label) / all_pairs if all_pairs else 0.0
    return PrefixPurity(length, pairs, observed, chance, observed / chance if chance else 0.0)


def _purity(
    codes: NDArray[np.int32], labels: NDArray[np.integer[Any]] | None
) -> tuple[PrefixPurity, ...]:
    if labels is None:
        return ()
    return tuple(prefix_purity(codes, labels, n + 1) for n in range(codes.shape[1]))


def _pairs(groups: NDArray[Any]) -> int:
    """Count pairs of equal values."""
    _, counts = np.unique(groups, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def _squared_errors(
    vectors: NDArray[np.float32], codes: NDArray[np.int32], tokenizer: ItemTokenizer
) -> NDArray[np.float32]:
    return np.asarray(((vectors - tokenizer.decode(codes)) ** 2).sum(axis=1))


def _moves(
    after: NDArray[np.int32],
    before: NDArray[np.int32],
    vectors: NDArray[np.float32],
    tokenizer: ItemTokenizer,
    error_before: NDArray[np.float32],
) -> Moves:
    moved = np.flatnonzero((after != before).any(axis=1))
    error = _squared_errors(vectors[moved], after[moved], tokenizer)
    measurable = error_before[moved] > 1e-12
    ratio = np.sqrt(error[measurable] / error_before[moved][measurable])
    mean = float(ratio.mean()) if len(ratio) else 0.0
    return Moves(len(moved), mean, float(ratio.max(initial=0.0)))


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
