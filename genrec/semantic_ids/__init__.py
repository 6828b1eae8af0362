"""From vectors to semantic IDs: item tokenizers, collision policies, quality.

An `ItemTokenizer` (residual k-means, product quantization, RQ-VAE, mixture of experts or FSQ) turns
item vectors into tuples of codes; `SemanticIds` binds them to item ids one to one; `quality` says how
good they are.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "AnyItemTokenizerSettings": "settings",
    "CollaborativeSettings": "collaborative",
    "CollaborativeSignal": "collaborative",
    "FSQ": "fsq",
    "FSQSettings": "fsq",
    "ItemIndexing": "indexing.indexing",
    "ItemTokenizer": "base",
    "MoE": "moe",
    "MoESettings": "moe",
    "PQ": "pq",
    "PQSettings": "pq",
    "QualityGate": "quality_gate",
    "QualityReport": "quality",
    "RQKMeans": "rqkmeans",
    "RQKMeansSettings": "rqkmeans",
    "RQVAE": "rqvae",
    "RQVAESettings": "rqvae",
    "SemanticIds": "semantic_ids",
    "load_item_tokenizer": "kinds",
    "make_item_tokenizer": "kinds",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: torch loads only for those who need it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
