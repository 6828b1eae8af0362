"""Kinds of item tokenizers: the class of each, made from settings or read from a folder."""

from __future__ import annotations

from pathlib import Path

from genrec.common.errors import RecommenderError
from genrec.semantic_ids.base import (
    CONFIG,
    ItemTokenizer,
    ItemTokenizerSettings,
    read_config,
)

__all__ = ["load_item_tokenizer", "make_item_tokenizer"]


def make_item_tokenizer(settings: ItemTokenizerSettings) -> ItemTokenizer:
    """Return the unfitted item tokenizer that `settings` (with its ``kind``) describes."""
    return _class_of(getattr(settings, "kind", type(settings).__name__), "settings")(settings)


def load_item_tokenizer(folder: str | Path) -> ItemTokenizer:
    """Read an item tokenizer of whichever kind `folder` holds.

    Raises:
        RecommenderError: the folder is incomplete or names a kind that does not exist.
    """
    folder = Path(folder)
    return _class_of(read_config(folder)["kind"], str(folder / CONFIG)).load(folder)


def _class_of(kind: str, source: str) -> type[ItemTokenizer]:
    """Return the class of a kind; imported here because most of them bring in torch."""
    match kind:
        case "rqkmeans":
            from genrec.semantic_ids.rqkmeans import RQKMeans

            return RQKMeans
        case "pq":
            from genrec.semantic_ids.pq import PQ

            return PQ
        case "rqvae":
            from genrec.semantic_ids.rqvae import RQVAE

            return RQVAE
        case "moe":
            from genrec.semantic_ids.moe import MoE

            return MoE
        case "fsq":
            from genrec.semantic_ids.fsq import FSQ

            return FSQ
    raise RecommenderError(
        f"{source}: unknown item tokenizer {kind!r}; known: rqkmeans, pq, rqvae, moe, fsq"
    )
