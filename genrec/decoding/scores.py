"""Scores of a level's codes: what probabilities sum to one over, one definition for training and search."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genrec.decoding.trie import Trie
from genrec.language_model.level_head import LevelHead

__all__ = ["Normalization", "child_log_probabilities"]

Normalization = Literal["vocabulary", "level", "catalog"]
"""``vocabulary``: all LM tokens; ``level``: the level's codes; ``catalog``: those that lead to an item."""


_FEW = 8
"""Gathered rows of the head cost about this many times as much as rows of one matrix product."""


def child_log_probabilities(
    head: LevelHead,
    trie: Trie,
    hidden: Tensor,
    level: int,
    nodes: Tensor,
    normalization: Normalization,
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the codes that may follow each node.

    Where items share a semantic ID, ``catalog`` splits its probability evenly among them, so that the
    scores are a distribution over items.

    Args:
        head: the level's rows of the LM head.
        trie: the catalog.
        hidden: final hidden states `(*S, D)`.
        level: which code comes next.
        nodes: `(*S)` trie nodes of depth `level`.
        normalization: what the probabilities sum to one over.

    Returns:
        The first child of each node `(*S)`, which of the C candidates that follow it are its children, and
        their log-probabilities (arbitrary where they are not), both `(*S, C)` with `C` the widest node's
        number of children.
    """
    first, end = trie.child_span(level, nodes)
    codes = trie.child_codes(level, first)
    # (C,) < (*S, 1): a node has fewer children than the widest, and the rest is padding
    real = torch.arange(codes.shape[-1], device=first.device) < (end - first)[..., None]
    if normalization == "vocabulary":
        return first, real, head.log_probabilities(hidden, level).gather(-1, codes)
    if normalization == "catalog":
        # A few rows of the head are gathered; many come cheaper out of one product: (*S, D) -> (*S, K), then
        # (*S, C).
        few = codes.shape[-1] * _FEW < trie.codebook_sizes[level]
        picked = (
            head.logits_of(hidden, level, codes)
            if few
            else head.logits(hidden, level).gather(-1, codes)
        )
        gain = picked.masked_fill(~real, -torch.inf).log_softmax(-1)
        if level == trie.levels - 1 and trie.widest[-1] > 1:
            # Items that share a semantic ID share its probability.
            gain = gain - _items_of(trie, first, codes.shape[-1]).log()
        return first, real, gain
    logits = head.logits(hidden, level)
    return first, real, logits.gather(-1, codes) - logits.logsumexp(-1, keepdim=True)


def _items_of(trie: Trie, first: Tensor, width: int) -> Tensor:
    """Items of each of the `width` semantic IDs from `first` on."""
    rank = torch.arange(width, device=first.device)
    nodes = (first[..., None] + rank).clamp_(max=trie.node_count(trie.levels) - 1)
    start, end = trie.leaves(trie.levels, nodes)
    return end - start
