"""Churn: what changed between two catalogs' semantic IDs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.semantic_ids.prefixes import equal_pairs
from genrec.semantic_ids.rows import row_keys
from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = ["Churn", "LevelChurn", "churn"]


@dataclass(frozen=True)
class LevelChurn:
    """What changed at one level, over the common items.

    Attributes:
        level: which, from 0.
        code: share of items whose code of this level is another.
        prefix: share of items for which one of the codes up to here is another.
        company: of the pairs of items that shared the codes up to here, the share that no longer
            do; None where there was no pair. Unlike the other two it does not mind new numbering.
    """

    level: int
    code: float
    prefix: float
    company: float | None


@dataclass(frozen=True)
class Churn:
    """How the semantic IDs of one catalog differ from those of another.

    Codes are compared by number. An item tokenizer that was fitted anew numbers its codes anew: then
    nearly everything has changed by number, and only `LevelChurn.company` says what has in meaning.

    Attributes:
        common: items that both have.
        added: items that only the first has.
        removed: items that only the second has.
        changed: share of common items with another tuple, in [0, 1].
        levels: one entry for each level that both have.
    """

    common: int
    added: int
    removed: int
    changed: float
    levels: tuple[LevelChurn, ...]


def churn(now: SemanticIds, before: SemanticIds) -> Churn:
    """Compare semantic IDs with earlier ones, item by item."""
    place = {item_id: row for row, item_id in enumerate(before.item_ids)}
    rows = [(row, place[item_id]) for row, item_id in enumerate(now.item_ids) if item_id in place]
    mine, theirs = np.array(rows, np.int64).reshape(-1, 2).T
    levels = min(now.codes.shape[1], before.codes.shape[1])
    new, old = now.codes[mine, :levels], before.codes[theirs, :levels]
    same_length = now.codes.shape[1] == before.codes.shape[1]
    changed = _share((new != old).any(axis=1)) if same_length else float(len(rows) > 0)
    return Churn(
        common=len(rows),
        added=len(now) - len(rows),
        removed=len(before) - len(rows),
        changed=changed,
        levels=tuple(_level(new, old, level) for level in range(levels)),
    )


def _level(new: NDArray[np.int32], old: NDArray[np.int32], level: int) -> LevelChurn:
    upto = slice(0, level + 1)
    together = equal_pairs(row_keys(old[:, upto]))
    still = equal_pairs(row_keys(np.concatenate([old[:, upto], new[:, upto]], axis=1)))
    return LevelChurn(
        level,
        _share(new[:, level] != old[:, level]),
        _share((new[:, upto] != old[:, upto]).any(axis=1)),
        1 - still / together if together else None,
    )


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else 0.0
