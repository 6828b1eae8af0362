"""Logits processor: the catalog inside Hugging Face `generate`, with any of its search or sampling modes.

`BeamSearch` is faster and takes filters; this is for code that is built around `generate`:

    import torch
    from transformers import LogitsProcessorList
    from genrec import GenerativeRecommender
    from genrec.decoding import CatalogLogitsProcessor

    recommender = GenerativeRecommender.from_pretrained("runs/shop", device="cpu")
    language_model, trie = recommender.language_model, recommender.trie
    history = recommender.catalog.index_of(["B004756YJA", "B004ZT0SSG"])
    codes = language_model.vocabulary.encode(recommender.semantic_ids.codes[history])
    prompt = torch.tensor([[*language_model.prefix, *codes.ravel().tolist()]])
    processor = CatalogLogitsProcessor(trie, language_model.vocabulary, prompt.shape[1])
    sequences = language_model.core.generate(
        prompt, attention_mask=torch.ones_like(prompt), logits_processor=LogitsProcessorList([processor]),
        num_beams=10, num_return_sequences=10, do_sample=False,
        max_new_tokens=trie.levels, eos_token_id=None, pad_token_id=0,
    )
    items = processor.items(sequences)                       # (10,) rows of the catalog
    [recommender.catalog.titles[item] for item in items]
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor

from genrec.common.errors import InputError
from genrec.decoding.catalog_mask import CatalogMask
from genrec.decoding.trie import Trie
from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["CatalogLogitsProcessor"]


class CatalogLogitsProcessor(LogitsProcessor):  # type: ignore[misc]
    """Leaves only tokens that lead to an item; gives what `prefix_allowed_tokens_fn` gives, in one step.

    It keeps no state, so one processor may serve any number of calls with prompts of the same width.

    Args:
        trie: the catalog, on the model's device.
        vocabulary: the codes' tokens.
        prompt_length: common width of the (left-padded) prompts; what stands behind it was generated.
        eos_token_id: the only token that may follow a whole semantic ID. None where `generate` stops by
            itself with `max_new_tokens` = L.

    Raises:
        InputError: trie and vocabulary do not belong together, or `prompt_length` is negative.
    """

    def __init__(
        self,
        trie: Trie,
        vocabulary: CodeVocabulary,
        prompt_length: int,
        eos_token_id: int | None = None,
    ) -> None:
        if prompt_length < 0:
            raise InputError(f"prompt_length = {prompt_length}: give the prompts' width in tokens")
        self.mask, self.prompt_length = CatalogMask(trie, vocabulary), prompt_length
        self.eos_token_id = eos_token_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Set the scores of tokens that lead to no item to -inf.

        Args:
            input_ids: `(B, T)` prompts and what was generated, B being R requests times W beams.
            scores: `(B, V)` logits or log-probabilities of the next token.

        Returns:
            New scores `(B, V)`. A row whose generated tokens begin no item of the catalog is -inf throughout.

        Raises:
            InputError: the sequences are narrower than the prompts, V is smaller than the vocabulary, or
                more than L tokens are asked for without `eos_token_id`.
        """
        generated = self._generated(input_ids)
        if generated.shape[1] < self.mask.levels:
            allowed = self.mask.allowed(generated, scores.shape[1])
        else:
            allowed = self._closing(generated, scores.shape[1])
        return scores.masked_fill(~allowed, -torch.inf)

    def items(self, sequences: Tensor) -> Tensor:
        """Read off the items that `generate` wrote.

        Args:
            sequences: `(B, T)` as `generate` returns them, prompts included, with ``T >= prompt_length + L``.

        Returns:
            Items `(B)`, -1 where the tokens are no item's. Of items that share a semantic ID, the first.

        Raises:
            InputError: fewer than L tokens were generated.
        """
        levels = self.mask.levels
        generated = self._generated(sequences)[:, :levels]
        if generated.shape[1] < levels:
            raise InputError(
                f"{generated.shape[1]} tokens were generated, an item has {levels}: "
                f"generate with max_new_tokens = {levels}"
            )
        nodes, real = self.mask.walk(generated)
        first, _ = self.mask.trie.leaves(levels, nodes)
        return self.mask.trie.leaf_item[first].long().masked_fill(~real, -1)

    def _generated(self, sequences: Tensor) -> Tensor:
        if sequences.shape[1] < self.prompt_length:
            raise InputError(
                f"sequences of {sequences.shape[1]} tokens are narrower than prompt_length = "
                f"{self.prompt_length}: make one processor for each width of prompts"
            )
        return sequences[:, self.prompt_length :]

    def _closing(self, generated: Tensor, width: int) -> Tensor:
        """Mask `(B, V)` behind a whole semantic ID: end of sequence, as often as it is asked for."""
        levels, eos = self.mask.levels, self.eos_token_id
        if eos is None:
            raise InputError(
                f"an item has {levels} tokens, and a token after them was asked for: generate with "
                f"max_new_tokens = {levels}, or give eos_token_id"
            )
        _, real = self.mask.walk(generated[:, :levels])
        real = real & (generated[:, levels:] == eos).all(1)
        allowed = torch.zeros(len(real), width, dtype=torch.bool, device=real.device)
        allowed[:, eos] = real
        return allowed
