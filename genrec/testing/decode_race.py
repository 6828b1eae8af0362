"""The same constrained beam search twice: genrec's, and Hugging Face `generate`, on one random model.

What a race needs (a Qwen3-shaped model, a catalog of random codes, histories), so that a benchmark is
only a clock around two calls, and their results can be compared item by item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from genrec.config import Settings
from genrec.decoding import BeamSearch, BeamSettings, Trie
from genrec.testing.fakes import TinyCatalog

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["DecodeRace", "DecodeWorkload", "overlap"]


class DecodeWorkload(Settings):
    """How much is decoded, with what model; the defaults have 4.5 million parameters."""

    users: int = Field(16, ge=1)
    """Histories R of one batch."""
    history: int = Field(20, ge=1)
    """Items of a history; times the levels, that is the length of the prompt in tokens."""
    beams: int = Field(20, ge=1)
    """Beams W, and items returned."""
    items: int = Field(12_000, ge=2)
    """Items N of the catalog, with distinct random codes."""
    codebook_sizes: tuple[int, ...] = Field((256, 256, 256, 256), min_length=1)
    """Codes of each level."""
    width: int = Field(256, ge=32, multiple_of=32)
    """Hidden size D; heads are 32 wide, and two share one key-value head."""
    layers: int = Field(4, ge=1)
    """Transformer blocks."""
    inner: int = Field(1120, ge=1)
    """Width of the feed-forward layers."""
    device: str = "cpu"
    """Where both run, in float32."""
    seed: int = Field(0, ge=0)
    """Of weights, codes and histories."""


class DecodeRace:
    """One workload, ready to be decoded either way.

    Attributes:
        model: the random language model.
        parameters: how many it has.
    """

    def __init__(self, workload: DecodeWorkload) -> None:
        self.workload = workload
        catalog = TinyCatalog.random(workload.items, workload.codebook_sizes, workload.seed)
        self.model = _random_qwen3(workload, catalog.vocab_size)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self._tokens = catalog.vocabulary.encode(catalog.codes)
        self._children = _children(self._tokens)
        self._item = {tuple(row): item for item, row in enumerate(self._tokens.tolist())}
        shape = (workload.users, workload.history)
        histories = np.random.default_rng(workload.seed).integers(len(catalog.codes), size=shape)
        self._prompts = self._tokens[histories].reshape(workload.users, -1)
        self._search = BeamSearch(
            self.model,
            catalog.vocabulary,
            Trie.build(catalog.codes, catalog.codebook_sizes, workload.device),
            BeamSettings(beams=workload.beams, normalization="vocabulary"),
        )

    def genrec(self) -> NDArray[np.int32]:
        """Items `(R, W)` by `BeamSearch` with normalization "vocabulary"."""
        return self._search.search(list(self._prompts), self.workload.beams)[0]

    def generate(self) -> NDArray[np.int32]:
        """Items `(R, W)` by `generate` with ``prefix_allowed_tokens_fn``."""
        prompts = torch.from_numpy(self._prompts).to(self.workload.device)
        start, beams = prompts.shape[1], self.workload.beams
        sequences = self.model.generate(
            input_ids=prompts,
            attention_mask=torch.ones_like(prompts),
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=self._tokens.shape[1],
            prefix_allowed_tokens_fn=lambda _, sent: self._children[tuple(sent[start:].tolist())],
            do_sample=False,
            length_penalty=0.0,
            eos_token_id=None,
            pad_token_id=0,
        )
        found = [self._item[tuple(row)] for row in sequences[:, start:].tolist()]
        return np.array(found, np.int32).reshape(-1, beams)


def overlap(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """Mean share of a row's items, of `(R, W)` each, that the other row has too."""
    shared = [len(set(a) & set(b)) / len(a) for a, b in zip(first, second, strict=True)]
    return float(np.mean(shared))


def _random_qwen3(workload: DecodeWorkload, vocab_size: int) -> PreTrainedModel:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    heads = workload.width // 32
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=workload.width,
        intermediate_size=workload.inner,
        num_hidden_layers=workload.layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        head_dim=32,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(workload.seed)
        model = Qwen3ForCausalLM(config)
        # Larger weights than at a usual start: predictions far from uniform, so that no two items tie.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.1)
    return model.to(workload.device).eval()


def _children(tokens: NDArray[np.int64]) -> dict[tuple[int, ...], list[int]]:
    """The tokens that may follow each prefix, as `generate`'s callback wants them."""
    following: dict[tuple[int, ...], set[int]] = {}
    for row in tokens.tolist():
        for level, token in enumerate(row):
            following.setdefault(tuple(row[:level]), set()).add(token)
    return {prefix: sorted(allowed) for prefix, allowed in following.items()}
