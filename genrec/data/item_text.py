"""Item text: an item's fields as one line of clean text, the same whatever format they came in."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import DataError
from genrec.data.reading.readers import nearest
from genrec.data.text_cleaning import TextCleaning
from genrec.data.text_columns import wordless_columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FIRST_FIELDS",
    "MISSING_WORDS",
    "ItemTemplate",
    "describe_texts",
    "field_texts",
    "render",
    "split_categories",
]

FIRST_FIELDS = ("title", "brand", "categories", "description", "price")
_DESCRIBED, _NAMED, _SHOWN = 1000, 6, 160
"""Items whose texts are measured, columns named, and characters shown of a text."""
MISSING_WORDS = frozenset({"", "nan", "none", "null", "n/a", "<na>", "nat"})
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


class ItemTemplate(Settings):
    """Which fields make an item's text, and how much of each."""

    fields: tuple[str, ...] | None = None
    """Columns in the order of the text; None takes title, brand, categories, description and price
    where present, then every other column in file order that holds words (`genrec.data.text_columns`)."""
    max_field_chars: int = Field(300, ge=1)
    """Characters kept of one field, cut between words where possible."""
    max_chars: int = Field(1000, ge=1)
    """Characters kept of the whole text, likewise."""
    cleaning: TextCleaning = TextCleaning()
    """What is taken out of each field first."""

    def choose(self, table: pa.Table) -> list[str]:
        """Return the fields to use, given a catalog's table.

        Raises:
            DataError: a field named in the settings is not a column.
        """
        columns = table.column_names
        if self.fields is None:
            first = [name for name in FIRST_FIELDS if name in columns]
            others = (*first, "item_id", *wordless_columns(table))
            return first + [name for name in columns if name not in others]
        for name in self.fields:
            if name not in columns:
                message = (
                    f"the item template names no column of the catalog{nearest(name, columns)}"
                )
                raise DataError(f"{message}; columns: {', '.join(columns)}", column=name)
        return list(self.fields)


def render(table: pa.Table, template: ItemTemplate) -> list[str]:
    """Return one text per row: ``Title. brand: X. categories: A, B``; "" if it has no text."""
    fields = template.choose(table)
    columns = [
        field_texts(table, name, template.max_field_chars, template.cleaning) for name in fields
    ]
    labels = ["" if name == "title" else f"{name}: " for name in fields]
    rows = zip(*columns, strict=True) if columns else ([] for _ in range(table.num_rows))
    return [_join(labels, row, template.max_chars) for row in rows]


def describe_texts(table: pa.Table, template: ItemTemplate) -> list[str]:
    """Say what items' texts are made of, in a few lines: how much each column gives, and three of them."""
    size = table.num_rows
    spread = table.take(np.unique(np.linspace(0, size - 1, min(size, _DESCRIBED)).astype(int)))
    fields = template.choose(spread)
    given = {
        name: sum(map(len, field_texts(spread, name, template.max_field_chars, template.cleaning)))
        for name in fields
    }
    most = sorted(filter(given.get, fields), key=lambda name: -given[name])
    total = sum(given.values()) or 1
    shares = [f"{name} {given[name] / total:.0%}" for name in most[:_NAMED]]
    rest = [f"{len(most) - _NAMED} more columns"] if len(most) > _NAMED else []
    lines = [f"item texts: {', '.join([*shares, *rest]) or 'none, their ids stand for them'}"]
    texts = render(spread.take(sorted({0, len(spread) // 2, len(spread) - 1})), template)
    return lines + [f"  {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}" for text in texts]


def field_texts(
    table: pa.Table, name: str, max_chars: int, cleaning: TextCleaning | None = None
) -> list[str]:
    """Return the clean text of one column, "" where a row has none; without `cleaning` by its defaults."""
    cleaning = cleaning or TextCleaning()
    values = table[name].to_pylist()
    if name == "categories":
        values = [split_categories(value) for value in values]
    return [_cut(cleaning.words(_text(value, cleaning)), max_chars) for value in values]


def split_categories(value: Any) -> Any:
    """Split categories given as ``A|B|C`` into a list; leave anything else as it is."""
    return value.split("|") if isinstance(value, str) and "|" in value else value


def _join(labels: list[str], texts: Sequence[str], max_chars: int) -> str:
    parts = [label + text.rstrip(" .") for label, text in zip(labels, texts, strict=True) if text]
    return _cut(". ".join(parts), max_chars)


def _text(value: Any, cleaning: TextCleaning) -> str:
    if value is None or isinstance(value, bytes):
        return ""
    if isinstance(value, str):
        return _nested(value, cleaning) or _clean(value, cleaning)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return _named(value.items(), cleaning)
    if isinstance(value, _Pairs) or (isinstance(value, list) and value and _is_pair(value[0])):
        return _named(value, cleaning)  # Arrow gives a map as a list of pairs
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, (_text(part, cleaning) for part in value)))
    return _clean(str(value), cleaning)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, a key that stands twice kept twice."""


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _named(pairs: Iterable[tuple[Any, Any]], cleaning: TextCleaning) -> str:
    named = ((key, _text(part, cleaning)) for key, part in pairs)
    return ", ".join(f"{key}: {text}" for key, text in named if text)


def _nested(text: str, cleaning: TextCleaning) -> str:
    """The text of an object that a column holds as JSON; "" if it holds none, or one too deep to read."""
    if not text.startswith("{"):
        return ""
    try:
        found = json.loads(text, object_pairs_hook=_Pairs)
        return _text(found, cleaning) if isinstance(found, _Pairs) else ""
    except (ValueError, RecursionError):
        return ""


def _clean(text: str, cleaning: TextCleaning) -> str:
    if "&" in text:  # shops often escape twice
        text = html.unescape(html.unescape(text))
    text = cleaning.characters(text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = " ".join(text.split())
    return "" if text.lower() in MISSING_WORDS else text


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else repr(value)


def _cut(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    head = text[: max_chars + 1]
    space = head.rfind(" ")
    # One long word must not cost half the text.
    return head[: space if space > max_chars // 2 else max_chars].rstrip(" ,.;:")
