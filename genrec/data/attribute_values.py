"""Values of a catalog's column: lists taken apart, what is missing left out, text typed.

Numbers, truth values and dates stay what they are. Text becomes numbers where every value of the column
spells one, likewise ISO dates, and truth values where every one is true or false: CSV and JSON know no dates,
and CSV nothing but text. ``0012`` is a
code and not a number, and item ids and titles are always text. A value is missing where the table has
none, NaN, blank text, or a word for nothing such as ``n/a``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError
from genrec.data.item_text import MISSING_WORDS
from genrec.data.list_columns import (
    BARE,
    BARE_LIST,
    LITERAL,
    OPENS,
    WHOLE,
    list_reader,
    separator_of,
)
from genrec.data.reading.json_lines import parse_lists
from genrec.data.values import is_text, trimmed

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NUMBER", "TIME", "Values", "always_text", "first_unlike", "read_values"]

NUMBER = r"-?((0|[1-9][0-9]{0,29})(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?"


_ZONE = r"(Z|[-+][0-9]{2}(:?[0-9]{2})?)"
TIME = (
    r"([12][0-9]{3}|[0-9]{4}-[0-9]{2}(-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
    + _ZONE
    + "?)?)?)"
)
"""An ISO date, with or without month, day and time of day."""
_PLAIN_LIST = r"^\[\s*'[^'\\]*'([,\s]\s*'[^'\\]*')*\s*\]$"
_KINDS = {
    "number": (NUMBER, "a number, such as 19.99"),
    "time": (TIME, "an ISO date, such as 2024-01-31"),
    "truth": ("(?i)true|false", "true or false"),
}
_FEW = 1000
_DIGITS = 40
"""Before the point, of numbers that floats do not hold; decimals have 76 in all."""


@dataclass(frozen=True, eq=False)
class Values:
    """V values of a column of N items.

    Attributes:
        values: `(V,)` of one type, without nulls once read.
        items: `(V,)` int64, the catalog index of each; a list gives several values, a missing one none.
    """

    values: pa.Array
    items: NDArray[np.int64]

    def where(self, mask: pa.Array) -> Values:
        """Those for which a mask `(V,)` without nulls is true."""
        return Values(self.values.filter(mask), self.items[mask.to_numpy(zero_copy_only=False)])

    def elements(self) -> Values:
        """The elements of values that are lists."""
        import pyarrow.compute as pc

        parents = pc.list_parent_indices(self.values).to_numpy()
        return Values(pc.list_flatten(self.values), self.items[parents])


def always_text(name: str) -> bool:
    """Whether a column is text whatever it spells: item ids and titles."""
    return name in ("item_id", "title")


def read_values(table: pa.Table, name: str) -> Values:
    """Read a column of the catalog's table; text that holds lists is split (`genrec.data.list_columns`).

    Returns:
        Text, truth values, integers, floats, decimals, or timestamps (microseconds, UTC).

    Raises:
        DataError: the column's type is none that can be compared, such as a struct.
    """
    flat = _flat(table, name)
    return flat if always_text(name) else _typed(flat)


def first_unlike(table: pa.Table, new: pa.Table, name: str) -> tuple[int, str, str] | None:
    """Find a value that would make text of a column whose texts spell numbers, dates or truth values so far.

    Args:
        table: of the catalog. new: of other items, with the same columns.
        name: of a column of text.

    Returns:
        The index of the new item, its value, and what it should be; None where all is well.
    """
    import pyarrow.compute as pc

    for part in (table.slice(0, _FEW), table):  # most columns of text are told by a few
        column = read_values(part, name).values
        kind = _kind(column.type)
        if len(column) and kind == "text":
            return None
    texts = _flat(new, name)
    if not (len(column) and len(texts.values)):
        return None
    dates = kind == "time" and pc.all(pc.match_substring_regex(texts.values, f"^{TIME}$")).as_py()
    if kind == _kind((_times(texts) if dates else _typed(texts)).values.type):
        return None
    spelling, wanted = _KINDS[kind]
    unlike = texts.where(pc.invert(pc.match_substring_regex(texts.values, f"^({spelling})$")))
    found = unlike if len(unlike.values) else texts
    return int(found.items[0]), found.values[0].as_py(), wanted


def _kind(kind: pa.DataType) -> str:
    import pyarrow.types as types

    if types.is_boolean(kind):
        return "truth"
    return "time" if types.is_timestamp(kind) else "text" if is_text(kind) else "number"


def _flat(table: pa.Table, name: str) -> Values:
    """A column's values, lists taken apart and what is missing left out, texts as they stand."""
    import pyarrow as pa

    column = table[name].combine_chunks()
    whole = Values(column, np.arange(len(column)))
    if name == "item_id":
        return Values(trimmed(column), whole.items)
    if always_text(name):
        return _present(whole)
    separator = separator_of(table, name)
    parts = list(_taken_apart(whole, separator))
    flat = Values(
        pa.concat_arrays([part.values for part in parts]),
        np.concatenate([part.items for part in parts]),
    )
    return _present(_simple(flat, name, column.type))


