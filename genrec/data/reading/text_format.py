"""Text format: how a file of delimited text is written, where its name and bytes do not say."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator

from genrec.common.config import Settings

__all__ = ["Quoting", "TextFormat", "looks_like_rows"]

Quoting = Literal["auto", "rfc4180", "backslash", "none"]
_VALUE = re.compile(r"[-+]?\d+([.,:/-]\d+)*([T ].*)?Z?|.*://.*|[\[{].*|.{65,}", re.DOTALL)
_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


class TextFormat(Settings):
    """How a text file of rows is written; what is None or auto is found out from the file."""

    separator: str | None = Field(None, min_length=1)
    """What stands between fields: any text such as ``;`` or ``::``, or a word (tab, comma, semicolon,
    pipe, space). None takes tabs in .tsv files and commas elsewhere."""
    encoding: str = "utf-8"
    """Name of the file's character encoding, such as latin-1 or utf-16, as Python knows it."""
    quoting: Quoting = "auto"
    """What a quote means: ``rfc4180``, fields may stand in quotes and a quote in them is doubled;
    ``backslash``, a quote in them has a backslash before it; ``none``, it is a character like others."""
    columns: tuple[str, ...] | None = Field(None, min_length=1)
    """Names of the columns, in order, of a file without a header row; ``_`` for one that is not wanted."""
    date_format: str | None = Field(None, min_length=1)
    """How times are written, as for strptime: ``%d/%m/%Y %H:%M``. None reads numbers and ISO dates."""

    @field_validator("separator")
    @classmethod
    def _readable_separator(cls, separator: str | None) -> str | None:
        separator = _WORDS.get(separator or "", separator)
        if separator is not None and set(separator) & set('"\n\r\\'):
            raise ValueError("a separator holds no quote, backslash or line break")
        return separator

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            text = codecs.lookup(encoding)._is_text_encoding
        except (LookupError, ValueError):
            text = False
        if not text:
            raise ValueError("no such encoding; try utf-8, latin-1, cp1252, utf-16, gb18030 …")
        return encoding

    @field_validator("columns")
    @classmethod
    def _distinct_columns(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = [name for name in columns or () if name not in ("", "_")]
        if columns is not None and not names:
            raise ValueError("name at least one column")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} stands twice; write _ for a column that is not wanted")
        return columns

    @property
    def plain(self) -> bool:
        """Whether bytes are UTF-8 as they stand."""
        return codecs.lookup(self.encoding).name == "utf-8"


def looks_like_rows(names: Sequence[str]) -> bool:
    """Tell whether what stands where names should looks like a row: numbers, dates, addresses, lists."""
    return any(_VALUE.fullmatch(name.strip()) for name in names)
