"""Families: items that share a prefix, a few of them to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.semantic_ids.rows import groups_of

__all__ = ["Family", "families"]


@dataclass(frozen=True)
class Family:
    """Items that share their first codes.

    Attributes:
        prefix: the codes they share.
        size: how many items do.
        titles: of a few of them, spread over the family.
    """

    prefix: tuple[int, ...]
    size: int
    titles: tuple[str, ...]


def families(
    codes: NDArray[np.int32],
    titles: Sequence[str],
    a_level: int = 4,
    shown: int = 6,
    seed: int = 0,
) -> tuple[Family, ...]:
    """Draw families of at least three items, for prefixes of 1, 2 … L - 1 codes.

    A family is drawn as likely as it has items: what is read is what a random item belongs to.

    Args:
        codes: `(N, L)`.
        titles: N of them.
        a_level: most families for each prefix length.
        shown: most titles of each.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    found = []
    for length in range(1, codes.shape[1]):
        groups = [group for group in groups_of(codes[:, :length]) if len(group) >= 3]
        weight = np.array([len(group) for group in groups], float)
        count = min(a_level, len(groups))
        if not count:
            continue
        drawn = generator.choice(len(groups), count, replace=False, p=weight / weight.sum())
        found += [_family(codes[:, :length], groups[place], titles, shown) for place in drawn]
    return tuple(found)


def _family(
    prefixes: NDArray[np.int32], items: NDArray[np.int64], titles: Sequence[str], shown: int
) -> Family:
    places = np.unique(np.linspace(0, len(items) - 1, shown).astype(int))
    return Family(
        tuple(prefixes[items[0]].tolist()),
        len(items),
        tuple(titles[item] for item in items[places]),
    )
