"""Attributes of items: which items meet a condition on one column of the catalog.

What the column holds decides how it compares (`genrec.data.attribute_values`): numbers, truth values and
dates as such, other text by being equal or not, case and accents included, white space around it not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError
from genrec.data.attribute_values import NUMBER, TIME, Values, always_text, read_values
from genrec.data.conditions import Condition
from genrec.data.values import is_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Attribute"]

_TRUTH = {"true": True, "false": False}
_COMPARISONS = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}


@dataclass(frozen=True, eq=False)
class Attribute:
    """One column, ready for conditions.

    Attributes:
        name: of the column.
        read_as: its Arrow type in the table, for messages.
        present: its values without the missing ones.
        size: number of items N.
    """

    name: str
    read_as: str
    present: Values
    size: int

    @classmethod
    def of(cls, table: pa.Table, name: str) -> Attribute:
        """Read a column.

        Raises:
            DataError: its type is none that can be compared, such as a struct.
        """
        read_as = str(table.schema.field(name).type)
        return cls(name, read_as, read_values(table, name), table.num_rows)

    def meets(self, condition: Condition) -> NDArray[np.bool_]:
        """Tell which items meet a condition on this column, `(N,)`.

        Raises:
            DataError: the column's values and the condition's cannot be compared; shows one of each.
        """
        if comparison := _COMPARISONS.get(condition.operator):
            if not self._has_order():
                raise self._no_order(condition)
            return self._items(self._hits(comparison, condition, condition.values[0]))
        equal = self._items(self._equals_any(condition))
        return equal if condition.operator == "=" else self._items() & ~equal

    def _equals_any(self, condition: Condition) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        if is_text(self.present.values.type):
            wanted = pa.array([value.strip() for value in condition.values])
            return pc.is_in(self.present.values, value_set=wanted)
        hits = (self._hits("equal", condition, value) for value in condition.values)
        return reduce(pc.or_, hits)

    def _hits(self, comparison: str, condition: Condition, value: str) -> pa.Array:
        """Compare each of the values with one of the condition's, `(V,)`."""
        import pyarrow.compute as pc

        try:
            bound = _read_as(self.present.values.type, value.strip())
            return pc.call_function(comparison, [self.present.values, bound])
        except (LookupError, ValueError):  # Arrow's are ValueErrors
            raise DataError(
                f"condition {str(condition)!r}: {value!r} cannot be compared with what the column "
                f"({self.read_as}) holds, such as {self._example(0)}",
                column=self.name,
            ) from None

    def _items(self, hits: pa.Array | None = None) -> NDArray[np.bool_]:
        """Tell which items have one of the `hits` `(V,)`, or any value at all."""
        items = self.present.items
        met = np.zeros(self.size, bool)
        met[items if hits is None else items[hits.to_numpy(zero_copy_only=False)]] = True
        return met

    def _has_order(self) -> bool:
        import pyarrow.types as types

        kind = self.present.values.type
        return not len(self.present.values) or not (is_text(kind) or types.is_boolean(kind))

    def _no_order(self, condition: Condition) -> DataError:
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = self.present.values.cast(pa.string())
        fit = [pc.match_substring_regex(texts, f"^{kind}$") for kind in (NUMBER, TIME)]
        most = max(fit, key=lambda hits: pc.sum(hits).as_py() or 0).to_numpy(zero_copy_only=False)
        others = np.flatnonzero(~most | always_text(self.name))
        others = others if len(others) else np.arange(len(texts))  # such as 2023-02-30
        rows = len(np.unique(self.present.items[others]))
        return DataError(
            f"condition {str(condition)!r}: {condition.operator} compares numbers and dates, but of "
            f"{self.size:,} rows of the column ({self.read_as}) {rows:,} hold something else, such as "
            f"{self._example(others[0])}; compare with = or !=, or fit with a column of numbers or ISO dates",
            column=self.name,
        )

    def _example(self, position: int) -> str:
        if not len(self.present.values):
            return "nothing"
        text = str(self.present.values[int(position)].as_py())
        return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _read_as(kind: pa.DataType, word: str) -> pa.Scalar:
    import pyarrow as pa
    import pyarrow.types as types

    if is_text(kind):
        return pa.scalar(word)
    if types.is_boolean(kind):
        return pa.scalar(_TRUTH[word.lower()])
    if types.is_timestamp(kind):
        return _time(word)
    if not re.fullmatch(NUMBER, word):
        raise ValueError(word)
    # A bound of 19.99 is the number that a column of this precision holds for 19.99.
    return pa.scalar(float(word), kind) if types.is_floating(kind) else _exact(word, kind)


def _time(word: str) -> pa.Scalar:
    """An ISO date or time in UTC, where it names no other zone; of a year or month, its first day."""
    import pyarrow as pa

    word = re.sub(r"(\.\d{6})\d{1,3}(?!\d)", r"\1", word)
    for month in ("[0-9]{4}", "[0-9]{4}-[0-9]{2}"):
        word = f"{word}-01" if re.fullmatch(month, word) else word
    try:
        return pa.scalar(word).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return pa.scalar(word).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))


def _exact(word: str, kind: pa.DataType) -> pa.Scalar:
    """A number to compare with integers or decimals, none of whose digits may be lost."""
    import pyarrow as pa
    import pyarrow.types as types

    number = Decimal(word)
    if types.is_signed_integer(kind) and number == int(number) and abs(number) < 1 << 63:
        return pa.scalar(int(number), pa.int64())  # thirty times as fast as decimals
    scalar = pa.scalar(number)
    return scalar.cast(pa.decimal256(scalar.type.precision, scalar.type.scale))
