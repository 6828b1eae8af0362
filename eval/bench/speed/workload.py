"""Workload: random models of given shapes, random catalogs of up to billions of possible codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.decoding import Trie
from genrec.language_model.vocabulary import CodeVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ModelShape", "Stage", "Workload", "random_codes", "random_model", "random_prompts"]


class ModelShape(Settings):
    """A causal language model's sizes; the defaults have 4.5 million parameters with 4×256 codes."""

    architecture: Literal["Qwen3", "Llama"] = "Qwen3"
    """Transformers class."""
    width: int = Field(256, ge=8)
    """Hidden size D."""
    layers: int = Field(4, ge=1)
    """Transformer blocks."""
    heads: int = Field(8, ge=1)
    """Query heads of a block."""
    key_value_heads: int = Field(4, ge=1)
    """Key-value heads of a block; divides `heads`."""
    head_dim: int = Field(32, ge=2)
    """Width of a head."""
    inner: int = Field(1120, ge=1)
    """Width of the feed-forward layers."""
    ordinary_tokens: int = Field(5, ge=1)
    """Tokens of the vocabulary that are no codes."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights, activations and cache."""
    needs_cuda: bool = False
    """Whether cells with this model are skipped where there is no CUDA device."""


class Workload(Settings):
    """How much is decoded."""

    users: int = Field(16, ge=1)
    """Requests R of one call."""
    prompt: int = Field(80, ge=1)
    """Prompt tokens P of each request."""
    beams: int = Field(20, ge=1)
    """Beams W, and items returned."""
    levels: int = Field(4, ge=1, le=8)
    """Codes L of an item."""
    codes: int = Field(256, ge=2, le=65_536)
    """Codes of each level."""
    items: int = Field(12_000, ge=2)
    """Items N of the catalog, with distinct random codes."""
    model: str = "4m"
    """Name of one of the models."""
    seed: int = Field(0, ge=0)
    """Of weights, codes, prompts and filters."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes of each level."""
        return (self.codes,) * self.levels


@dataclass(frozen=True)
class Stage:
    """A workload made real, on one device.

    Attributes:
        workload: its sizes.
        model: random weights.
        vocabulary: tokens of the codes, behind the ordinary ones.
        trie: the catalog.
        prompts: `(R, P)` int64, codes of random items of the catalog.
    """

    workload: Workload
    model: PreTrainedModel
    vocabulary: CodeVocabulary
    trie: Trie
    prompts: NDArray[np.int64]

    @classmethod
    def build(cls, workload: Workload, shape: ModelShape, device: str) -> Stage:
        """Draw everything from the workload's seed."""
        codes = random_codes(workload.items, workload.codebook_sizes, workload.seed)
        vocabulary = _vocabulary(shape.ordinary_tokens, workload.codebook_sizes)
        vocab_size = shape.ordinary_tokens + sum(workload.codebook_sizes)
        return cls(
            workload,
            random_model(shape, vocab_size, device, workload.seed),
            vocabulary,
            Trie.build(codes, workload.codebook_sizes, device),
            random_prompts(vocabulary, codes, workload),
        )


def random_codes(items: int, codebook_sizes: tuple[int, ...], seed: int) -> NDArray[np.int32]:
    """Draw distinct semantic IDs, every set of them equally likely: `(N, L)` in random order.

    Takes a few numbers an item, however large the space of codes is.

    Raises:
        InputError: the space holds fewer.
    """
    space = math.prod(codebook_sizes)
    if items > space:
        raise InputError(f"{items} items need as many codes, {codebook_sizes} make only {space}")
    generator = np.random.default_rng(seed)
    keys = _distinct(items, space, generator)
    codes = np.empty((items, len(codebook_sizes)), np.int32)
    for level in reversed(range(len(codebook_sizes))):
        keys, codes[:, level] = np.divmod(keys, codebook_sizes[level])
    return codes


def _distinct(count: int, space: int, generator: np.random.Generator) -> NDArray[np.int64]:
    if 2 * count > space:  # dense: most draws would repeat
        return generator.permutation(space)[:count]
    keys = np.empty(0, np.int64)
    while missing := count - len(keys):
        # Never more than are missing: cutting a surplus of a sorted set would favour small keys.
        keys = np.concatenate([keys, generator.integers(space, size=missing)])
        keys.sort()
        keys = keys[np.append(True, keys[1:] != keys[:-1])]
    generator.shuffle(keys)
    return keys


def random_prompts(
    vocabulary: CodeVocabulary, codes: NDArray[np.int32], workload: Workload
) -> NDArray[np.int64]:
    """Histories of random items as LM tokens `(R, P)`, the oldest item cut where P is no multiple of L."""
    shape = (workload.users, -(-workload.prompt // workload.levels))
    histories = np.random.default_rng(workload.seed).integers(len(codes), size=shape)
    tokens = vocabulary.encode(codes[histories]).reshape(workload.users, -1)
    return tokens[:, -workload.prompt :]


def random_model(shape: ModelShape, vocab_size: int, device: str, seed: int) -> PreTrainedModel:
    """Build the model with larger weights than at a usual start.

    Predictions are then far from uniform, so that no two items tie.
    """
    import transformers

    config_class = getattr(transformers, f"{shape.architecture}Config")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(
            config_class(vocab_size=vocab_size, **_config_values(shape))
        )
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=1.6 / math.sqrt(shape.width))
    ready: PreTrainedModel = model.to(device, getattr(torch, shape.dtype)).eval()
    return ready


def _config_values(shape: ModelShape) -> dict[str, Any]:
    return {
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head_dim,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _vocabulary(first_token: int, codebook_sizes: tuple[int, ...]) -> CodeVocabulary:
    tokens = np.arange(first_token, first_token + sum(codebook_sizes))
    return CodeVocabulary(tuple(np.split(tokens, np.cumsum(codebook_sizes)[:-1])))
