"""Prefixes: do items that share one belong together, by category, and by what is bought together?

Both compare an observed share of pairs with its chance level, so that coarse categories, popular
items and large prefixes do not pass for structure. Pairs are counted by groups, never listed: the
cost is that of a sort, whatever the number of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories
from genrec.semantic_ids.rows import row_keys

__all__ = ["PrefixMatch", "equal_pairs", "prefix_agreement", "prefix_purity"]


@dataclass(frozen=True)
class PrefixMatch:
    """How much likelier than chance a shared prefix makes something that two items can have in common.

    Attributes:
        length: how many codes are shared.
        pairs: pairs of items that were looked at.
        observed: share of these pairs that match; 0 where there are no pairs.
        chance: the share that chance would give.
        ratio: observed / chance; 0 where chance is 0.
    """

    length: int
    pairs: int
    observed: float
    chance: float
    ratio: float


def prefix_purity(
    codes: NDArray[np.int32], labels: NDArray[np.integer[Any]]
) -> tuple[PrefixMatch, ...]:
    """Compare labels of items that share their first 1, 2 … L codes with those of any two items.

    Pairs are labelled items that share the prefix, and match when their labels are equal.

    Args:
        codes: `(N, L)`.
        labels: `(N,)`; items labelled -1 are left out.
    """
    known = labels >= 0
    _, label = np.unique(labels[known], return_inverse=True)
    all_pairs = len(label) * (len(label) - 1) // 2
    chance = equal_pairs(label) / all_pairs if all_pairs else 0.0
    found = []
    for length in range(1, codes.shape[1] + 1):
        _, prefix = np.unique(row_keys(codes[known, :length]), return_inverse=True)
        both = np.column_stack([prefix, label]).astype(np.int32)
        pairs, same = equal_pairs(prefix), equal_pairs(row_keys(both))
        observed = same / pairs if pairs else 0.0
        found.append(PrefixMatch(length, pairs, observed, chance, _ratio(observed, chance)))
    return tuple(found)


def prefix_agreement(codes: NDArray[np.int32], histories: Histories) -> tuple[PrefixMatch, ...]:
    """Compare steps of training histories with steps between items drawn as often as these.

    Pairs are all steps, and match when both items share their first codes.

    A step is a pair of successive, different items of one history: what the language model is asked
    to predict. Vectors that were joined with co-occurrence have seen the same steps.

    Args:
        codes: `(N, L)`.
        histories: the training part of the log, over the N items.
    """
    starts, ends = _steps(histories)
    begin = np.bincount(starts, minlength=len(codes)) / max(len(starts), 1)
    end = np.bincount(ends, minlength=len(codes)) / max(len(starts), 1)
    same_item = float(begin @ end)
    found = []
    for length in range(1, codes.shape[1] + 1):
        _, prefix = np.unique(row_keys(codes[:, :length]), return_inverse=True)
        observed = float((prefix[starts] == prefix[ends]).mean()) if len(starts) else 0.0
        together = float(np.bincount(prefix, begin) @ np.bincount(prefix, end))
        # A step never stays on its item, so neither may the chance one.
        chance = max(together - same_item, 0.0) / (1 - same_item) if same_item < 1 else 0.0
        chance = chance if chance > 1e-12 else 0.0
        agreement = PrefixMatch(length, len(starts), observed, chance, _ratio(observed, chance))
        found.append(agreement)
    return tuple(found)


def equal_pairs(groups: NDArray[Any]) -> int:
    """Count pairs of equal values."""
    _, counts = np.unique(groups, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def _steps(histories: Histories) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    earlier, later = histories.items[:-1], histories.items[1:]
    step = (user[:-1] == user[1:]) & (earlier != later)
    return earlier[step], later[step]


def _ratio(observed: float, chance: float) -> float:
    return observed / chance if chance else 0.0
