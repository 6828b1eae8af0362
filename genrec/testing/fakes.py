"""Fakes: tiny random models and catalogs of real Transformers architectures, small enough for a test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.decoding.trie import Trie
from genrec.language_model.vocabulary import CodeVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ARCHITECTURES", "CACHELESS", "TinyCatalog", "save_tiny_pretrained", "tiny_causal_lm"]

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": None,
    "pad_token_id": None,
}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2", _SHAPE | {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", _SHAPE | {"tie_word_embeddings": True}),
    "qwen3-untied": ("Qwen3", _SHAPE | {"tie_word_embeddings": False}),
    "llama": ("Llama", _SHAPE | {"tie_word_embeddings": False}),
    "smollm": ("Llama", _SHAPE | {"tie_word_embeddings": True}),
    "mistral-window": ("Mistral", _SHAPE | {"sliding_window": 12}),
    "gemma2-window": ("Gemma2", _SHAPE | {"sliding_window": 12, "query_pre_attn_scalar": 8}),
    "gemma3-window": ("Gemma3Text", _SHAPE | {"sliding_window": 12, "query_pre_attn_scalar": 8}),
    "gpt2": (
        "GPT2",
        {
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 256,
            "bos_token_id": 0,
            "eos_token_id": None,
        },
    ),
}
"""Architecture name -> Transformers class prefix and config values."""

CACHELESS: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("Mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
    "lfm2": ("Lfm2", _SHAPE | {"layer_types": ["conv", "full_attention"]}),
    "gpt-neo": (
        "GPTNeo",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 8,
        },
    ),
    "bloom": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
}
"""The same for models whose beams cannot share a cache: state-space, hybrid, relative positions."""


def tiny_causal_lm(architecture: str, vocab_size: int, seed: int = 0) -> PreTrainedModel:
    """Build a random causal LM of one of `ARCHITECTURES` or `CACHELESS`, in evaluation mode.

    Weights are drawn larger than usual so that predictions are far from uniform and ties do not happen.
    """
    import transformers

    name, values = (ARCHITECTURES | CACHELESS)[architecture]
    config_class = getattr(transformers, f"{name}Config")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(
            config_class(vocab_size=vocab_size, **values)
        )
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    model.eval()
    return model


@dataclass(frozen=True)
class TinyCatalog:
    """Random unique semantic IDs with a vocabulary laid out behind `first_token` ordinary tokens."""

    codes: NDArray[np.int32]
    codebook_sizes: tuple[int, ...]
    first_token: int = 5

    @classmethod
    def random(cls, items: int, codebook_sizes: tuple[int, ...], seed: int = 0) -> TinyCatalog:
        """Draw `items` distinct semantic IDs; fewer when the code space is smaller."""
        space = int(np.prod(codebook_sizes))
        chosen = np.random.default_rng(seed).choice(space, size=min(items, space), replace=False)
        columns = np.unravel_index(chosen, codebook_sizes)
        return cls(np.stack(columns, axis=1).astype(np.int32), codebook_sizes)

    @property
    def vocabulary(self) -> CodeVocabulary:
        """The codes' tokens, level after level."""
        starts = self.first_token + np.concatenate([[0], np.cumsum(self.codebook_sizes)])
        sizes = enumerate(self.codebook_sizes)
        return CodeVocabulary(
            tuple(np.arange(starts[level], starts[level] + size) for level, size in sizes)
        )

    @property
    def vocab_size(self) -> int:
        """Tokens in all."""
        return self.first_token + sum(self.codebook_sizes)

    @property
    def trie(self) -> Trie:
        """The catalog's prefix tree."""
        return Trie.build(self.codes, self.codebook_sizes)

    def prompt(self, history: list[int]) -> list[int]:
        """A start token and the history's codes."""
        tokens = (
            self.vocabulary.encode(self.codes[history]).ravel() if history else np.empty(0, int)
        )
        return [0, *(int(token) for token in tokens)]


def save_tiny_pretrained(folder: Path, architecture: str, seed: int = 0) -> Path:
    """Write a random "pretrained" causal LM with a word tokenizer, as `from_pretrained` expects it."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = [
        "<unk>",
        "<s>",
        "A",
        "shopper",
        "chose",
        "these",
        "products",
        ",",
        "oldest",
        "first",
        ":",
    ]
    model = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))  # noqa: S106
    model.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>", bos_token="<s>")  # noqa: S106
    tokenizer.save_pretrained(folder)
    # Real checkpoints pad their tables: more rows than the tokenizer has tokens.
    tiny_causal_lm(architecture, len(words) + 3, seed).save_pretrained(folder)
    return folder
