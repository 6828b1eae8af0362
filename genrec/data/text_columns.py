"""Columns without words: links, embeddings, file names and ids, which stay out of items' texts.

They would fill a text with what no reader sees, and make items alike by the host of their images. Which
columns they are is told from the values when a catalog is read, and kept in the table's metadata: items that
come later are written as those before. A template that names its fields takes what it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["find_wordless", "with_every_column", "wordless_columns"]

_KEY = b"genrec.wordless"
_SAMPLE, _CHARS = 500, 2000
_SHARE = 0.9
"""Values, or their parts, that must look alike."""
_FEWEST_NUMBERS = 16
"""In one value, from which on they are no facts to read, such as sizes."""
_LINK = re.compile(
    r"(?:\w+:)?//[^\s'\"<>,\])}|]+|\bwww\.[^\s'\"<>,\])}|]+|data:[\w/+.-]+;base64,\S*"
    r"|[^\s'\"<>,\[({|]+\.(?:jpe?g|png|gif|webp|bmp|svg|avif|tiff?|heic|mp4|webm|mp3|glb)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_HASH = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}|[0-9a-fA-F]{40,128}")
_CODE = re.compile(r"(?=.*\d)[A-Z0-9]{8,16}")
_ID_NAME = re.compile(
    r"(?:^|[^a-zA-Z]|(?<=[a-z])(?=[A-Z]))"
    r"(?i:(?:product|item|article|variant|parent)?ids?|asins?|skus?|eans?|gtins?|upcs?|isbns?|uuids?|guids?|barcodes?|hash)\d*$"
)


def wordless_columns(table: pa.Table) -> dict[str, str]:
    """What was found when a catalog was read: column -> what it holds instead of words."""
    return {name: kind for name, kind in _record(table).items() if kind is not None}


def _record(table: pa.Table) -> dict[str, str | None]:
    """The same with None for columns that were looked at, and hold words."""
    return dict(json.loads((table.schema.metadata or {}).get(_KEY, b"{}")))


def find_wordless(table: pa.Table, always: Sequence[str]) -> pa.Table:
    """Put on record which columns hold no words; what is on record already stays.

    Args:
        table: of a catalog.
        always: columns that hold words whatever their values are.
    """
    known = _record(table)
    names = [name for name in table.column_names if name not in (*always, *known, "item_id")]
    return _recorded(table, known | {name: _told(table[name], name) for name in names})


def with_every_column(table: pa.Table) -> pa.Table:
    """A table that was written before there was a record: all its columns are in the texts."""
    return _recorded(table, dict.fromkeys(table.column_names) | _record(table))


def _recorded(table: pa.Table, found: dict[str, str | None]) -> pa.Table:
    known = table.schema.metadata or {}
    return table.replace_schema_metadata({**known, _KEY: json.dumps(found).encode()})


def _told(column: pa.ChunkedArray, name: str) -> str | None:
    texts = _sample(column)
    if not texts:
        return None
    if sum(len(found[0]) for text in texts for found in _LINK.finditer(text)) >= 0.5 * sum(
        len(re.sub(r"\s", "", text)) for text in texts
    ):
        return "links"
    parts = [re.split(r"[\s,;|\[\](){}'\"]+", text.strip("[](){}'\" ")) for text in texts]
    if (
        np.median([len(words) for words in parts]) >= _FEWEST_NUMBERS
        and _share(_NUMBER, parts) >= _SHARE
    ):
        return "embeddings"
    if _share(_HASH, parts) >= _SHARE:
        return "ids"
    if np.median([len(words) for words in parts]) >= 3:
        return "ids" if _share(_CODE, parts) >= _SHARE else None
    return "ids" if _ID_NAME.search(name) and _names_each(column, parts) else None


def _share(pattern: re.Pattern[str], parts: list[list[str]]) -> float:
    """Parts of the values that a pattern matches wholly, as a share."""
    return float(np.mean([bool(pattern.fullmatch(word)) for words in parts for word in words]))


def _names_each(column: pa.ChunkedArray, parts: list[list[str]]) -> bool:
    """Whether the values are single words that tell most items apart."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        different = pc.count_distinct(column).as_py()
    except pa.ArrowNotImplementedError:  # of lists and the like
        return False
    present = len(column) - column.null_count
    return all(len(words) == 1 for words in parts) and different >= _SHARE * present


def _sample(column: pa.ChunkedArray) -> list[str]:
    """Texts of some values, spread evenly over those that are there."""
    column = column.drop_null()
    if not len(column):
        return []
    places = np.unique(np.linspace(0, len(column) - 1, _SAMPLE).astype(int))
    values = column.take(places).to_pylist()
    texts = (" ".join(_leaves(value))[:_CHARS].strip() for value in values)
    return [text for text in texts if text]


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    elif value is not None and not isinstance(value, bytes):
        yield str(value)
