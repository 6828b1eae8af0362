"""vLLM requests: which want items, and where the catalog is. Imports no vLLM.

The engine is told once where the recommender is (``additional_config={"genrec_recommender": "runs/shop"}``);
each request says for itself that it wants an item (``extra_args={"genrec": True}``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrec.common.errors import InputError, RecommenderError
from genrec.common.strict_json import read_json
from genrec.decoding.catalog_mask import CatalogMask
from genrec.decoding.trie import Trie
from genrec.language_model.saved import read_saved_tokenizer
from genrec.language_model.vocabulary import CodeVocabulary

__all__ = ["CONFIG_KEY", "REQUEST_KEY", "check_request", "open_catalog", "wants_item"]

CONFIG_KEY, REQUEST_KEY = "genrec_recommender", "genrec"

_CONFLICTS = (
    "structured_outputs",
    "allowed_token_ids",
    "bad_words",
    "min_tokens",
    "thinking_token_budget",
)
"""Sampling parameters that forbid or force tokens: with the catalog's own choice they may leave none."""


def wants_item(params: Any) -> bool:
    """Whether a request (its `SamplingParams`) is to generate an item of the catalog."""
    return bool((params.extra_args or {}).get(REQUEST_KEY, False))


def check_request(params: Any) -> None:
    """Refuse a request whose parameters make no sense for items.

    Raises:
        InputError: `genrec` is neither true nor false, or comes with a parameter that also rules tokens.
    """
    value = (params.extra_args or {}).get(REQUEST_KEY, False)
    # Over HTTP a JSON true arrives as the number 1.
    if not isinstance(value, (bool, int, float)) or value not in (0, 1):
        raise InputError(
            f"extra_args[{REQUEST_KEY!r}] = {value!r}: True generates an item of the catalog, False does not"
        )
    given = [name for name in _CONFLICTS if getattr(params, name, None)]
    if value and given:
        raise InputError(
            f"a request with extra_args[{REQUEST_KEY!r}] cannot have {', '.join(given)}: the catalog decides "
            "which tokens may come, and after them only the request's stop tokens may"
        )


def open_catalog(additional_config: object, device: torch.device | str) -> CatalogMask:
    """Load the trie and the vocabulary, nothing else, of the recommender that the engine's config names.

    Raises:
        InputError: the config names no folder.
        RecommenderError: the folder is no recommender.
    """
    named = isinstance(additional_config, Mapping) and additional_config.get(CONFIG_KEY)
    if not isinstance(named, (str, Path)):
        raise InputError(
            f"the engine must know the recommender's folder: start it with additional_config = "
            f'{{"{CONFIG_KEY}": "FOLDER"}} (vllm serve --additional-config), got {additional_config!r}'
        )
    folder = Path(named)
    if not folder.is_dir():
        raise RecommenderError(f"additional_config[{CONFIG_KEY!r}]: {folder} is not a folder")
    trie = _open_trie(folder)
    return CatalogMask(trie.to(device), _open_vocabulary(folder, trie.codebook_sizes))


def _open_trie(folder: Path) -> Trie:
    stored = folder / "trie.safetensors"
    return Trie.load(stored) if stored.is_file() else _build_trie(folder)


def _build_trie(folder: Path) -> Trie:
    """From the catalog's codes, for a folder without a stored trie."""
    import pyarrow.parquet as pq

    try:
        manifest = read_json(folder / "recommender.json")
        table = pq.read_table(folder / "catalog.parquet", columns=["semantic_id"])
        codes = np.array(table["semantic_id"].to_pylist(), np.int32)
        return Trie.build(codes, tuple(manifest["semantic_ids"]["codebook_sizes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecommenderError(f"{folder} does not hold a recommender's catalog: {error}") from None


def _open_vocabulary(folder: Path, codebook_sizes: tuple[int, ...]) -> CodeVocabulary:
    return CodeVocabulary.of(read_saved_tokenizer(folder / "language_model"), codebook_sizes)
