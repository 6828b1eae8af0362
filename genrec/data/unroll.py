"""Unrolled logs: lists of items, one row a user, become one row an interaction.

In text formats a list is JSON, ``["a", "b"]``; or as Python or NumPy print one, ``['a', 'b']``, where its
entries hold neither quotes nor backslashes; or ids with a separator between them, ``a^b``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError
from genrec.data.reading.json_lines import parse_lists
from genrec.data.timestamps import parse_date
from genrec.data.values import Place, as_texts, is_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NO_TIMES", "WHOLE", "holds_lists", "list_hint", "plain_separator", "unroll"]

WHOLE = "no"
"""The separator of a column whose texts are single ids, whatever they hold."""
_RUN = re.compile(r"[\W_]+")
_MOST_RUNS = 20

_SEPARATORS = (" ", ",", ";", "|", "^", ">", ":", "/")
"""What may stand between the ids of a list; a space stands for white space of any kind."""
_SAMPLE = 1000
"""Values that tell whether a column holds lists with separators."""
_QUOTED = r"""'[^'"\\]*'|"[^'"\\]*\""""
NO_TIMES = "leave the times out with --timestamp '' (timestamp=None in Python)"
_ONE_TIME = (
    f"one time a row cannot order the row's list of items; it must be a list as long, or {NO_TIMES}"
)
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
    values: pa.Array,
    place: Place,
    is_item: Callable[[pa.Array], NDArray[np.bool_]],
    times: pa.Array | None = None,
) -> str | None:
    """The separator of lists such as ``a^b``, by the first values; None where they are single ids.

    It is plain where at least half the values hold it, none of these is an id itself, all parts of all
    values are, and no column of one time a row stands beside them.

    Args:
        values: the column of items.
        place: where it comes from.
        is_item: tells which of some texts are ids of the catalog, `(n,)`.
        times: the column of times, if there is one.

    Raises:
        DataError: most values look like lists, but not plainly, so that somebody has to say what they are.
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
    for separator in _candidates(sample):
        lists = _separated(sample, separator)
        several = _lengths(lists) > 1
        if 2 * several.sum() < len(sample) or (several & single).any():
            continue
        known = is_item(lists.flatten())
        of_lists = known[np.repeat(several, _lengths(lists))]
        first = int(np.argmax(several))
        likely.append((of_lists.mean(), separator, first, bool(known.all())))
    share, separator, first, all_known = max(
        likely, key=lambda found: found[0], default=(0.0, "", 0, False)
    )
    if share < 0.5:
        return None
    one_time = times is not None and _one_time(times.take(_indices(positions)), sample, separator)
    if all_known and separator in _SEPARATORS and not one_time:
        return separator
    message = (
        f"this looks like a list of items with '{separator}' between them"
        f"{'' if all_known else ', and not all are in the catalog'}"
        f"{', beside one time a row' if one_time else ''}; if it is one, say so with "
        f"--history-separator '{separator}' (history_separator= in Python)"
        f"{f', and {NO_TIMES}, since one time cannot order a list' if one_time else ''}; "
        f"if they are single ids, with --history-separator {WHOLE}"
    )
    raise place.error(message, int(positions[first]), sample[first].as_py()[:80])


def list_hint(
    strangers: list[str],
    ids: pa.ChunkedArray,
    is_item: Callable[[pa.Array], NDArray[np.bool_]],
) -> str | None:
    """How to say that unknown ids are lists, where one of them is known ids with a separator between.

    Args:
        strangers: some of the unknown ids.
        ids: the ids of the catalog.
        is_item: tells which of some texts are among these, `(n,)`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.utf8_trim_whitespace(pa.array(strangers, pa.string()))
    for separator in _candidates(texts):
        lists = _separated(texts, separator)
        lengths = _lengths(lists)
        if not (lengths > 1).any():
            continue
        parents = np.repeat(np.arange(len(texts)), lengths)
        known = np.bincount(parents, is_item(lists.flatten()), minlength=len(texts))
        whole = (lengths > 1) & (known == lengths)
        if whole.any() and not pc.any(pc.match_substring(ids, separator)).as_py():
            value = strangers[int(np.argmax(whole))][:80]
            return (
                f"{value!r} is known items with '{separator}' between them: if it is a list, say so "
                f"with --history-separator '{separator}' (history_separator= in Python)"
            )
    return None


