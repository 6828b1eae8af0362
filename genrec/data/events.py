"""Events of a click log: rows become arrays of numbers, batch by batch.

Two shapes are read: one row an event, and one row a user with a list of items (and lists as long of
timestamps, ratings or events). In text formats a list is JSON, ``["B01", "B02"]``, or what is as plain (see
`genrec.data.unroll`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import DataError
from genrec.data.catalog import Catalog
from genrec.data.reading.readers import Rows, Source, nearest, open_rows
from genrec.data.reading.text_format import TextFormat
from genrec.data.timestamps import Timestamps, arrow_mask
from genrec.data.unroll import holds_lists, plain_separator, unroll
from genrec.data.values import Place, as_floats, as_ids, as_words

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Events", "InteractionColumns", "LogPolicy", "read_events"]

MIN_BATCH_ROWS = 1 << 20
_UNKNOWN = "unknown item"
_NO_USER = "no user"
_NO_ITEM = "no item"
_MOST_EVENTS = 1000
"""Kinds of events that are kept in mind, to name them where one that is wanted never comes."""


class InteractionColumns(Settings):
    """What the user's file calls the columns of a click log."""

    user_id: str = "user_id"
    """Column of the users' ids; every row needs one."""
    item_id: str = "item_id"
    """Column of item ids, or of lists of them."""
    timestamp: str | None = "timestamp"
    """Column of times: integers or floats of any unit, or ISO dates. One called ``timestamp`` may
    be absent; without times, or with None, file order is time order."""
    rating: str = "rating"
    """Column of numbers, read only if `LogPolicy.min_rating` is set."""
    event: str = "event"
    """Column of words such as ``purchase``, read only if `LogPolicy.events` is set."""
    history_separator: str | None = Field(None, min_length=1)
    """What stands between the items of a list in one text, such as ``^``; None: found where it is plain."""


class LogPolicy(Settings):
    """Which interactions count."""

    unknown_items: Literal["refuse", "drop"] = "refuse"
    """What to do with rows whose item is not in the catalog."""
    repeats: Literal["keep", "collapse_consecutive", "keep_first"] = "keep"
    """Keep every repeat of an item by a user, only those with another item in between, or none."""
    min_rating: float | None = Field(None, allow_inf_nan=False)
    """Drop rows rated lower."""
    events: tuple[str, ...] | None = Field(None, min_length=1)
    """Drop rows of other events."""
    missing_users: Literal["refuse", "drop"] = "refuse"
    """What to do with rows that name no user."""
    empty_users: Literal["drop", "keep"] = "drop"
    """Users of whom no interaction is left: counted and left out, or kept with an empty history; then a row
    may also name a user and no item."""


@dataclass(frozen=True)
class Events:
    """M interactions in file order.

    Attributes:
        user_ids: `(U,)` Arrow strings, in order of first appearance.
        users: `(M,)` int32 positions in `user_ids`.
        items: `(M,)` int32 catalog indices.
        timestamps: `(M,)` int64, or None if the log has no times.
        unit: ``"us"`` if the times were dates; None where the unit is the source's own.
        rows: interactions read.
        dropped: interactions left out, by reason.
        notes: what else the report should say.
    """

    user_ids: pa.Array
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    timestamps: NDArray[np.int64] | None
    unit: str | None
    rows: int
    dropped: dict[str, int]
    notes: tuple[str, ...]


def read_events(
    source: Source,
    catalog: Catalog,
    columns: InteractionColumns,
    policy: LogPolicy,
    format: TextFormat,
) -> tuple[Events, Rows]:
    """Read all interactions of a log.

    Returns:
        The interactions, and the source, all of whose rows were read.

    Raises:
        DataError: a column is missing, a value is not what its column needs, an item is unknown
            (and `policy.unknown_items` is ``"refuse"``), or no interaction is left.
    """
    times = [columns.timestamp] if columns.timestamp is not None else []
    names = _names(columns, policy, found=times).values()
    rows = open_rows(source, list(dict.fromkeys(names)), format)
    _require_columns(rows, columns, policy)
    reader = _Reader(rows, catalog, columns, policy, Timestamps(format.date_format))
    for table in rows.grouped(max(MIN_BATCH_ROWS, len(catalog))):
        reader.add(table)
    return reader.finish(), rows


def _require_columns(rows: Rows, columns: InteractionColumns, policy: LogPolicy) -> None:
    rows.require(columns.user_id, "user_id")
    rows.require(columns.item_id, "item_id")
    if columns.timestamp not in (None, "timestamp"):
        rows.require(str(columns.timestamp), "timestamp")
    if policy.min_rating is not None:
        rows.require(columns.rating, "rating")
    if policy.events is not None:
        rows.require(columns.event, "event")


