"""Timestamps as integers that sort: numbers keep their unit, dates become microseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from genrec.data.values import Place, as_floats, as_texts, is_text, trimmed

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Timestamps", "arrow_mask", "parse_date"]

Kind = Literal["numbers", "dates"]
_FORMATS = (
    "a number or an ISO date such as 2024-05-01 or 2024-05-01T12:30:00Z; other dates are read with "
    "--date-format, such as '%d/%m/%Y %H:%M'"
)
_LIMIT = 2.0**63
"""Below it a number fits in 64 bits."""


class Timestamps:
    """Collects the time column of a log batch by batch.

    Integers are kept in their own unit. Numbers with fractions are scaled by a power of ten, so
    that no order is lost. Dates become microseconds since 1970 in UTC; a date without zone is UTC.

    Args:
        date_format: how dates are written, as for strptime; None reads numbers and ISO dates.

    Attributes:
        kind: what the column holds, known after the first batch; None before it.
    """

    def __init__(self, date_format: str | None = None) -> None:
        self.kind: Kind | None = None
        self._date_format = date_format
        self._parts: list[NDArray[np.int64] | NDArray[np.float64]] = []

    def add(self, values: pa.Array, place: Place, kept: NDArray[np.bool_]) -> None:
        """Convert a batch and keep the times of the `kept` rows.

        Raises:
            DataError: a time is missing, NaN, infinite or neither a number nor an ISO date, or
                dates and numbers are mixed.
        """
        values = values.filter(arrow_mask(kept))
        place = Place(place.source, place.column, place.rows[kept])
        if len(values) == 0:
            return
        if self._date_format is not None and is_text(values.type):
            self.kind = "dates"
            self._parts.append(_formatted(values, place, self._date_format))
            return
        if self.kind is None:
            self.kind = _kind(values)
        part = _dates(values, place) if self.kind == "dates" else _numbers(values, place)
        self._parts.append(part)

    @property
    def unit(self) -> str | None:
        """``"us"`` if the column held dates; None where the unit is the source's own."""
        return "us" if self.kind == "dates" else None

    def merge(self) -> tuple[NDArray[np.int64], int]:
        """Return all times in the order they came, and the factor that fractions made necessary."""
        if all(_is_whole(part) for part in self._parts):
            return np.concatenate([part.astype(np.int64) for part in self._parts]), 1
        times = np.concatenate([part.astype(np.float64) for part in self._parts])
        largest = float(np.abs(times).max())
        factor = next(10**digits for digits in range(6, -1, -1) if largest * 10**digits < _LIMIT)
        return np.round(times * factor).astype(np.int64), factor


def parse_date(text: str) -> int | None:
    """Return an ISO date as microseconds since 1970 in UTC, or None if it is not one."""
    import pyarrow as pa

    value: int | None = _microseconds(pa.array([text], pa.string()))[0].as_py()
    return value


def arrow_mask(mask: NDArray[np.bool_]) -> pa.Array:
    """Wrap a NumPy mask for Arrow's `filter`."""
    import pyarrow as pa

    return pa.array(mask, pa.bool_())


def _is_whole(part: NDArray[np.int64] | NDArray[np.float64]) -> bool:
    if part.dtype == np.int64:
        return True
    return bool(np.all(part == np.floor(part)))


def _kind(values: pa.Array) -> Kind:
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_timestamp(values.type) or types.is_date(values.type):
        return "dates"
    if not is_text(values.type):
        return "numbers"
    first = as_texts(values[:1])
    try:
        first.cast(pa.float64())
    except pa.ArrowInvalid:
        return "dates" if _microseconds(first)[0].is_valid else "numbers"
    return "numbers"


def _numbers(values: pa.Array, place: Place) -> NDArray[np.int64] | NDArray[np.float64]:
    import pyarrow as pa

    try:  # integers past 2**53 must not pass through floats
        times = trimmed(values).cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        times = None
    if times is None or times.null_count:
        return _within_64_bits(as_floats(values, place, f"the timestamp must be {_FORMATS}"), place)
    return np.asarray(times.to_numpy(zero_copy_only=False), dtype=np.int64)


def _within_64_bits(times: NDArray[np.float64], place: Place) -> NDArray[np.float64]:
    """Refuse what would come out as another time: a number of 2**63 or more."""
    beyond = np.abs(times) >= _LIMIT
    if beyond.any():
        position = int(np.argmax(beyond))
        message = (
            "the time is 2**63 or more and does not fit in 64 bits; mend it, or leave the row out"
        )
        raise place.error(message, position, f"{times[position]:.17g}")
    return times


def _dates(values: pa.Array, place: Place) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_timestamp(values.type) or types.is_date(values.type):
        zone = getattr(values.type, "tz", None)
        times = values.cast(pa.timestamp("us", tz=zone), safe=False).cast(pa.int64())
    elif is_text(values.type):
        times = _microseconds(as_texts(values))
    else:
        raise place.error("a number where the rows before hold dates", 0, values[0].as_py())
    return _all_valid(times, values, place, f"the timestamp must be {_FORMATS}")


def _formatted(values: pa.Array, place: Place, date_format: str) -> NDArray[np.int64]:
    import duckdb

    word = date_format.replace("'", "''")
    try:
        times = _epoch(as_texts(values), f"try_strptime(trim(text), '{word}')")
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise place.error(
            f"--date-format {date_format!r} is no format of dates ({reason})", 0
        ) from None
    rule = f"the timestamp must be written as {date_format!r} (--date-format)"
    return _all_valid(times, values, place, rule)


def _all_valid(times: pa.Array, values: pa.Array, place: Place, rule: str) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    if times.null_count:
        position = pc.index(pc.is_null(times), True).as_py()
        raise place.error(rule, position, values[position].as_py())
    return np.asarray(times.to_numpy(zero_copy_only=False), dtype=np.int64)


def _microseconds(texts: pa.Array) -> pa.Array:
    """Parse ISO dates; what is not one becomes null."""
    return _epoch(texts, "try_cast(trim(text) AS TIMESTAMPTZ)")


def _epoch(texts: pa.Array, parsed: str) -> pa.Array:
    """Microseconds since 1970 in UTC of a SQL expression over ``text``."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("times", pa.table({"text": texts}))
        query = f"SELECT epoch_us({parsed}) AS time FROM times"  # noqa: S608 quoted by the caller
        return connection.sql(query).to_arrow_table()["time"].combine_chunks()
