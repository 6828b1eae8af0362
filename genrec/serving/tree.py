"""Tree of semantic IDs, one level of it, as a picture needs it: what lies below a prefix of codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from genrec.serving.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from genrec.decoding import Trie
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["below", "parse_prefix"]

_TITLES = 3
"""Titles that speak for a child."""


def parse_prefix(words: str) -> tuple[int, ...]:
    """The codes of ``3,17``; none of the empty text.

    Raises:
        Refusal: something between two commas is no code (422).
    """
    parts = words.split(",") if words else []
    # 9 digits: no code has more, and `int` refuses thousands of them in other words.
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        raise Refusal(
            422, f"prefix = {words[:60]!r}: give codes from 0 on with commas between, such as 3,17"
        )
    return tuple(map(int, parts))


def below(
    recommender: FittedRecommender, prefix: Sequence[int], k: int, skip: int = 0
) -> dict[str, Any]:
    """Describe a prefix of a semantic ID and its children, those with most items first.

    Args:
        recommender: whose catalog.
        prefix: first codes of a semantic ID; none: all of the catalog.
        k: most children to list.
        skip: how many of the first children to leave out.

    Returns:
        `items` below the prefix, `levels` of a semantic ID, how many `children_in_all` there are, and
        `children`: `code`, `items` below it and some `titles` of each, and `item_id` where one item
        is left.

    Raises:
        Refusal: no item has the prefix (404), or it is a whole semantic ID or more (422).
    """
    trie, depth = recommender.trie, len(prefix)
    if depth >= trie.levels:
        raise Refusal(
            422,
            f"prefix = {_words(prefix)}: a semantic ID has {trie.levels} codes, and nothing lies "
            f"below a whole one: give at most {trie.levels - 1}",
        )
    node = _node(trie, prefix)
    first, end = (int(each[0]) for each in trie.child_span(depth, node))
    nodes = torch.arange(first, end, device=node.device)
    low, high = trie.leaves(depth + 1, nodes)
    order = (high - low).argsort(descending=True, stable=True)[skip : skip + k]
    codes = trie.code[depth][first:end].long()[order]
    runs = zip(codes.tolist(), low[order].tolist(), high[order].tolist(), strict=True)
    return {
        "items": int(high[-1] - low[0]),
        "levels": trie.levels,
        "children_in_all": end - first,
        "children": [_child(recommender, *run) for run in runs],
    }


def _node(trie: Trie, prefix: Sequence[int]) -> Tensor:
    node = torch.zeros(1, dtype=torch.long, device=trie.leaf_item.device)
    for depth, code in enumerate(prefix):
        node, found = trie.child(depth, node, torch.full_like(node, code))
        if not found:
            raise Refusal(404, f"no item's semantic ID begins with {_words(prefix)}")
    return node


def _child(recommender: FittedRecommender, code: int, low: int, high: int) -> dict[str, Any]:
    catalog = recommender.catalog
    places = recommender.trie.leaf_item[low : min(high, low + _TITLES)].tolist()
    return {
        "code": code,
        "items": high - low,
        "titles": [catalog.titles[place] for place in places],
        "item_id": catalog.item_ids[places[0]] if high - low == 1 else None,
    }


def _words(prefix: Sequence[int]) -> str:
    return ",".join(map(str, prefix))
