"""Unrolled logs: lists of items, one row a user, become one row an interaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError
from genrec.data.json_lines import parse_lists
from genrec.data.values import Place, as_texts, is_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["holds_lists", "unroll"]


def holds_lists(values: pa.Array) -> bool:
    """Tell whether a column holds lists: by its type, or as JSON by its first non-blank text."""
    import pyarrow.compute as pc

    if _is_list(values.type):
        return True
    if not is_text(values.type):
        return False
    texts = as_texts(values.filter(pc.not_equal(pc.utf8_trim_whitespace(values), ""))[:1])
    opens = pc.any(pc.starts_with(pc.utf8_ltrim_whitespace(texts), "[")).as_py()
    return bool(opens) and parse_lists(texts).null_count == 0


def unroll(
    user_ids: pa.Array, lists: Mapping[str, pa.Array], places: Mapping[str, Place]
) -> tuple[pa.Array, dict[str, pa.Array], NDArray[np.int64]]:
    """Give every list entry a row of its own; a missing list is an empty one.

    Args:
        user_ids: one id a row.
        lists: columns of lists by a name of the caller's, ``"item"`` among them.
        places: where each column comes from.

    Returns:
        The user ids repeated, the columns' entries, and the row that each came from (1-based).

    Raises:
        DataError: a value is no list, or a row's lists differ in length.
    """
    parsed = {part: _as_lists(values, places[part]) for part, values in lists.items()}
    lengths = {part: _lengths(values) for part, values in parsed.items()}
    for part, other in lengths.items():
        if len(wrong := np.flatnonzero(other != lengths["item"])):
            i = int(wrong[0])
            message = (
                f"the list has {other[i]} entries, the row's list of items {lengths['item'][i]}"
            )
            raise places[part].error(message, i)
    parents = np.repeat(np.arange(len(user_ids)), lengths["item"])
    entries = {part: values.flatten() for part, values in parsed.items()}
    return user_ids.take(_indices(parents)), entries, places["item"].rows[parents]


def _as_lists(values: pa.Array, place: Place) -> pa.Array:
    import pyarrow.compute as pc

    if _is_list(values.type):
        return values
    if not is_text(values.type):
        message = f"rows hold lists of items, so this must be a list as long, found {values.type}"
        raise DataError(message, source=place.source, column=place.column)
    texts = as_texts(values)
    lists = parse_lists(texts)
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True)
    wrong = pc.and_(lists.is_null(), pc.invert(blank))
    if pc.any(wrong).as_py():
        i = pc.index(wrong, True).as_py()
        value = texts[i].as_py()[:80]
        raise place.error('rows hold lists of items; write JSON: ["a", "b"]', i, value)
    return lists


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _indices(positions: NDArray[np.int64]) -> pa.Array:
    import pyarrow as pa

    return pa.array(positions)
