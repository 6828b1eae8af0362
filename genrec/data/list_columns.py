"""List columns: text that holds several values, told once when the catalog is read, and how it is split.

CSV has no lists, so shops and data frames write them as text: ``A|B``, ``A;B``, JSON's ``["A", "B"]``,
Python's ``['A', 'B']``, NumPy's ``['A' 'B']``, Spark's ``[A, B]``, Postgres' ``{A,B}``. A condition that
took such a text for one value would keep out nothing. Which columns hold lists is a fact of the whole
column, kept in the table's metadata: a recommender's folder and a served catalog compare as the file that
was read.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from genrec.common.errors import InputError
from genrec.data.reading.readers import nearest
from genrec.data.values import is_text, trimmed

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BARE",
    "BARE_LIST",
    "LITERAL",
    "OPENS",
    "WHOLE",
    "find_list_columns",
    "list_columns",
    "list_reader",
    "literal_list",
    "separator_of",
    "split_value",
    "with_lists_of",
]

LITERAL, BARE, WHOLE = "[]", "[,]", "no"
"""In place of a separator: values are lists as JSON, Python or NumPy write them; they are such lists, or
their elements have no quotes, as Spark and Postgres write them; values are not split."""
_KEY = b"genrec.lists"
_SEPARATORS = ("|", ";")
_ALWAYS = {"categories": "|"}
_NAMED = 6
"""Columns that a sentence names."""
_LONGEST, _MOST_WORDS = 60, 6
"""Of an element, in characters and words: more is prose, in which such a sign separates nothing."""
_FEW_WORDS = 4
"""Of an element, where elements seldom occur twice."""
_MOSTLY, _MANY = 0.7, 0.1
"""Values that hold a sign, as a share, for it to be a separator, and for it to be worth a word."""
_SHORT = 0.95
"""Elements that are no longer than that, as a share."""
_SHARED = 0.7
"""Elements that occur elsewhere in the column too, as a share, where white space stands by the separator."""

_QUOTED = r"""(?:(?<!\w)[uUbB])?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\")"""
_ESCAPED = r"""(?:[^\\]|\\[\\'"abfnrtvxuU])*"""
"""What Python reads without a warning."""
_BARE = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|None|True|False|nan|null"
_ELEMENT = re.compile(rf"{_QUOTED}|(?<![^\s,\[({{])(?:{_BARE})(?![^\s,\])}}])", re.DOTALL)
_ARRAY = re.compile(r"array\(\s*(.*?)\s*(?:,\s*dtype=[^()]*)?\)", re.DOTALL)
OPENS = r"""^(array\(\s*)?(\[|[({]\s*[uUbB]?['"])"""
"""How texts open that may be lists with `LITERAL` elements."""
_PART = r"""(?:"(?:[^"\\]|\\.)*"\s*|[^\s'",\[\]{}][^",\[\]{}]*)"""
_PARTS = rf"\s*(?:{_PART}(?:,\s*{_PART})*)?"
BARE_LIST = rf"^(?:\[{_PARTS}\]|\{{{_PARTS.replace('{}', '{}:=')}\}})$"
_NEARLY_ALL = 0.95
"""Values of a `BARE` column that are lists, as a share: brackets are also part of names."""
_LITERALS = r"^\[[-+0-9.eE,\s]*\]$"
_QUOTES = r"""(?s)^[\[({]\s*['"].*[\])}]$"""
_LIKE = r"""(?s)^(array\(\s*)?\[\s*[\[{(uUbB]?['"{].*[\])]$"""
_MANY = 0.1
"""Share of values that look like lists in a column of lists."""
_PLAIN = r"""^\[\s*('[^'\\]*'|"[^"\\]*")([,\s]\s*('[^'\\]*'|"[^"\\]*"))*\s*\]$"""


def list_columns(table: pa.Table) -> dict[str, str]:
    """What was found when a catalog was read: column -> separator, `LITERAL`, `BARE` or `WHOLE`."""
    return {name: sign for name, sign in _record(table).items() if sign is not None}


def _record(table: pa.Table) -> dict[str, str | None]:
    """The same with None for columns that were looked at, and hold no lists."""
    return dict(json.loads((table.schema.metadata or {}).get(_KEY, b"{}")))


