"""Catalog mask: the LM tokens that may come next so that a catalog item comes out.

Engines that own their decoding loop hand out the tokens generated so far and take back logits. The mask
walks the trie through those tokens again each time, so it has no state of its own that an engine's
reordering could put out of step, and it never waits for the device: no value is read back from it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.common.errors import InputError
from genrec.decoding.trie import Trie
from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["CatalogMask"]


class CatalogMask:
    """The catalog's prefixes, in LM tokens.

    Args:
        trie: the catalog; its device is where logits must be.
        vocabulary: the codes' tokens.

    Raises:
        InputError: the vocabulary belongs to other codebooks.
    """

    def __init__(self, trie: Trie, vocabulary: CodeVocabulary) -> None:
        if vocabulary.codebook_sizes != trie.codebook_sizes:
            raise InputError(
                f"the vocabulary has codebooks of {vocabulary.codebook_sizes} codes, the trie of "
                f"{trie.codebook_sizes}: take both from one recommender"
            )
        self.trie, device = trie, trie.item_leaf.device
        self.width = 1 + max(int(tokens.max()) for tokens in vocabulary.tokens)
        """Logits must have at least this many columns."""
        self._tokens = [torch.from_numpy(tokens).to(device) for tokens in vocabulary.tokens]
        self._codes = [_codes_of(tokens, self.width).to(device) for tokens in vocabulary.tokens]

    @property
    def levels(self) -> int:
        """Number of tokens in an item's semantic ID, L."""
        return self.trie.levels

    def walk(self, generated: Tensor) -> tuple[Tensor, Tensor]:
        """Follow generated tokens `(B, G)`, ``0 <= G <= L``, from the root.

        Returns:
            The node of depth G that each row reaches and whether there is one, both `(B)`; an arbitrary
            valid node where not. Tokens that are no code of their level lead nowhere.
        """
        nodes = torch.zeros(len(generated), dtype=torch.int64, device=generated.device)
        real = torch.ones_like(nodes, dtype=torch.bool)
        for level, tokens in enumerate(generated.unbind(1)):
            # Any number is a fair question: -1 and `width` both ask for the last entry, which is no code.
            codes = self._codes[level][tokens.long().clamp(-1, self.width)]
            nodes, exists = self.trie.child(level, nodes, codes)
            real = real & exists
        return nodes, real

    def allowed(self, generated: Tensor, width: int) -> Tensor:
        """Tokens that continue `generated` `(B, G)`, ``0 <= G < L``, towards an item.

        Returns:
            A mask `(B, V)` with `V` = `width`; `(1, V)` before the first code, where all rows are alike. The
            row of a prefix that no item has is all False.

        Raises:
            InputError: V is smaller than the vocabulary.
        """
        self.check_width(width)
        level = generated.shape[1]
        nodes, real = self.walk(generated if level else generated[:1])
        child, exists = self.trie.children(level, nodes)
        tokens = self._tokens[level][self.trie.code[level][child].long()]
        # Every node has a first child, so padding may repeat that one.
        tokens = torch.where(exists, tokens, tokens[:, :1])
        allowed = torch.zeros(len(nodes), width, dtype=torch.bool, device=tokens.device)
        return allowed.scatter_(1, tokens, real[:, None].expand_as(tokens))

    def restrict(
        self, logits: Tensor, rows: Tensor, generated: Tensor, levels: NDArray[np.integer]
    ) -> None:
        """Set the forbidden tokens of some rows of `logits` `(B, V)` to -inf, in place.

        Args:
            logits: one row a sequence; rows that are not named stay as they are.
            rows: `(n)` which rows.
            generated: `(n, L)` their tokens so far; entries past a row's level are not looked at.
            levels: `(n)` how many tokens each has, ascending; rows with L or more stay as they are.
        """
        bounds = np.searchsorted(levels, np.arange(self.levels + 1)).tolist()
        for level, (start, end) in enumerate(pairwise(bounds)):
            if start < end:
                some = rows[start:end]
                allowed = self.allowed(generated[start:end, :level], logits.shape[1])
                logits[some] = logits[some].masked_fill(~allowed, -torch.inf)

    def check_width(self, width: int) -> None:
        """Refuse logits that have no column for some code.

        Raises:
            InputError: with both sizes.
        """
        if width < self.width:
            raise InputError(
                f"logits of {width} tokens lack some of the codes' tokens, which go up to {self.width - 1}: "
                "the language model is not the recommender's, or its embeddings were not resized"
            )


def _codes_of(tokens: NDArray[np.int64], width: int) -> Tensor:
    """Code of each token `0 … width - 1`, and -1 for the others and at one more entry, the last."""
    codes = torch.full((width + 1,), -1, dtype=torch.int64)
    codes[torch.from_numpy(tokens)] = torch.arange(len(tokens))
    return codes
