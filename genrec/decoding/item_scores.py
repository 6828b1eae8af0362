"""Item scores, exact, whatever a search would have found: one teacher-forced pass below the prompt.

The codes of a request's items hang below its prompt as paths of one tree. The model reads the prompts once
and all paths in one more pass, and the scores are those that a search with a beam for every item would give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genrec.decoding.scores import child_log_probabilities

if TYPE_CHECKING:
    from genrec.decoding.beams import SearchSpace
    from genrec.decoding.readers import Reader

__all__ = ["item_scores"]


def item_scores(space: SearchSpace, reader: Reader, items: Tensor) -> Tensor:
    """Log-probabilities `(R, K)` of items `(R, K)` after R prompts that `reader` has not read yet."""
    trie, leaves = space.trie, space.trie.item_leaf[items].long()
    paths = [trie.nodes_above(leaves, depth) for depth in range(1, trie.levels + 1)]
    hidden = [reader.start(), *_read_below(space, reader, paths[:-1])]
    total = torch.zeros(items.shape, device=items.device)
    above = torch.zeros_like(leaves[:, :1])  # the root
    for level, nodes in enumerate(paths):
        first, _, gain = child_log_probabilities(
            space.head, trie, hidden[level], level, above, space.settings.normalization
        )
        rank = (nodes - first)[..., None]
        # (R, 1 or K, C) -> (R, K): at the root all items share one distribution
        total += gain.expand(-1, nodes.shape[1], -1).gather(2, rank)[..., 0]
        above = nodes
    return total


def _read_below(space: SearchSpace, reader: Reader, paths: list[Tensor]) -> list[Tensor]:
    """Hidden states `(R, K, D)` of the nodes `(R, K)` of each depth from 1 on, all read in one pass."""
    if not paths:
        return []
    rows, width = paths[0].shape
    tokens = [space.tokens_of(nodes, depth) for depth, nodes in enumerate(paths, start=1)]
    slots = torch.arange(width, device=paths[0].device)
    # (L - 1, K, L - 2): item k of depth d has slot (d - 1) K + k, and its ancestors those of the depths above
    lines = slots.new_full((len(paths), width, len(paths) - 1), -1)
    for depth in range(1, len(paths)):
        lines[depth:, :, depth - 1] = slots + (depth - 1) * width
    # (R, (L - 1) K) tokens in one pass, each with its line
    hidden = reader.extend(torch.cat(tokens, dim=1), lines.flatten(0, 1).expand(rows, -1, -1))
    return list(torch.split(hidden, width, dim=1))
