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
from pydantic import Field, field_validator

from genrec.common.config import Settings
from genrec.common.errors import DataError
from genrec.data.catalog import Catalog
from genrec.data.log_users import said_none, with_events
from genrec.data.reading.readers import Rows, Source, nearest, open_rows
from genrec.data.reading.text_format import TextFormat
from genrec.data.timestamps import Timestamps, arrow_mask
from genrec.data.unroll import NO_TIMES, WHOLE, holds_lists, list_hint, plain_separator, unroll
from genrec.data.values import Place, as_floats, as_ids, as_words

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Events", "InteractionColumns", "LogPolicy", "read_events"]

MIN_BATCH_ROWS = 1 << 20
_UNKNOWN = "unknown item"
_NO_USER = "no user"
_NO_ITEM = "no item"
_MISSING = {"user": (_NO_USER, "missing_users"), "item": (_NO_ITEM, "unknown_items")}
_MOST_STRANGERS = 1000
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
    be absent; without times, or with None or an empty name, file order is time order."""
    rating: str = "rating"
    """Column of numbers, read only if `LogPolicy.min_rating` is set."""
    event: str = "event"
    """Column of words such as ``purchase``, read only if `LogPolicy.events` is set."""
    history_separator: str | None = Field(None, min_length=1)
    """What stands between the items of a list in one text, such as ``^``, or a word (tab, comma, semicolon,
    pipe, space); ``no``: nothing, they are single ids; None: found where it is plain."""

    @field_validator("timestamp")
    @classmethod
    def _named_or_none(cls, timestamp: str | None) -> str | None:
        return timestamp or None

    @field_validator("history_separator")
    @classmethod
    def _spelled_separator(cls, separator: str | None) -> str | None:
        if separator == r"\t" or (separator or "").isalpha():
            return TextFormat(separator=separator).separator
        return separator


class LogPolicy(Settings):
    """Which interactions count."""

    unknown_items: Literal["refuse", "drop"] = "refuse"
    """What to do with rows whose item is not in the catalog, and with those that name none."""
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
        rows.require(columns.event, "event", option="--event-column")


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
        self._strangers: list[str] = []
        self._first_missing: tuple[int, object] | None = None
        self._first_itemless: tuple[int, object] | None = None
        self._separator = self._said = columns.history_separator
        self._timeless = columns.timestamp is None
        self._events_found: set[str] = set()

    def add(self, table: pa.Table) -> None:
        """Take the next rows of the file."""
        rows = np.arange(self._rows_seen + 1, self._rows_seen + len(table) + 1)
        values = {part: table[name].combine_chunks() for part, name in self._names.items()}
        self._rows_seen += len(table)
        if self._lists is None and len(table):
            self._lists = self._find_lists(values["item"], values.get("time"), rows)
        given = values.pop("user")
        users = as_ids(given, self._place("user", rows), required=False)
        if self._first_missing is None and users.null_count:
            first = int(np.argmax(users.is_null().to_numpy(zero_copy_only=False)))
            self._first_missing = int(rows[first]), given[first].as_py()
        users = users.dictionary_encode()  # knows every user, also those whose rows are all dropped
        if self._lists:
            places = {part: self._place(part, rows) for part in values}
            whole = self._separator is None and not self._catalog_has_points()
            users, values, rows = unroll(users, values, places, self._separator, whole)
        values["user"] = users
        self._read += len(rows)
        self._encode(values, rows)

    def finish(self) -> Events:
        """Join what was taken."""
        import pyarrow as pa

        if self._first_missing is not None and self._policy.missing_users == "refuse":
            raise self._missing_error("user", *self._first_missing)
        drops = self._policy.unknown_items == "drop" or self._policy.empty_users == "keep"
        if self._first_itemless is not None and not drops:
            raise self._missing_error("item", *self._first_itemless)
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
            ids, users, note = with_events(ids, users, keeps_all)
            notes += note
        notes += said_none(ids, users, "interactions" if self._lists else "rows")
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

    def _find_lists(self, items: pa.Array, times: pa.Array | None, rows: NDArray[np.int64]) -> bool:
        """Tell by the first rows whether a row holds a list, and find its separator if it has one."""

        if self._separator == WHOLE:
            self._separator = None
            return holds_lists(items, self._is_item)
        if self._separator is None and not holds_lists(items, self._is_item):
            place = self._place("item", rows)
            self._separator = plain_separator(items, place, self._is_item, times)
            return self._separator is not None
        return True

    def _is_item(self, texts: pa.Array) -> NDArray[np.bool_]:
        return self._catalog.lookup(texts) >= 0

    def _place(self, part: str, rows: NDArray[np.int64]) -> Place:
        return Place(self._source, self._names[part], rows)

    def _encode(self, values: dict[str, pa.Array], rows: NDArray[np.int64]) -> None:
        users = values["user"]
        items = as_ids(values["item"], self._place("item", rows), required=False)
        indices = self._catalog.lookup(items)
        named = users.is_valid().to_numpy(zero_copy_only=False)
        kept = self._drop(_NO_USER, np.ones(len(rows), dtype=np.bool_), named)
        missing = kept & items.is_null().to_numpy(zero_copy_only=False)
        if self._first_itemless is None and missing.any():
            first = int(np.argmax(missing))
            self._first_itemless = int(rows[first]), values["item"][first].as_py()
        kept = self._drop(_NO_ITEM, kept, ~missing)
        for reason, wanted in self._wanted(values, rows):
            kept = self._drop(reason, kept, wanted)
        unknown = kept & (indices < 0)
        if self._first_unknown is None and unknown.any():
            first = int(np.argmax(unknown))
            self._first_unknown = int(rows[first]), items[first].as_py()
        if (room := _MOST_STRANGERS - len(self._strangers)) and unknown.any():
            self._strangers += items.filter(arrow_mask(unknown))[:room].to_pylist()
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

    def _missing_error(self, part: str, row: int, value: object) -> DataError:
        reason, option = _MISSING[part]
        count = self._dropped.get(reason, 0)
        total = f" ({count:,} of {self._read:,} interactions have none)" if count > 1 else ""
        return DataError(
            f"the id is empty; every row needs one{total}. Fill it in, or drop such rows with "
            f"--{option.replace('_', '-')} drop ({option}= in Python)",
            source=self._source,
            row=row,
            column=self._names[part],
            value=value if isinstance(value, str) else None,
        )

    def _unknown_error(self, row: int, item_id: str) -> DataError:
        count = self._dropped[_UNKNOWN]
        total = f"{count:,} of {self._read:,} interactions are so" if count > 1 else "the only one"
        hints = [*self._list_hints(), ""]
        if item_id.lstrip()[:1] in ("[", "(", "{"):
            hints.insert(0, 'If it is a list of items, write JSON: ["a", "b"]')
        return DataError(
            f"the item is not in the catalog ({total}){self._catalog.similar(item_id)}. {'. '.join(hints)}"
            "Add it to the catalog, or drop such rows with --unknown-items drop "
            "(unknown_items= in Python)",
            source=self._source,
            row=row,
            column=self._names["item"],
            value=item_id,
        )

    def _list_hints(self) -> list[str]:
        """What to say of lists with a separator: that they were split, or that unknown ids look like some."""
        if self._said is None and self._separator is not None:
            unless = f"--history-separator {WHOLE} if they are single ids"
            return [f"items split at {self._separator!r}; {unless}"]
        if self._said is not None or self._lists or not self._strangers:
            return []
        hint = list_hint(self._strangers, self._catalog.table["item_id"], self._is_item)
        times = f"; since one time cannot order it, {NO_TIMES}" if "time" in self._names else ""
        return [] if hint is None else [hint + times]

    def _catalog_has_points(self) -> bool:
        """Tell whether an id of the catalog is spelled as a float, so that lists keep these as they are."""
        import pyarrow.compute as pc

        ids = self._catalog.table["item_id"]
        return bool(pc.any(pc.match_substring_regex(ids, r"^[-+]?[0-9]+\.0*$")).as_py())

    def _nothing_left(self) -> DataError:
        reasons = [f"{count:,} dropped ({reason})" for reason, count in self._dropped.items()]
        why = ", ".join([f"{self._read:,} read", *reasons])
        hint = "".join(f". {hint}" for hint in self._list_hints())
        return DataError(f"no interactions are left: {why}{hint}", source=self._source)

    def _merge_times(self) -> tuple[NDArray[np.int64] | None, list[str]]:
        if "time" not in self._names:
            hint = "" if self._timeless else nearest("timestamp", self._columns_found)
            return None, [f"no timestamps, so file order is time order{hint}"]
        if not any(len(part) for part in self._items):
            return np.empty(0, np.int64), []
        times, factor = self._times.merge()
        return times, [f"timestamps have fractions, kept times {factor:,}"] if factor > 1 else []

    def _shape_notes(self) -> list[str]:
        notes = [f"one row a user, {self._rows_seen:,} rows"] if self._lists else []
        return notes + self._list_hints()


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