def _taken_apart(whole: Values, separator: str) -> Iterator[Values]:
    """Lists become their elements, however deep they are; so do lists among texts, other texts are split."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    kind = whole.values.type
    if types.is_dictionary(kind):
        yield from _taken_apart(Values(whole.values.dictionary_decode(), whole.items), separator)
    elif _is_list(kind):
        yield from _taken_apart(whole.elements(), LITERAL)
    elif is_text(kind) and separator != WHOLE:
        texts = Values(trimmed(whole.values), whole.items)
        form = f"{OPENS}|{BARE_LIST}" if separator == BARE else OPENS
        opens = pc.fill_null(pc.match_substring_regex(texts.values, form), False)
        yield _split(texts.where(pc.invert(opens)), separator)
        if pc.any(opens).as_py():
            yield from _literals(texts.where(opens), separator)
    else:
        yield whole


def _literals(texts: Values, separator: str) -> Iterator[Values]:
    import pyarrow.compute as pc

    lists = parse_lists(texts.values)
    yield from _taken_apart(Values(lists, texts.items).where(lists.is_valid()), separator)
    others = texts.where(lists.is_null())
    plain = pc.match_substring_regex(others.values, _PLAIN_LIST)
    yield _split_plain(others.where(plain))
    others = others.where(pc.invert(plain))
    lists = _read_singly(others.values, separator)
    yield Values(lists, others.items).where(lists.is_valid()).elements()
    yield _split(others.where(lists.is_null()), separator)  # a text such as "[New] Tent"


def _split_plain(texts: Values) -> Values:
    """Most lists that Python and NumPy write, of texts without quotes, without a loop over rows."""
    import pyarrow.compute as pc

    inner = pc.replace_substring_regex(texts.values, r"^\[\s*'|'\s*\]$", "")
    return Values(pc.split_pattern_regex(inner, r"'[,\s]\s*'"), texts.items).elements()


def _read_singly(texts: pa.Array, separator: str) -> pa.Array:
    import pyarrow as pa

    words = texts.dictionary_encode()
    lists = pa.array(
        map(list_reader(separator), words.dictionary.to_pylist()), pa.list_(pa.string())
    )
    return lists.take(words.indices)


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    plain = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(plain or types.is_list_view(kind) or types.is_large_list_view(kind))


def _split(texts: Values, separator: str) -> Values:
    import pyarrow.compute as pc

    if separator in (LITERAL, BARE):
        return texts
    return Values(pc.split_pattern(texts.values, separator), texts.items).elements()


def _simple(flat: Values, name: str, read_as: pa.DataType) -> Values:
    """Bring dates to one type, and refuse what is no text, number, truth value or date."""
    import pyarrow as pa
    import pyarrow.types as types

    kind = flat.values.type
    if types.is_null(kind):
        return Values(flat.values.cast(pa.string()), flat.items)
    if types.is_timestamp(kind) or types.is_date(kind):
        return Values(flat.values.cast(pa.timestamp("us"), safe=False), flat.items)
    if types.is_float16(kind):
        return Values(flat.values.cast(pa.float32()), flat.items)
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if numbers or types.is_boolean(kind) or is_text(kind):
        return flat
    raise DataError(
        f"conditions compare text, numbers, true and false, dates, and lists of these; the column "
        f"holds {read_as}",
        column=name,
    )


def _present(flat: Values) -> Values:
    """Leave out nulls, NaN and words for nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    flat = Values(trimmed(flat.values), flat.items)
    missing = flat.values.is_null(nan_is_null=types.is_floating(flat.values.type))
    if is_text(flat.values.type):
        words = pa.array(sorted(MISSING_WORDS), pa.string())
        missing = pc.or_(missing, pc.is_in(pc.utf8_lower(flat.values), value_set=words))
    return flat.where(pc.invert(missing))


def _typed(flat: Values) -> Values:
    """Text that spells numbers, ISO dates, or true and false, throughout becomes that."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = flat.values
    if not is_text(texts.type) or not len(texts):
        return flat
    if pc.all(pc.match_substring_regex(texts, f"^{NUMBER}$")).as_py():
        return Values(_numbers(texts), flat.items)
    if pc.all(pc.match_substring_regex(texts, f"^{TIME}$")).as_py():
        return _times(flat)
    words = pc.utf8_lower(texts)
    if pc.all(pc.is_in(words, value_set=pa.array(["true", "false"]))).as_py():
        return Values(pc.equal(words, "true"), flat.items)
    return flat


def _numbers(texts: pa.Array) -> pa.Array:
    """Numbers that keep every digit of whole ones; the texts as they are where no type holds them all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(
        pc.match_substring_regex(texts, r"^-?[0-9]{16}")
    ).as_py():  # floats hold 15 digits
        whole = pc.all(pc.match_substring_regex(texts, r"^-?[0-9]+$")).as_py()
        return texts.cast(pa.int64() if whole else pa.float64())
    fractions = pc.struct_field(pc.extract_regex(texts, r"\.(?P<digits>[0-9]+)"), "digits")
    scale = pc.max(pc.utf8_length(fractions)).as_py() or 0
    for kind in (pa.int64(), pa.decimal256(_DIGITS + scale, scale)):
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            continue
    return texts


def _times(texts: Values) -> Values:
    """ISO dates and times as microseconds in UTC; as they are where one is none, such as 2023-02-30."""
    import pyarrow as pa
    import pyarrow.compute as pc

    zoned = pc.match_substring_regex(texts.values, f":[0-9.]+{_ZONE}$")
    parts = [texts.where(pc.invert(zoned)), texts.where(zoned)]
    try:
        local, utc = (
            pc.replace_substring_regex(part.values, r"(\.\d{6})\d+", r"\1") for part in parts
        )
        for month in (r"^(\d{4})$", r"^(\d{4}-\d{2})$"):
            local = pc.replace_substring_regex(local, month, r"\1-01")
        times = [
            local.cast(pa.timestamp("us")),
            utc.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")),
        ]
    except pa.ArrowInvalid:
        return texts
    return Values(pa.concat_arrays(times), np.concatenate([part.items for part in parts]))
