"""Data settings: two files, or a synthetic shop."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Self

from pydantic import model_validator

from genrec.common.config import Settings
from genrec.data.catalog import Catalog, CatalogColumns
from genrec.data.interactions import InteractionColumns, Interactions, LogPolicy
from genrec.data.reading.text_format import TextFormat
from genrec.data.synthetic import SyntheticShop, generate

__all__ = ["DataSettings"]

log = logging.getLogger(__name__)


class DataSettings(Settings):
    """A catalog and its log: either both files, or a shop to make up."""

    items: Path | None = None
    """Product table: CSV, TSV, JSON lines or Parquet; a file, folder, glob or URL."""
    interactions: Path | None = None
    """Click log, in any of these formats."""
    item_columns: CatalogColumns = CatalogColumns()
    """What the product table calls its columns."""
    interaction_columns: InteractionColumns = InteractionColumns()
    """What the click log calls its columns."""
    item_format: TextFormat = TextFormat()
    """How the product table is written, if it is a text file."""
    interaction_format: TextFormat = TextFormat()
    """How the click log is written, if it is a text file."""
    policy: LogPolicy = LogPolicy()
    """Which rows of the log are kept."""
    shop: SyntheticShop | None = None
    """Make this synthetic shop instead of reading files."""

    @model_validator(mode="after")
    def _files_or_shop(self) -> Self:
        files = (self.items is not None) + (self.interactions is not None)
        if files != (0 if self.shop else 2):
            raise ValueError("give either items and interactions (two files), or shop")
        return self

    def read(self) -> tuple[Catalog, Interactions]:
        """Read the files, or make the shop; what was read and dropped goes to the log.

        Raises:
            DataError: a file is missing or cannot be used as it is.
        """
        if self.shop is not None:
            data = generate(self.shop)
            return data.catalog, data.log
        assert self.items is not None
        assert self.interactions is not None
        catalog = Catalog.read(self.items, self.item_columns, self.item_format)
        interactions = Interactions.read(
            self.interactions,
            catalog=catalog,
            columns=self.interaction_columns,
            policy=self.policy,
            format=self.interaction_format,
        )
        for line in [*catalog.report.lines(), *interactions.report.lines()]:
            log.info("%s", line)
        return catalog, interactions
