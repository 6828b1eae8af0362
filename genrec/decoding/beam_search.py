"""Exact beam search over a catalog: each history is read once, each beam is one query token.

`generate(num_beams=W)` computes the prompt W times, keeps W copies of its cache and reorders them at every
step. Here a request stays one row. Its history is prefilled once; at level `l` the W live prefixes enter as
W tokens with the same position, and a 4-D mask shows each of them the history and its own ancestors.
Nothing is copied or reordered, and the matrix products have W rows instead of one.

Scores are sums of log-probabilities, one a level. `normalization` says over what: the LM's whole
vocabulary (equal to `generate` with `prefix_allowed_tokens_fn`), the codes of the level, or the codes that
continue to an item of the catalog (then the scores of all items are a distribution over the catalog).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from genrec.config import Settings
from genrec.decoding.ancestry import Ancestry, SlidingWindow
from genrec.decoding.filters import LeafFilter
from genrec.decoding.scores import Normalization, child_log_probabilities
from genrec.decoding.trie import Trie
from genrec.language_model.level_head import LevelHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["BeamSearch", "BeamSettings"]


class BeamSettings(Settings):
    """How the catalog is searched."""

    beams: int = Field(50, ge=1)
    """Live prefixes W; the search uses at least the number of items asked for."""
    normalization: Normalization = "catalog"
    """What a level's probabilities sum to one over."""
    batch_tokens: int = Field(16384, ge=1)
    """Prompt tokens and beams computed together; bounds memory."""


@dataclass(frozen=True)
class _Beams:
    """Live prefixes of R requests: trie nodes and log-probabilities, both `(R, W)`; -inf is a dead beam."""

    nodes: Tensor
    scores: Tensor


class BeamSearch:
    """Searches `trie` with `model`; both may be on any one device.

    Args:
        model: a Transformers causal LM with a key-value cache (LoRA layers may be inside it).
        vocabulary: the codes' tokens.
        trie: the catalog.
        settings: beams, normalization, batch size.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: CodeVocabulary,
        trie: Trie,
        settings: BeamSettings | None = None,
    ) -> None:
        self.model, self.trie, self.settings = model, trie, settings or BeamSettings()
        self.head = LevelHead(model, vocabulary)
        self.window = SlidingWindow.of(model.config)

    @torch.inference_mode()
    def search(
        self,
        prompts: Sequence[Sequence[int] | NDArray[np.integer]],
        k: int,
        *,
        allow: NDArray[np.integer] | None = None,
        deny: Sequence[NDArray[np.integer]] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Find the `k` best items after each of R prompts.

        Args:
            prompts: R sequences of LM tokens, none empty; the next token is a level-0 code.
            k: items wanted.
            allow: items that may be returned; None for the whole catalog.
            deny: for each prompt, items that must not be returned.

        Returns:
            Items `(R, k)` best first, distinct, -1 where fewer than `k` are allowed; their scores `(R, k)`,
            -inf there.
        """
        items = np.full((len(prompts), k), -1, np.int32)
        scores = np.full((len(prompts), k), -np.inf, np.float32)
        self.model.eval()
        lengths = [len(prompt) for prompt in prompts]
        width = max(k, self.settings.beams)
        for rows in _length_batches(lengths, width, self.settings.batch_tokens):
            denied = None if deny is None else [deny[row] for row in rows]
            filtered = LeafFilter.build(self.trie, allow, denied)
            best = self._search_batch([prompts[row] for row in rows], k, filtered)
            found = best.nodes.shape[1]
            leaf_items = self.trie.leaf_item[best.nodes].masked_fill(best.scores.isinf(), -1)
            items[rows, :found] = leaf_items.cpu().numpy()
            scores[rows, :found] = best.scores.cpu().numpy()
        return items, scores

    def _search_batch(
        self,
        prompts: Sequence[Sequence[int] | NDArray[np.integer]],
        k: int,
        filtered: LeafFilter | None,
    ) -> _Beams:
        tokens, lengths = _pad(prompts, self.head.tokens[0])
        hidden, cache = self._prefill(tokens, lengths)
        ancestry = Ancestry(lengths, tokens.shape[1], self.window, hidden.dtype)
        root = torch.zeros(len(prompts), 1, dtype=torch.int64, device=tokens.device)
        beams = _Beams(root, root.float())
        width, last = max(k, self.settings.beams), self.trie.levels - 1
        for level in range(self.trie.levels):
            beams, parents = self._expand(
                beams, hidden, level, k if level == last else width, filtered
            )
            if level < last:
                ancestry.select(parents)
                hidden = self._decode(self.trie.code[level][beams.nodes], level, ancestry, cache)
        return beams

    def _prefill(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, object]:
        """Read the prompts `(R, P)`; return the last real hidden states `(R, 1, D)` and the cache.

        Rows are padded on the right, where causal attention keeps padding out of sight without any mask.
        """
        from transformers import DynamicCache

        # A cache without a config keeps all keys of all layers; sliding windows are cut by masks instead.
        cache = DynamicCache()
        out = self.model.base_model(input_ids=tokens, past_key_values=cache, use_cache=True)
        rows = torch.arange(len(tokens), device=tokens.device)
        return out.last_hidden_state[rows, lengths - 1][:, None], cache

    def _expand(
        self, beams: _Beams, hidden: Tensor, level: int, width: int, filtered: LeafFilter | None
    ) -> tuple[_Beams, Tensor]:
        """Extend the beams by all their children; keep each request's best `width` and their parents."""
        child, real, gain = child_log_probabilities(
            self.head, self.trie, hidden, level, beams.nodes, self.settings.normalization
        )
        if filtered is not None:
            leaf_start = self.trie.leaf_start[level + 1]
            real = real & filtered.alive(leaf_start[child], leaf_start[child + 1])
        total = (beams.scores[..., None] + gain).masked_fill(~real, -torch.inf).flatten(1)
        best = total.topk(min(width, total.shape[1]), dim=1)
        nodes = child.flatten(1).gather(1, best.indices)
        return _Beams(nodes, best.values), best.indices // child.shape[2]

    def _decode(self, code: Tensor, level: int, ancestry: Ancestry, cache: object) -> Tensor:
        """Run the newest code `(R, W)` of every beam as one query token; return hidden states `(R, W, D)`."""
        out = self.model.base_model(
            input_ids=self.head.tokens[level][code],
            attention_mask=ancestry.mask(),
            position_ids=ancestry.positions(),
            past_key_values=cache,
            use_cache=True,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden


def _length_batches(lengths: Sequence[int], beams: int, budget: int) -> Iterator[list[int]]:
    """Group row numbers by length so that padded prompts plus beams stay within `budget` tokens."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * (lengths[row] + beams) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _pad(
    prompts: Sequence[Sequence[int] | NDArray[np.integer]], filler: Tensor
) -> tuple[Tensor, Tensor]:
    """Stack ragged prompts into `(R, P)`, padded on the right with a code; return them and their lengths."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=filler.device)
    # A code, not the pad token: some models warn about a pad token that comes without a mask.
    tokens = filler[0].repeat(len(prompts), int(lengths.max()))
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = torch.as_tensor(np.asarray(prompt, np.int64), device=filler.device)
    return tokens, lengths
