"""From a language model and a catalog's trie to ranked items."""

from genrec.decoding.beam_search import BeamSearch, BeamSettings
from genrec.decoding.filters import LeafFilter
from genrec.decoding.trie import Trie

__all__ = ["BeamSearch", "BeamSettings", "LeafFilter", "Trie"]
