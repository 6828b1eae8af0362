"""Exact beam search over a catalog: each history is read once, each beam is one query token.

`generate(num_beams=W)` computes the prompt W times, keeps W copies of its cache and reorders them at every
step. Here a request's history is read once; at level `l` the W live prefixes enter as W tokens of one row
(see `genrec.decoding.readers`), and only the level's rows of the head are multiplied (all of them for the
normalization ``vocabulary``).

Scores are sums of log-probabilities, one a level. `normalization` says over what: the LM's whole
vocabulary (equal to `generate` with `prefix_allowed_tokens_fn`), the codes of the level, or the codes that
continue to an item of the catalog (then the scores of all items are a distribution over the catalog).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.common.errors import InputError
from genrec.decoding.beams import Beams, BeamSettings, SearchSpace
from genrec.decoding.filters import LeafFilter
from genrec.decoding.item_scores import item_scores
from genrec.decoding.leaf_flush import leaf_flush
from genrec.decoding.readers import Reader, reader_for
from genrec.decoding.scores import child_log_probabilities
from genrec.decoding.trie import Trie
from genrec.language_model.item_inputs import TokenInputs, plain_inputs
from genrec.language_model.level_head import LevelHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["BeamSearch"]


class BeamSearch:
    """Searches `trie` with `model`; both may be on any one device.

    Args:
        model: a Transformers causal LM (LoRA layers may be inside it).
        vocabulary: the codes' tokens.
        trie: the catalog.
        settings: beams, normalization, batch size.
        inputs: how prompts enter the model (see `LanguageModel.inputs`).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: CodeVocabulary,
        trie: Trie,
        settings: BeamSettings | None = None,
        inputs: TokenInputs = plain_inputs,
    ) -> None:
        self.inputs = inputs
        self.model, self.trie, self.settings = model, trie, settings or BeamSettings()
        self.head = LevelHead(model, vocabulary)
        self.space = SearchSpace(self.trie, self.head, self.settings)

    @cached_property
    def reader(self) -> type[Reader]:
        """How the model is run; decided at the first search."""
        self.model.eval()
        return reader_for(self.model, torch.cat(self.head.tokens))

    @torch.inference_mode()
    def search(
        self,
        prompts: Sequence[Sequence[int] | NDArray[np.integer]],
        k: int,
        *,
        allow: NDArray[np.integer] | None = None,
        deny: Sequence[NDArray[np.integer]] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Find the `k` best items after each of R prompts; the model is left in evaluation mode.

        Args:
            prompts: R sequences of LM tokens, none empty; the next token is a level-0 code.
            k: items wanted.
            allow: items that may be returned; None for the whole catalog.
            deny: for each prompt, items that must not be returned.

        Returns:
            Items `(R, k)` best first, distinct, -1 where fewer than `k` are allowed; their scores `(R, k)`,
            -inf there.

        Raises:
            ConfigError: the settings give beams for another number of levels.
            InputError: an empty prompt, an item outside the catalog, or not one list of `deny` a prompt.
        """
        _check(prompts, len(self.trie), allow, deny)
        items = np.full((len(prompts), k), -1, np.int32)
        scores = np.full((len(prompts), k), -np.inf, np.float32)
        widths = self.settings.widths(self.trie.levels, k)
        shared = LeafFilter.build(self.trie, allow)
        self.model.eval()
        lengths = [len(prompt) for prompt in prompts]
        for rows in _length_batches(lengths, max(widths), self.settings.batch_tokens):
            # A batch at a time: one long list of denied items would widen the rows of all requests.
            denied = None if deny is None else [deny[row] for row in rows]
            filtered = LeafFilter.denying(self.trie, shared, denied)
            leaves, best = self._search_batch([prompts[row] for row in rows], widths, filtered)
            found = leaves.shape[1]
            leaf_items = self.trie.leaf_item[leaves].masked_fill(best.isinf(), -1)
            items[rows, :found] = leaf_items.cpu().numpy()
            scores[rows, :found] = best.cpu().numpy()
        return items, scores

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[NDArray[np.int64]], items: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """Score given items after each of R prompts, exactly; the model is left in evaluation mode.

        Equal prompts that ask for equal items are read once, so that their scores are equal to the bit.

        Args:
            prompts: R sequences of LM tokens, none empty; the next token is a level-0 code.
            items: `(R, K)` of the catalog; an item may occur more than once.

        Returns:
            `(R, K)` log-probabilities, those that `search` gives to the items that it finds.

        Raises:
            InputError: an empty prompt, or an item outside the catalog.
        """
        _check(prompts, len(self.trie), items.ravel(), None)
        seen: dict[tuple[bytes, bytes], int] = {}
        keys = [(p.tobytes(), i.tobytes()) for p, i in zip(prompts, items, strict=True)]
        place = np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)
        first = np.unique(place, return_index=True)[1]
        scores = np.empty((len(first), items.shape[1]), np.float32)
        self.model.eval()
        lengths = [len(prompts[row]) for row in first]
        below = items.shape[1] * (self.trie.levels - 1)
        for rows in _length_batches(lengths, below, self.settings.batch_tokens):
            tokens, ends = _pad([prompts[first[row]] for row in rows], self.head.tokens[0])
            wanted = torch.from_numpy(items[first[rows]].astype(np.int64)).to(tokens.device)
            reader = self.reader(self.model, tokens, ends, self.inputs)
            scores[rows] = item_scores(self.space, reader, wanted).cpu().numpy()
        return scores[place]

    def _search_batch(
        self,
        prompts: Sequence[Sequence[int] | NDArray[np.integer]],
        widths: list[int],
        filtered: LeafFilter | None,
    ) -> tuple[Tensor, Tensor]:
        """Best leaves `(R, <= k)` and their scores."""
        tokens, lengths = _pad(prompts, self.head.tokens[0])
        reader = self.reader(self.model, tokens, lengths, self.inputs)
        hidden = reader.start()
        # One beam a request, at the root, with no token before it: nodes and scores (R, 1), lines (R, 1, 0)
        root = torch.zeros(len(prompts), 1, dtype=torch.int64, device=tokens.device)
        beams = Beams(root, root.float(), root[..., None][..., :0])
        for level, width in enumerate(widths):
            if level:
                if self.settings.leaf_flush and (
                    best := leaf_flush(self.space, reader, beams, widths, filtered)
                ):
                    return best
                first_slot = reader.slots
                hidden = reader.extend(self.space.tokens_of(beams.nodes, level), beams.lines)
                beams = _with_slots(beams, first_slot)
            beams = self._expand(beams, hidden, level, width, filtered)
        return self._leaves(beams, widths[-1], filtered)

    def _expand(
        self, beams: Beams, hidden: Tensor, level: int, width: int, filtered: LeafFilter | None
    ) -> Beams:
        """Extend the beams by all their children; keep each request's best `width`."""
        first, real, gain = child_log_probabilities(
            self.head, self.trie, hidden, level, beams.nodes, self.settings.normalization
        )
        # first (R, W); real and gain (R, W, C): C candidates behind each of W beams
        if filtered is not None:
            children = first[..., None] + torch.arange(real.shape[2], device=first.device)
            children = torch.where(real, children, first[..., None])
            real = real & filtered.alive(self.trie, level + 1, children)
        # (R, W, C) -> (R, W C): children of all beams compete for the next `width` places
        total = torch.where(real, beams.scores[..., None] + gain, -torch.inf).flatten(1)
        best = total.topk(min(width, total.shape[1]), dim=1)
        # A place in the flat row is beam * C + rank among its children, which are numbered in a run.
        parents, rank = best.indices // real.shape[2], best.indices % real.shape[2]
        # Dead beams stand at the root, so that no index leaves the trie.
        nodes = torch.where(best.values.isinf(), 0, first.gather(1, parents) + rank)
        above = parents[..., None].expand(-1, -1, beams.lines.shape[2])  # (R, width, J)
        return Beams(nodes, best.values, beams.lines.gather(1, above))

    def _leaves(self, beams: Beams, k: int, filtered: LeafFilter | None) -> tuple[Tensor, Tensor]:
        """The best items of whole semantic IDs, which several items may share."""
        if self.trie.widest[-1] == 1:
            return beams.nodes, beams.scores
        leaf, real = self.trie.children(self.trie.levels, beams.nodes)
        if filtered is not None:
            real = real & filtered.alive(self.trie, self.trie.levels + 1, leaf)
        # (R, W) -> (R, W, C) -> (R, W C): every item of a semantic ID has its score
        total = beams.scores[..., None].expand_as(real).masked_fill(~real, -torch.inf).flatten(1)
        best = total.sort(dim=1, descending=True, stable=True)
        return leaf.flatten(1).gather(1, best.indices[:, :k]), best.values[:, :k]


def _check(
    prompts: Sequence[Sequence[int] | NDArray[np.integer]],
    items: int,
    allow: NDArray[np.integer] | None,
    deny: Sequence[NDArray[np.integer]] | None,
) -> None:
    empty = [row for row, prompt in enumerate(prompts) if not len(prompt)]
    if empty:
        raise InputError(f"prompt {empty[0]} is empty: give it at least a start token")
    if deny is not None and len(deny) != len(prompts):
        raise InputError(f"{len(prompts)} prompts but {len(deny)} lists of denied items")
    for named in ([] if allow is None else [allow], deny or []):
        for part in named:
            if len(part) and not 0 <= np.min(part) <= np.max(part) < items:
                wrong = np.asarray(part)[(np.asarray(part) < 0) | (np.asarray(part) >= items)][0]
                raise InputError(f"item {wrong} is outside the catalog of {items} items")


def _with_slots(beams: Beams, first: int) -> Beams:
    """Add to each beam's line the slot that its newest code got."""
    slots = torch.arange(beams.nodes.shape[1], device=beams.nodes.device) + first
    # (W,) -> (R, W, 1): beam w of every request was read into slot first + w
    own = slots.expand_as(beams.nodes)[..., None]
    return replace(beams, lines=torch.cat([beams.lines, own], dim=2))


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
    lengths = [len(prompt) for prompt in prompts]
    # A code, not the pad token: some models warn about a pad token that comes without a mask.
    tokens = np.full((len(prompts), max(lengths)), int(filler[0]), np.int64)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    device = filler.device
    return torch.from_numpy(tokens).to(device), torch.tensor(lengths, device=device)
