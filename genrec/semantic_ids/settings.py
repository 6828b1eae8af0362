"""Settings of whichever item tokenizer is wanted: its ``kind`` tells which."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genrec.semantic_ids.fsq import FSQSettings
from genrec.semantic_ids.indexing.settings import AnyIndexingSettings
from genrec.semantic_ids.moe import MoESettings
from genrec.semantic_ids.pq import PQSettings
from genrec.semantic_ids.rqkmeans import RQKMeansSettings
from genrec.semantic_ids.rqvae import RQVAESettings

__all__ = ["AnyItemTokenizerSettings"]

AnyItemTokenizerSettings = Annotated[
    RQKMeansSettings | PQSettings | RQVAESettings | MoESettings | FSQSettings | AnyIndexingSettings,
    Field(discriminator="kind"),
]
"""Annotate a settings field with this to let users choose by ``kind: rqkmeans | pq | rqvae | moe | fsq``,
or an indexing's: ``random | sequential | category | title | collaborative | hybrid``."""
