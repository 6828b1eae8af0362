"""Values of columns of any type: ids, numbers and times, or an error that names the first bad value.

Conversions run on whole Arrow columns. Only once one has failed is the culprit looked for, by
bisection, so that clean data pays nothing for exact error messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Place",
    "as_floats",
    "as_ids",
    "as_texts",
    "as_words",
    "first_failure",
    "is_text",
    "trimmed",
]


@dataclass(frozen=True)
class Place:
    """Where the values of a column come from: what an error needs to point at one of them.

    Attributes:
        source: the file, or a word for an in-memory table.
        column: the column's name in the source.
        rows: `(n,)` int64, 1-based data row of each value.
    """

    source: str
    column: str
    rows: NDArray[np.int64]

    def error(self, message: str, position: int, value: object = None) -> DataError:
        """Build the error about the value at `position`."""
        row = int(self.rows[position])
        return DataError(message, source=self.source, row=row, column=self.column, value=value)


def first_failure(convert: Callable[[pa.Array], object], values: pa.Array) -> int:
    """Return the position of the first value that `convert` refuses, given that it refuses some."""
    import pyarrow as pa

    good, bad = 0, len(values)  # values[:good] convert; values[:bad] do not
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            convert(values[good:middle])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            bad = middle
        else:
            good = middle
    return good


def is_text(kind: pa.DataType) -> bool:
    """Tell whether an Arrow type is a string type of any width."""
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def as_texts(values: pa.Array) -> pa.Array:
    """Return text of any width as plain `string`."""
    import pyarrow as pa

    return values.cast(pa.string())


def as_words(values: pa.Array, place: Place) -> pa.Array:
    """Return words as plain `string`, nulls kept.

    Raises:
        DataError: the type is none that has a text, such as a struct.
    """
    import pyarrow as pa

    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        message = f"expected words, found type {values.type}; give the word in a column of its own"
        raise DataError(message, source=place.source, column=place.column) from None


def as_ids(values: pa.Array, place: Place, *, required: bool = True) -> pa.Array:
    """Return ids as text: whole numbers become their decimal digits, text stays as it is.

    Args:
        values: the column.
        place: where it comes from.
        required: whether each row needs one; else a missing or blank one becomes null.

    Raises:
        DataError: an id is required and missing or blank, or neither text nor a whole number.
    """
    import pyarrow.compute as pc
    import pyarrow.types as types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    ids = _id_texts(values, place)
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(ids), ""), True)
    if pc.any(blank).as_py():
        if not required:
            return pc.if_else(blank, None, ids)
        position = pc.index(blank, True).as_py()
        raise place.error("the id is empty; every row needs one", position, ids[position].as_py())
    return ids


def _id_texts(values: pa.Array, place: Place) -> pa.Array:
    import pyarrow as pa
    import pyarrow.types as types

    kind = values.type
    if types.is_floating(kind):
        return _whole_texts(values, place)
    if is_text(kind) or types.is_integer(kind) or types.is_null(kind):
        return values.cast(pa.string())
    if types.is_decimal(kind) and kind.scale == 0:
        return values.cast(pa.string())
    raise DataError(
        f"ids must be text or whole numbers, found type {kind}; convert the column to text",
        source=place.source,
        column=place.column,
    )


def _whole_texts(values: pa.Array, place: Place) -> pa.Array:
    """Return floats that are whole numbers as decimal digits (12.0 is the id "12"), null kept.

    Tables made by pandas hold such a column when some rows have no id.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.if_else(pc.is_nan(values), None, values)
    try:
        return values.cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid:
        position = first_failure(lambda part: part.cast(pa.int64()), values)
        value = values[position].as_py()
        raise place.error("an id must be text or a whole number", position, value) from None


def as_floats(values: pa.Array, place: Place, rule: str) -> NDArray[np.float64]:
    """Return numbers, or text that spells numbers, as float64.

    Args:
        values: the column.
        place: where it comes from.
        rule: what the error tells the user, such as "the rating must be a number".

    Raises:
        DataError: a value is missing, NaN, infinite or not a number; names the first one.
    """
    import pyarrow as pa

    def convert(part: pa.Array) -> pa.Array:
        return part.cast(pa.float64(), safe=False)

    numbers = trimmed(values)
    if not _may_be_numbers(values.type):
        message = f"{rule}, found type {values.type}; give such a value in a column of its own"
        raise place.error(message, 0, values[0].as_py() if len(values) else None)
    bad = len(numbers)
    try:
        floats = convert(numbers)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        bad = first_failure(convert, numbers)
        floats = convert(numbers[:bad])
    array = np.asarray(floats.to_numpy(zero_copy_only=False), dtype=np.float64)
    bad = int(np.append(np.flatnonzero(~np.isfinite(array)), bad)[0])
    if bad < len(numbers):
        raise place.error(rule, bad, values[bad].as_py())
    return array


def _may_be_numbers(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(numbers or is_text(kind) or types.is_boolean(kind) or types.is_null(kind))


def trimmed(values: pa.Array) -> pa.Array:
    """Return text without the white space around it; other types as they are."""
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(as_texts(values)) if is_text(values.type) else values