def find_list_columns(table: pa.Table, stated: Mapping[str, str]) -> tuple[pa.Table, str | None]:
    """Put on record which text columns hold lists.

    Args:
        table: of a catalog. What it has on record already is kept.
        stated: column -> separator, `LITERAL`, `BARE` or `WHOLE`, where the user knows better.

    Returns:
        The same table with the record, and a sentence on the columns that hold lists, look like lists that
        are not read, or may hold some, if any does.

    Raises:
        InputError: a stated column is not in the table, or is none of text.
    """
    found = _record(table) | _checked(table, stated)
    unread: list[str] = []
    doubts: list[str] = []
    for field in table.schema:
        name = field.name
        if name in ("item_id", "title") or not is_text(field.type):
            continue
        if name not in found:
            found[name], maybe = _told(table, name)
            if maybe:
                doubts.append(_doubt(table, name, maybe))
            if _is_unread(table, name, found[name] or LITERAL):
                unread.append(name)
    recorded = _recorded(table, found)
    split = {
        name: sign
        for name, sign in list_columns(recorded).items()
        if sign not in (WHOLE, _ALWAYS.get(name))
    }
    if unread:
        doubts.insert(0, f"looks like lists, not read: {_names(unread)}")
    notes = [_note(split)] if split else []
    return recorded, "; ".join([*notes, *doubts[:_NAMED]]) or None


def _recorded(table: pa.Table, found: dict[str, str | None]) -> pa.Table:
    known = table.schema.metadata or {}
    return table.replace_schema_metadata({**known, _KEY: json.dumps(found).encode()})


def with_lists_of(table: pa.Table, *tables: pa.Table) -> pa.Table:
    """The same table with what was found in others; what an earlier one says holds."""
    found = _record(tables[0])
    for other in reversed(tables):
        found |= list_columns(other)
    return _recorded(table.replace_schema_metadata(tables[0].schema.metadata), found)


def separator_of(table: pa.Table, name: str) -> str:
    """How a text column's values are split: a separator, `LITERAL`, `BARE` or `WHOLE`."""
    return list_columns(table).get(name, _ALWAYS.get(name, LITERAL))


def split_value(value: str, separator: str) -> list[str]:
    """Split one text of a column with this separator (see `separator_of`)."""
    text = value.strip()
    if separator == WHOLE:
        return [text]
    elements = list_reader(separator)(text)
    if elements is None:
        elements = text.split(separator) if separator not in (LITERAL, BARE) else [text]
    return [element.strip() for element in elements]


def list_reader(separator: str) -> Callable[[str], list[str] | None]:
    """What reads the lists of a column with this separator, and gives None for texts that are none."""
    return _bare_list if separator == BARE else literal_list


def _bare_list(text: str) -> list[str] | None:
    """The same for lists whose elements need no quotes, such as ``[A, B]`` and ``{A,"B C"}``."""
    elements = literal_list(text)
    if elements is not None or not re.match(BARE_LIST, text):
        return elements
    parts = [part.strip() for part in re.findall(_PART, text[1:-1])]
    return [_unquoted(part) if part[0] == '"' else part for part in parts]


def literal_list(text: str) -> list[str] | None:
    """The elements of a list as JSON, Python or NumPy write it, flat; None where the text is none."""
    if array := _ARRAY.fullmatch(text):
        text = array[1]
    if not re.match(OPENS, text) or text[-1] not in "])}":
        return None
    try:
        return _flat(json.loads(text))
    except ValueError:
        pass
    except RecursionError:  # nested by the thousand: no list of values
        return None
    if re.sub(r"[\s,]+", "", _ELEMENT.sub("", text)).strip("[](){}"):
        return None
    return [_unquoted(element) for element in _ELEMENT.findall(text)]


def _flat(value: object) -> list[str] | None:
    if isinstance(value, dict):
        return None
    if not isinstance(value, list):
        return ["" if value is None else value if isinstance(value, str) else json.dumps(value)]
    parts = [_flat(element) for element in value]
    return None if None in parts else [text for part in parts for text in part or ()]


def _unquoted(element: str) -> str:
    if element[-1] not in "'\"":
        return element
    if re.fullmatch(_ESCAPED, element):
        try:
            read = ast.literal_eval(element)
            text = read.decode() if isinstance(read, bytes) else str(read)
            text.encode()  # half a character has no UTF-8
        except (SyntaxError, ValueError):
            pass
        else:
            return text
    return re.sub(r"\\(.)", r"\1", element.lstrip("uUbB")[1:-1], flags=re.DOTALL)


def _checked(table: pa.Table, stated: Mapping[str, str]) -> dict[str, str]:
    for name, separator in stated.items():
        if name not in table.column_names:
            raise InputError(
                f"list column {name!r} is no column of the catalog{nearest(name, table.column_names)}; "
                f"columns: {', '.join(table.column_names)}"
            )
        if name in ("item_id", "title") or not is_text(table.schema.field(name).type):
            raise InputError(
                f"list column {name!r}: only columns of text are split, and never item ids and titles; "
                f"this one holds {table.schema.field(name).type}"
            )
        if not separator:
            raise InputError(
                f"list column {name!r} has an empty separator: give a sign such as '|', {LITERAL!r} for "
                f"lists as JSON and Python write them, or {WHOLE!r} for single values"
            )
    return dict(stated)


