"""From a language model and a catalog's trie to ranked items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genrec.decoding.beam_search import BeamSearch
from genrec.decoding.beams import BeamSettings
from genrec.decoding.filters import LeafFilter
from genrec.decoding.trie import Trie

if TYPE_CHECKING:
    from genrec.decoding.logits_processor import CatalogLogitsProcessor

__all__ = ["BeamSearch", "BeamSettings", "CatalogLogitsProcessor", "LeafFilter", "Trie"]


def __getattr__(name: str) -> Any:
    if name != "CatalogLogitsProcessor":
        raise AttributeError(f"module 'genrec.decoding' has no attribute {name!r}")
    # A subclass of one of Transformers' classes, which take seconds to import.
    from genrec.decoding.logits_processor import CatalogLogitsProcessor

    return CatalogLogitsProcessor
