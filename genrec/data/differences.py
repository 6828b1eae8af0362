"""Differences of two tables of the same items: values that are others, and not only written otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["differing"]

_NUMBER = r"^[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?$"
"""A number in words. ``007`` is none: a leading zero belongs to a code, which ``7`` is not."""
_BLOCK = 65_536
"""Rows of a nested column that are Python objects at once."""


def differing(one: pa.Table, other: pa.Table) -> dict[str, NDArray[np.bool_]]:
    """Compare two tables of the same columns and R rows, row by row.

    Missing is missing, whether null, NaN or an empty text. A number that is written otherwise (``1.5`` for
    ``1.50``) is the same one, except in ``title``, whose words count as they stand.

    Returns:
        Column -> `(R,)`, true where its values differ.
    """
    return {name: _differs(one[name], other[name], name) for name in one.column_names}


def _differs(one: pa.ChunkedArray, other: pa.ChunkedArray, name: str) -> NDArray[np.bool_]:
    import pyarrow.compute as pc
    import pyarrow.types as types

    one, other = (_plain(column) for column in (one, other))
    kinds = (one.type, other.type)
    if any(types.is_null(kind) for kind in kinds):
        return np.asarray(pc.xor(_missing(one), _missing(other)))
    if all(types.is_nested(kind) for kind in kinds):
        return _nested_differ(one, other)
    differ = pc.not_equal(one, other)
    missing = pc.or_(_missing(one), _missing(other))
    differ = pc.if_else(missing, pc.xor(_missing(one), _missing(other)), differ)
    found = np.array(differ)
    if all(_is_text(kind) for kind in kinds) and name not in ("item_id", "title") and found.any():
        rows = np.flatnonzero(found)
        found[rows] = _numbers_differ(one.take(rows), other.take(rows))
    return found


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without a dictionary."""
    import pyarrow.types as types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether there is no value: null, NaN, or an empty text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_null(column, nan_is_null=True)
    if _is_text(column.type):
        empty = pc.equal(pc.utf8_trim_whitespace(column), pa.scalar("", column.type))
        missing = pc.or_(missing, pc.fill_null(empty, False))
    return missing


def _numbers_differ(one: pa.ChunkedArray, other: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether texts that differ are other numbers too, or no numbers."""
    import pyarrow.compute as pc

    words = [pc.utf8_trim_whitespace(column) for column in (one, other)]
    numbers = pc.and_(*(pc.match_substring_regex(text, _NUMBER) for text in words))
    shortest = [pc.replace_substring_regex(text, r"^\+|\.0*$", "") for text in words]
    shortest = [pc.replace_substring_regex(text, r"(\.[0-9]*[1-9])0+$", r"\1") for text in shortest]
    same = pc.and_(numbers, pc.equal(*shortest))
    return np.asarray(pc.invert(pc.fill_null(same, False)))


def _nested_differ(one: pa.ChunkedArray, other: pa.ChunkedArray) -> NDArray[np.bool_]:
    """The same for lists and structs, which Arrow does not compare; repr makes two NaN equal."""
    blocks = [np.zeros(0, np.bool_)]
    for start in range(0, len(one), _BLOCK):
        pair = (column.slice(start, _BLOCK).to_pylist() for column in (one, other))
        blocks.append(np.array([repr(a) != repr(b) for a, b in zip(*pair, strict=True)], np.bool_))
    return np.concatenate(blocks)