def _told(table: pa.Table, name: str) -> tuple[str | None, str | None]:
    """What the values of a text column show: a separator, `LITERAL`, `BARE`, or None for single values.

    Returns:
        That, and a sign that may be a separator too.
    """
    import pyarrow.compute as pc

    values = trimmed(table[name].combine_chunks()).drop_null()
    if _is_bare(values):
        return BARE, None
    maybe = None
    for separator in _SEPARATORS:
        several = _no_lists(values.filter(pc.match_substring(values, separator)))
        if not len(several):
            continue
        if separator == _ALWAYS.get(name):
            return separator, None
        if not _are_short(several, separator):
            continue
        if _separates(values, several, separator):
            return separator, None
        if len(several) >= max(2, _MANY * len(values)):
            maybe = separator
    opens = values.filter(pc.match_substring_regex(values, OPENS)).unique()
    literal = any(map(literal_list, opens.to_pylist()))
    return (LITERAL, None) if literal else (None, maybe)


def _is_bare(values: pa.Array) -> bool:
    import pyarrow.compute as pc

    bare = pc.match_substring_regex(values, BARE_LIST)
    several = pc.and_(bare, pc.match_substring(values, ","))
    several = values.filter(pc.and_not(several, pc.match_substring_regex(values, _LITERALS)))
    if not len(several) or not _are_short(several, ","):
        return False
    lists = pc.or_(bare, pc.match_substring_regex(values, _QUOTES))
    return bool(pc.mean(lists).as_py() >= _NEARLY_ALL)


def _no_lists(texts: pa.Array) -> pa.Array:
    """Those that are no list as JSON, Python or NumPy write it: in a list, a sign is part of an element."""
    import pyarrow as pa
    import pyarrow.compute as pc

    opens = texts.filter(pc.match_substring_regex(texts, OPENS)).unique().to_pylist()
    lists = [text for text in opens if literal_list(text) is not None]
    return texts.filter(pc.invert(pc.is_in(texts, value_set=pa.array(lists, texts.type))))


def _separates(values: pa.Array, several: pa.Array, separator: str) -> bool:
    """Whether the short texts that a sign parts, in the values that hold it, are elements of lists."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = pc.list_flatten(pc.split_pattern(several, separator))
    if not pc.any(pc.match_substring_regex(parts, r"^\s|\s$")).as_py():
        return True
    if len(several) >= _MOSTLY * len(values) and _are_short(several, separator, _FEW_WORDS):
        return True
    elements = _elements(several, separator)
    single = values.filter(pc.invert(pc.match_substring(values, separator)))
    counts = pc.value_counts(pa.concat_arrays([elements, single.cast(elements.type)]))
    often = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    return bool(pc.mean(pc.is_in(elements, value_set=often)).as_py() >= _SHARED)


def _elements(several: pa.Array, separator: str) -> pa.Array:
    import pyarrow.compute as pc

    parts = pc.list_flatten(pc.split_pattern(several, separator))
    elements = pc.utf8_trim_whitespace(parts)
    return elements.filter(pc.not_equal(elements, ""))


def _are_short(several: pa.Array, separator: str, most: int = _MOST_WORDS) -> bool:
    """Whether nearly all that a sign parts is short; of objects and escaped characters, nothing is."""
    import pyarrow.compute as pc

    objects = r"&#?\w+;" if separator == "," else r"^[{]|&#?\w+;"
    elements = _elements(several, separator)
    if not len(elements) or pc.any(pc.match_substring_regex(several, objects)).as_py():
        return False
    words = pc.add(pc.count_substring_regex(elements, r"\s+"), 1)
    short = pc.and_(pc.less_equal(pc.utf8_length(elements), _LONGEST), pc.less_equal(words, most))
    return bool(pc.mean(short).as_py() >= _SHORT)


def _is_unread(table: pa.Table, name: str, separator: str) -> bool:
    """Whether a text column holds what looks like lists, and one of them is none that is read."""
    import pyarrow.compute as pc

    values = trimmed(table[name].combine_chunks()).drop_null()
    like = pc.match_substring_regex(values, _LIKE)
    if (pc.sum(like).as_py() or 0) < _MANY * len(values):
        return False
    like = values.filter(pc.and_not(like, pc.match_substring_regex(values, _PLAIN))).unique()
    return any(list_reader(separator)(text) is None for text in like.to_pylist())


def _doubt(table: pa.Table, name: str, sign: str) -> str:
    import pyarrow.compute as pc

    count = pc.sum(pc.match_substring(table[name], sign)).as_py()
    return (
        f"not taken for lists, though {sign!r} stands in {count:,} values: {name}; "
        f"--list-column '{name}={sign}' if it is"
    )


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _note(found: dict[str, str]) -> str:
    told = [
        name + (f" (at {separator!r})" if separator not in (LITERAL, BARE) else "")
        for name, separator in found.items()
    ]
    return (
        f"read as lists: {_names(told)}; --list-column {next(iter(found))}={WHOLE} for "
        "single values"
    )