def unroll(
    user_ids: pa.Array,
    lists: Mapping[str, pa.Array],
    places: Mapping[str, Place],
    separator: str | None = None,
    whole_numbers: bool = True,
) -> tuple[pa.Array, dict[str, pa.Array], NDArray[np.int64]]:
    """Give every list entry a row of its own; a missing list is an empty one.

    Args:
        user_ids: one id a row.
        lists: columns of lists by a name of the caller's, ``"item"`` among them.
        places: where each column comes from.
        separator: what stands between the entries of a text; None where they are lists of JSON or Python.
        whole_numbers: whether the number 1.0 of such a text is the id "1".

    Returns:
        The user ids repeated, the columns' entries, and the row that each came from (1-based).

    Raises:
        DataError: a value is no list, a row's lists differ in length, or its list has one time.
    """
    parsed = {"item": _as_lists(lists["item"], places["item"], separator, whole_numbers)}
    if "time" in lists:
        _refuse_one_time(lists["time"], places["time"], separator)
    for part in lists.keys() - {"item"}:
        parsed[part] = _as_lists(lists[part], places[part], separator)
    lengths = {part: _lengths(values) for part, values in parsed.items()}
    for part, other in lengths.items():
        if len(wrong := np.flatnonzero(other != lengths["item"])):
            i = int(wrong[0])
            entries = parsed[part][i].as_py() or []
            if part == "time" and is_text(lists[part].type) and separator and entries:
                text = lists[part][i].as_py()
                if len(entries) == 1 or not all(map(_is_time, entries)):
                    raise places[part].error(_ONE_TIME, i, text[:80])
            message = (
                f"the list has {other[i]} entries, the row's list of items {lengths['item'][i]}"
            )
            raise places[part].error(message, i)
    parents = np.repeat(np.arange(len(user_ids)), lengths["item"])
    flat = {part: values.flatten() for part, values in parsed.items()}
    return user_ids.take(_indices(parents)), flat, places["item"].rows[parents]


def _candidates(texts: pa.Array) -> list[str]:
    """What may be a separator in some texts: the usual ones, then what stands between words."""
    runs = Counter(run for text in texts.to_pylist() for run in _RUN.findall(text))
    common = [run for run, _ in runs.most_common(_MOST_RUNS) if not set(run) & set("'\"")]
    common = sorted((run for run in common if run != "."), key=len, reverse=True)  # 1.0 is no list
    return list(dict.fromkeys([*_SEPARATORS, *(run.strip() or " " for run in common), *common]))


def _one_time(times: pa.Array, items: pa.Array, separator: str) -> bool:
    """Tell whether a row has one time, where its items may be a list with this separator."""
    if _is_list(times.type):
        return False
    if not is_text(times.type):
        return True
    wanted = _lengths(_separated(items, separator))
    if (_lengths(_separated(as_texts(times), separator)) != wanted).any():
        return True
    first = int(np.argmax(wanted > 1))
    text, entries = (
        times[first].as_py(),
        _separated(as_texts(times[first : first + 1]), separator)[0],
    )
    return text is not None and _is_time(text) and not all(map(_is_time, entries.as_py()))


def _refuse_one_time(times: pa.Array, place: Place, separator: str | None) -> None:
    """Refuse a column of times that are no lists, where the items are."""
    import pyarrow.compute as pc

    if _is_list(times.type) or not len(times):
        return
    if not is_text(times.type):
        raise place.error(_ONE_TIME, 0, times[0].as_py())
    if separator is None:
        plain = pc.match_substring_regex(as_texts(times), r"^\s*[^\s\[(]")
        if pc.any(plain).as_py():
            i = pc.index(plain, True).as_py()
            raise place.error(_ONE_TIME, i, times[i].as_py()[:80])


def _is_time(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return parse_date(text) is not None


def _as_lists(
    values: pa.Array, place: Place, separator: str | None, whole_numbers: bool = True
) -> pa.Array:
    import pyarrow.compute as pc

    if _is_list(values.type):
        return values
    if not is_text(values.type):
        message = f"rows hold lists of items, so this must be a list as long, found {values.type}"
        raise DataError(message, source=place.source, column=place.column)
    texts = as_texts(values)
    if separator is not None:
        return _separated(texts, separator)
    lists = parse_lists(_as_json(texts, whole_numbers))
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


def _as_json(texts: pa.Array, whole_numbers: bool = True) -> pa.Array:
    """Rewrite lists that Python or NumPy printed as JSON; other texts stay as they are.

    Whole numbers, if asked for, lose the point that floats are printed with: ``[1. 2.]`` becomes ``[1, 2]``.
    """
    import pyarrow.compute as pc

    inside = pc.replace_substring_regex(texts, r"^\s*[\[(]\s*|\s*,?\s*[\])]\s*$", "")
    quoted = pc.replace_substring_regex(inside, r"""'([^'"\\]*)'""", r'"\1"')
    quoted = pc.replace_substring_regex(quoted, r'"\s+"', '", "')
    numbers = pc.replace_substring_regex(inside, r"\s*,\s*|\s+", ", ")
    if whole_numbers:
        numbers = pc.replace_substring_regex(numbers, r"\.0*(,|$)", r"\1")
    for body, pattern in ((quoted, _printed(_QUOTED)), (numbers, _printed(rf"{_NUMBER}|null"))):
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
