"""Unrolled logs: lists of items, one row a user, become one row an interaction.

In text formats a list is JSON, ``["a", "b"]``; or as Python or NumPy print one, ``['a', 'b']``, where its
entries hold neither quotes nor backslashes; or ids with a separator between them, ``a^b``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError
from genrec.data.reading.json_lines import parse_lists
from genrec.data.values import Place, as_texts, is_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["holds_lists", "plain_separator", "unroll"]

_SEPARATORS = (" ", ",", ";", "|", "^", ">", ":", "/")
"""What may stand between the ids of a list; a space stands for white space of any kind."""
_SAMPLE = 1000
"""Values that tell whether a column holds lists with separators."""
_QUOTED = r"""'[^'"\\]*'|"[^'"\\]*\""""
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]*)?"


def _printed(entry: str) -> str:
    """The pattern of a list as Python prints it (commas) or NumPy (spaces), of entries of one kind."""
    entries = rf"(?:{entry})(?:(?:\s*,\s*|\s+)(?:{entry}))*"
    return rf"^\s*[\[(]\s*(?:{entries})?\s*,?\s*[\])]\s*$"


def holds_lists(values: pa.Array, is_item: Callable[[pa.Array], NDArray[np.bool_]]) -> bool:
    """Tell whether a column holds lists: by its type, or by its first non-blank text, in brackets.

    Args:
        values: the column of items.
        is_item: tells which of some texts are ids of the catalog, `(n,)`.
    """
    import pyarrow.compute as pc

    if _is_list(values.type):
        return True
    if not is_text(values.type):
        return False
    texts = as_texts(values.filter(pc.not_equal(pc.utf8_trim_whitespace(values), ""))[:1])
    opens = pc.any(pc.match_substring_regex(texts, r"^\s*[\[(]")).as_py()
    return bool(opens) and not is_item(texts).any() and parse_lists(_as_json(texts)).null_count == 0


def plain_separator(
    values: pa.Array, place: Place, is_item: Callable[[pa.Array], NDArray[np.bool_]]
) -> str | None:
    """The separator of lists such as ``a^b``, by the first values; None where they are single ids.

    It is plain where a value that holds it is no id itself, and all parts of all values are.

    Args:
        values: the column of items.
        place: where it comes from.
        is_item: tells which of some texts are ids of the catalog, `(n,)`.

    Raises:
        DataError: some parts are ids and some are not, so that somebody has to say what it is.
    """
    import pyarrow.compute as pc

    if not is_text(values.type):
        return None
    filled = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(values), ""), False)
    positions = np.flatnonzero(filled.to_numpy(zero_copy_only=False))[:_SAMPLE]
    sample = pc.utf8_trim_whitespace(as_texts(values.take(_indices(positions))))
    single = is_item(sample)
    if single.all():
        return None
    likely = []
    for separator in _SEPARATORS:
        lists = _separated(sample, separator)
        several = _lengths(lists) > 1
        if not several.any() or (several & single).any():
            continue
        known = is_item(lists.flatten())
        if known.all():
            return separator
        of_lists = known[np.repeat(several, _lengths(lists))]
        likely += [(of_lists.mean(), separator, int(np.argmax(several)))]
    share, separator, first = max(likely, default=(0.0, "", 0))
    if share < 0.5:
        return None
    message = (
        f"this looks like a list of items with {separator!r} between them, and not all are in the catalog; "
        f"if it is one, say so with --history-separator {separator!r} (history_separator= in Python)"
    )
    raise place.error(message, int(positions[first]), sample[first].as_py()[:80])


def unroll(
    user_ids: pa.Array,
    lists: Mapping[str, pa.Array],
    places: Mapping[str, Place],
    separator: str | None = None,
) -> tuple[pa.Array, dict[str, pa.Array], NDArray[np.int64]]:
    """Give every list entry a row of its own; a missing list is an empty one.

    Args:
        user_ids: one id a row.
        lists: columns of lists by a name of the caller's, ``"item"`` among them.
        places: where each column comes from.
        separator: what stands between the entries of a text; None where they are lists of JSON or Python.

    Returns:
        The user ids repeated, the columns' entries, and the row that each came from (1-based).

    Raises:
        DataError: a value is no list, or a row's lists differ in length.
    """
    parsed = {part: _as_lists(values, places[part], separator) for part, values in lists.items()}
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


def _as_lists(values: pa.Array, place: Place, separator: str | None) -> pa.Array:
    import pyarrow.compute as pc

    if _is_list(values.type):
        return values
    if not is_text(values.type):
        message = f"rows hold lists of items, so this must be a list as long, found {values.type}"
        raise DataError(message, source=place.source, column=place.column)
    texts = as_texts(values)
    if separator is not None:
        return _separated(texts, separator)
    lists = parse_lists(_as_json(texts))
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True)
    wrong = pc.and_(lists.is_null(), pc.invert(blank))
    if pc.any(wrong).as_py():
        i = pc.index(wrong, True).as_py()
        value = texts[i].as_py()[:80]
        raise place.error('rows hold lists of items; write JSON: ["a", "b"]', i, value)
    return lists


def _separated(texts: pa.Array, separator: str) -> pa.Array:
    """Split texts; a blank one becomes null. Separators at the ends and spaces beside them are dropped."""
    import pyarrow.compute as pc

    if not separator.isspace():
        around = rf"\s*{re.escape(separator)}\s*"
        texts = pc.replace_substring_regex(texts, around, separator.replace("\\", r"\\"))
        texts = pc.replace_substring_regex(texts, rf"^(?:{re.escape(separator)})+", "")
        texts = pc.replace_substring_regex(texts, rf"(?:{re.escape(separator)})+$", "")
    texts = pc.utf8_trim_whitespace(texts)
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    if separator.isspace():
        return pc.utf8_split_whitespace(texts)
    return pc.split_pattern(texts, separator)


def _as_json(texts: pa.Array) -> pa.Array:
    """Rewrite lists that Python or NumPy printed as JSON; other texts stay as they are."""
    import pyarrow.compute as pc

    inside = pc.replace_substring_regex(texts, r"^\s*[\[(]\s*|\s*,?\s*[\])]\s*$", "")
    quoted = pc.replace_substring_regex(inside, r"""'([^'"\\]*)'""", r'"\1"')
    quoted = pc.replace_substring_regex(quoted, r'"\s+"', '", "')
    numbers = pc.replace_substring_regex(inside, r"\s*,\s*|\s+", ", ")
    for body, pattern in ((quoted, _printed(_QUOTED)), (numbers, _printed(_NUMBER))):
        whole = pc.binary_join_element_wise("[", body, "]", "")
        texts = pc.if_else(pc.match_substring_regex(texts, pattern), whole, texts)
    return texts


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
