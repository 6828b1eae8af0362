"""Encoders: text (and images) to vectors, cached by content.

Two kinds. `TfidfEncoder` is fitted on the catalog's own texts in seconds and needs no download;
`SentenceTransformerEncoder` runs a pretrained model, whose vectors mean the same in every catalog.
"""

from __future__ import annotations

from genrec.encoders.base import TextEncoder
from genrec.encoders.cache import encode_cached
from genrec.encoders.pretrained import SentenceTransformerEncoder, SentenceTransformerSettings
from genrec.encoders.settings import EncoderSettings, image_vectors, load_encoder, make_encoder
from genrec.encoders.tfidf import TfidfEncoder, TfidfSettings

__all__ = [
    "EncoderSettings",
    "SentenceTransformerEncoder",
    "SentenceTransformerSettings",
    "TextEncoder",
    "TfidfEncoder",
    "TfidfSettings",
    "encode_cached",
    "image_vectors",
    "load_encoder",
    "make_encoder",
]
