"""Compact language model: a small GPT-2, trained from scratch on the catalog's own codes.

Its tokenizer knows a start token and nothing else; the codes' tokens are added as to any other model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["CompactSettings", "compact_model", "compact_tokenizer"]


class CompactSettings(Settings):
    """Shape of the compact language model (a GPT-2 architecture: it has dropout everywhere)."""

    width: int = Field(128, ge=8, multiple_of=4)
    """Hidden size D; a multiple of `heads`."""
    layers: int = Field(3, ge=1)
    """Transformer blocks."""
    heads: int = Field(4, ge=1)
    """Attention heads."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout of embeddings, attention and residual branches."""


def compact_tokenizer() -> PreTrainedTokenizerBase:
    """Make the tokenizer that the codes' tokens are added to."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<s>": 0, "<unk>": 1}, unk_token="<unk>"))  # noqa: S106 a token, no secret
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", unk_token="<unk>")  # noqa: S106


def compact_model(shape: CompactSettings, tokens: int, positions: int) -> PreTrainedModel:
    """Make an untrained model from torch's random state.

    Args:
        shape: how large.
        tokens: rows of its tables, V.
        positions: longest sequence.

    Raises:
        InputError: `width` is no multiple of `heads`.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    if shape.width % shape.heads:
        raise InputError(
            f"language_model.compact.width = {shape.width} must be a multiple of heads = {shape.heads}"
        )
    config = GPT2Config(
        vocab_size=tokens,
        n_positions=positions,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=shape.dropout,
        embd_pdrop=shape.dropout,
        attn_pdrop=shape.dropout,
        activation_function="relu",
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)