class _Reader:
    """Takes a log's batches and keeps three numbers an interaction, and each user's id once."""

    def __init__(
        self,
        rows: Rows,
        catalog: Catalog,
        columns: InteractionColumns,
        policy: LogPolicy,
        times: Timestamps,
    ) -> None:
        self._source, self._columns_found = rows.source, rows.columns
        self._names = _names(columns, policy, rows.columns)
        self._catalog, self._policy = catalog, policy
        self._users: list[pa.Array] = []
        self._items: list[NDArray[np.int32]] = []
        self._times = times
        self._lists: bool | None = None
        self._rows_seen = self._read = 0
        self._dropped: dict[str, int] = {}
        self._first_unknown: tuple[int, str] | None = None
        self._first_missing: tuple[int, object] | None = None
        self._separator = columns.history_separator
        self._events_found: set[str] = set()

    def add(self, table: pa.Table) -> None:
        """Take the next rows of the file."""
        rows = np.arange(self._rows_seen + 1, self._rows_seen + len(table) + 1)
        values = {part: table[name].combine_chunks() for part, name in self._names.items()}
        self._rows_seen += len(table)
        if self._lists is None and len(table):
            self._lists = self._find_lists(values["item"], rows)
        given = values.pop("user")
        users = as_ids(given, self._place("user", rows), required=False)
        if self._first_missing is None and users.null_count:
            first = int(np.argmax(users.is_null().to_numpy(zero_copy_only=False)))
            self._first_missing = int(rows[first]), given[first].as_py()
        users = users.dictionary_encode()  # knows every user, also those whose rows are all dropped
        if self._lists:
            places = {part: self._place(part, rows) for part in values}
            users, values, rows = unroll(users, values, places, self._separator)
        values["user"] = users
        self._read += len(rows)
        self._encode(values, rows)

    def finish(self) -> Events:
        """Join what was taken."""
        import pyarrow as pa

        if self._first_missing is not None and self._policy.missing_users == "refuse":
            raise self._missing_error(*self._first_missing)
        self._check_events()
        if self._first_unknown is not None and self._policy.unknown_items == "refuse":
            raise self._unknown_error(*self._first_unknown)
        keeps_all = self._policy.empty_users == "keep"
        counted = [part.dictionary for part in self._users] if keeps_all else self._items
        if not any(len(part) for part in counted):
            raise self._nothing_left()
        encoded = pa.chunked_array(self._users).unify_dictionaries()
        ids = encoded.chunk(0).dictionary
        users = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
        times, notes = self._merge_times()
        if self._dropped or self._lists:
            ids, users, note = _with_events(ids, users, keeps_all)
            notes += note
        return Events(
            user_ids=ids,
            users=users,
            items=np.concatenate(self._items),
            timestamps=times,
            unit=self._times.unit,
            rows=self._read,
            dropped=self._dropped,
            notes=(*self._shape_notes(), *notes),
        )

    def _find_lists(self, items: pa.Array, rows: NDArray[np.int64]) -> bool:
        """Tell by the first rows whether a row holds a list, and find its separator if it has one."""

        def is_item(texts: pa.Array) -> NDArray[np.bool_]:
            return self._catalog.lookup(texts) >= 0

        if self._separator is None and not holds_lists(items, is_item):
            self._separator = plain_separator(items, self._place("item", rows), is_item)
            return self._separator is not None
        return True

    def _place(self, part: str, rows: NDArray[np.int64]) -> Place:
        return Place(self._source, self._names[part], rows)

    def _encode(self, values: dict[str, pa.Array], rows: NDArray[np.int64]) -> None:
        users = values["user"]
        keeps_all = self._policy.empty_users == "keep"
        items = as_ids(values["item"], self._place("item", rows), required=not keeps_all)
        indices = self._catalog.lookup(items)
        named = users.is_valid().to_numpy(zero_copy_only=False)
        kept = self._drop(_NO_USER, np.ones(len(rows), dtype=np.bool_), named)
        kept = self._drop(_NO_ITEM, kept, items.is_valid().to_numpy(zero_copy_only=False))
        for reason, wanted in self._wanted(values, rows):
            kept = self._drop(reason, kept, wanted)
        unknown = kept & (indices < 0)
        if self._first_unknown is None and unknown.any():
            first = int(np.argmax(unknown))
            self._first_unknown = int(rows[first]), items[first].as_py()
        kept = self._drop(_UNKNOWN, kept, ~unknown)
        if "time" in values:
            self._times.add(values["time"], self._place("time", rows), kept)
        self._users.append(users.filter(arrow_mask(kept)))
        self._items.append(indices[kept])

    def _wanted(
        self, values: dict[str, pa.Array], rows: NDArray[np.int64]
    ) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._policy.events is not None:
            words = as_words(values["event"], self._place("event", rows))
            found = set(pc.unique(words).drop_null().to_pylist())
            self._events_found |= found & set(self._policy.events)
            if len(self._events_found) < _MOST_EVENTS:
                self._events_found |= found
            named = pc.is_in(words, value_set=pa.array(self._policy.events))
            yield "other event", named.to_numpy(zero_copy_only=False)
        if (lowest := self._policy.min_rating) is not None:
            rule = "the rating must be a number, since min_rating is set"
            ratings = as_floats(values["rating"], self._place("rating", rows), rule)
            yield f"rating below {lowest:g}", ratings >= lowest

    def _drop(
        self, reason: str, kept: NDArray[np.bool_], wanted: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        if count := int((kept & ~wanted).sum()):
            self._dropped[reason] = self._dropped.get(reason, 0) + count
        return kept & wanted

    def _check_events(self) -> None:
        """Refuse an event that is wanted and never comes: a typing error, most often."""
        for wanted in self._policy.events or ():
            if wanted not in self._events_found:
                shown = ", ".join(repr(word) for word in sorted(self._events_found)[:10])
                raise DataError(
                    f"no row has this event; found {shown or 'none'}. Name those that count with --event "
                    "(events= in Python)",
                    source=self._source,
                    column=self._names["event"],
                    value=wanted,
                )

    def _missing_error(self, row: int, value: object) -> DataError:
        count = self._dropped.get(_NO_USER, 0)
        total = f" ({count:,} of {self._read:,} interactions have none)" if count > 1 else ""
        return DataError(
            f"the id is empty; every row needs one{total}. Fill it in, or drop such rows with "
            "--missing-users drop (missing_users= in Python)",
            source=self._source,
            row=row,
            column=self._names["user"],
            value=value if isinstance(value, str) else None,
        )

    def _unknown_error(self, row: int, item_id: str) -> DataError:
        count = self._dropped[_UNKNOWN]
        total = f"{count:,} of {self._read:,} interactions are so" if count > 1 else "the only one"
        return DataError(
            f"the item is not in the catalog ({total}){self._catalog.similar(item_id)}. {_list_hint(item_id)}"
            "Add it to the catalog, or drop such rows with --unknown-items drop "
            "(unknown_items= in Python)",
            source=self._source,
            row=row,
            column=self._names["item"],
            value=item_id,
        )

    def _nothing_left(self) -> DataError:
        reasons = [f"{count:,} dropped ({reason})" for reason, count in self._dropped.items()]
        why = ", ".join([f"{self._read:,} read", *reasons])
        return DataError(f"no interactions are left: {why}", source=self._source)

    def _merge_times(self) -> tuple[NDArray[np.int64] | None, list[str]]:
        if "time" not in self._names:
            hint = nearest("timestamp", self._columns_found)
            return None, [f"no timestamps, so file order is time order{hint}"]
        if not any(len(part) for part in self._items):
            return np.empty(0, np.int64), []
        times, factor = self._times.merge()
        return times, [f"timestamps have fractions, kept times {factor:,}"] if factor > 1 else []

    def _shape_notes(self) -> list[str]:
        return [f"one row a user, {self._rows_seen:,} rows"] if self._lists else []


def _names(columns: InteractionColumns, policy: LogPolicy, found: Sequence[str]) -> dict[str, str]:
    """Return the names of the columns to use by the part they play."""
    names = {"user": columns.user_id, "item": columns.item_id}
    if columns.timestamp is not None and columns.timestamp in found:
        names["time"] = columns.timestamp
    if policy.min_rating is not None:
        names["rating"] = columns.rating
    if policy.events is not None:
        names["event"] = columns.event
    return names


def _with_events(
    ids: pa.Array, users: NDArray[np.int32], keeps_all: bool
) -> tuple[pa.Array, NDArray[np.int32], list[str]]:
    """Count the users without an event, and leave them out unless all are kept.

    Args:
        ids: `(U,)` of all users. users: `(M,)` positions in it, of the events that are left.
        keeps_all: whether users without an event stay.

    Returns:
        The ids, those left in order of their first event; the positions in these; what there is to say.
    """
    first = np.full(len(ids), len(users), np.int64)
    first[users[::-1]] = np.arange(len(users))[::-1]  # of equal places the last assignment holds
    order = np.argsort(first, kind="stable")
    order = order[: np.count_nonzero(first < len(users))]
    missing = len(ids) - len(order)
    become = "their histories are empty" if keeps_all else "they are left out"
    notes = [f"{missing:,} of {len(ids):,} users have no interaction left: {become}"]
    if keeps_all:
        return ids, users, notes if missing else []
    index = np.empty(len(ids), np.int32)
    index[order] = np.arange(len(order), dtype=np.int32)
    return ids.take(order), index[users], notes if missing else []


def _list_hint(item_id: str) -> str:
    opened = item_id.lstrip()[:1] in ("[", "(", "{")
    return 'If it is a list of items, write JSON: ["a", "b"]. ' if opened else ""
