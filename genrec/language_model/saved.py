"""Saved language models, read back from a folder that may come from anybody: no code of theirs runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.common.errors import InputError, RecommenderError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["read_saved_model", "read_saved_tokenizer"]


def read_saved_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read a tokenizer that Transformers saved.

    Raises:
        RecommenderError: it cannot be read, or wants to run code of its own.
    """
    from transformers import AutoTokenizer

    with _read(folder, "tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False
        )
    return tokenizer


def read_saved_model(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Read a causal language model that Transformers saved.

    Raises:
        RecommenderError: it cannot be read, wants to run code of its own, or its configuration is not that of
            the weights.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with _read(folder, "language model"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        _check_size(config, folder)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    return model


@contextmanager
def _read(folder: Path, what: str) -> Iterator[None]:
    """Say of any failure that it is the folder's."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        words = str(error).strip() or type(error).__name__
        raise RecommenderError(
            f"the {what} in {folder} cannot be read ({words.splitlines()[0]}): restore the folder from a "
            "copy, or fit again"
        ) from None


def _check_size(config: Any, folder: Path) -> None:
    """Refuse a model larger than its weights before memory is taken for it.

    Every layer has a tensor or more, and every token and every unit of width a number or more.
    """
    tensors = bytes_of_weights = 0
    for path in folder.glob("*.safetensors"):
        tensors += _tensors(path)
        bytes_of_weights += path.stat().st_size
    for name, most in (
        ("num_hidden_layers", tensors),
        ("hidden_size", bytes_of_weights),
        ("vocab_size", bytes_of_weights),
    ):
        stated = getattr(config, name, None)
        if isinstance(stated, int) and stated > most:
            raise RecommenderError(
                f"{folder / 'config.json'} states {name} = {stated:,}, more than its weights can have: "
                "restore the folder from a copy, or fit again"
            )


def _tensors(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return len(list(file.keys()))
