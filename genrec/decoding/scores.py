"""What a level's probabilities sum to one over; training and search share this one definition."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genrec.decoding.trie import Trie
from genrec.language_model.level_head import LevelHead

__all__ = ["Normalization", "child_log_probabilities"]

Normalization = Literal["vocabulary", "level", "catalog"]
"""``vocabulary``: all LM tokens; ``level``: the level's codes; ``catalog``: those that lead to an item."""


def child_log_probabilities(
    head: LevelHead,
    trie: Trie,
    hidden: Tensor,
    level: int,
    nodes: Tensor,
    normalization: Normalization,
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the codes that may follow each node.

    Args:
        head: the level's rows of the LM head.
        trie: the catalog.
        hidden: final hidden states `(*S, D)`.
        level: which code comes next.
        nodes: `(*S)` trie nodes of depth `level`.
        normalization: what the probabilities sum to one over.

    Returns:
        Child nodes, which of them are real, and their log-probabilities (arbitrary where not real), each
        `(*S, C)` with `C` the widest node's number of children.
    """
    child, real = trie.children(level, nodes)
    logits = head.logits(hidden, level)
    picked = logits.gather(-1, trie.code[level][child])
    if normalization == "catalog":
        return child, real, picked.masked_fill(~real, -torch.inf).log_softmax(-1)
    if normalization == "level":
        return child, real, picked - logits.logsumexp(-1, keepdim=True)
    return child, real, picked - head.log_normalizer(hidden)[..., None]
