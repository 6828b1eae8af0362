"""Interactions: the click log as histories; who bought, clicked or rated what, oldest first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.data.events import Events, InteractionColumns, LogPolicy, read_events
from genrec.data.histories import Histories
from genrec.data.kept_split import KeptSplit
from genrec.data.reading.readers import ReadReport, Source
from genrec.data.reading.text_format import TextFormat

if TYPE_CHECKING:
    import pyarrow as pa

    from genrec.data.histories import Split

__all__ = ["InteractionColumns", "Interactions", "LogPolicy"]


@dataclass(frozen=True, eq=False)
class Interactions:
    """M interactions of U users with the items of one catalog.

    Attributes:
        catalog: the catalog whose indices the histories hold.
        histories: one per user, in time order; interactions of equal time keep the file's order.
        timestamps: `(M,)` int64, aligned with ``histories.items``; None if the log has no times.
        timestamp_unit: ``"us"`` (microseconds since 1970, UTC) if the log held dates, otherwise
            None: the source's own unit.
        report: what was read and dropped.
        kept_split: how it was cut before items were removed; None where none ever was.
    """

    catalog: Catalog
    histories: Histories
    timestamps: NDArray[np.int64] | None
    timestamp_unit: str | None
    report: ReadReport
    _user_ids: pa.Array
    kept_split: KeptSplit | None = None

    @classmethod
    def read(
        cls,
        source: Source,
        *,
        catalog: Catalog,
        columns: InteractionColumns | None = None,
        policy: LogPolicy | None = None,
        format: TextFormat | None = None,
    ) -> Interactions:
        """Read a log from files, or from a frame in memory (see `Catalog.read`).

        Files are CSV, TSV, JSON lines or Parquet. Rows are events, or users with a list of items
        each. Files are streamed: 12 bytes an interaction stay in memory, and each user's id; while
        an unsorted log is sorted, about 70.

        Args:
            source: the table.
            catalog: the items that the log speaks of.
            columns: what the log's columns are called.
            policy: which interactions count.
            format: how a text file is written; None finds out.

        Raises:
            DataError: the source cannot be read or lacks a column; an id is empty; a timestamp,
                or a rating that is needed, is missing or no number; an item is unknown and not to
                be dropped; no interaction is left.
        """
        policy = policy or LogPolicy()
        columns = columns or InteractionColumns()
        events, rows = read_events(source, catalog, columns, policy, format or TextFormat())
        events = _without_repeats(_in_order(events), policy.repeats)
        counts = np.bincount(events.users, minlength=len(events.user_ids))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(
            catalog,
            Histories(events.items, offsets),
            events.timestamps,
            events.unit,
            ReadReport(
                rows.source,
                events.rows,
                len(events.items),
                events.dropped,
                (*rows.notes, *events.notes),
                rows.in_file,
            ),
            events.user_ids,
        )

    @classmethod
    def of_histories(
        cls,
        catalog: Catalog,
        histories: Histories,
        timestamps: NDArray[np.int64] | None = None,
        timestamp_unit: str | None = None,
    ) -> Interactions:
        """Wrap histories that are in memory already; users are numbered."""
        import pyarrow as pa

        report = ReadReport("memory", len(histories.items), len(histories.items))
        user_ids = pa.array([str(user) for user in range(len(histories))], pa.string())
        return cls(catalog, histories, timestamps, timestamp_unit, report, user_ids)

    def without(self, kept: NDArray[np.bool_], catalog: Catalog, split: Split) -> Interactions:
        """Take the events of removed items out; a user may be left with none.

        Args:
            kept: `(N,)` which items of this log's catalog stay.
            catalog: these items, in the same order.
            split: how this log is cut; what stays remains in its part (see `KeptSplit`).
        """
        stays = kept[self.histories.items]
        index = np.cumsum(kept, dtype=np.int32) - 1
        running = np.concatenate([[0], np.cumsum(stays)]).astype(np.int64)
        items, offsets = self.histories.items[stays], running[self.histories.offsets]
        return replace(
            self,
            catalog=catalog,
            histories=Histories(index[items].astype(np.int32), offsets),
            timestamps=None if self.timestamps is None else self.timestamps[stays],
            kept_split=KeptSplit.of(split, self.histories).take(stays),
        )

    def __len__(self) -> int:
        return len(self.histories.items)

    @cached_property
    def user_ids(self) -> list[str]:
        """The users' ids, U of them, in order of first appearance in the source."""
        return list(self._user_ids.to_pylist())


def _in_order(events: Events) -> Events:
    """Sort by user, then time; ties keep their order."""
    users, times = events.users, events.timestamps
    later = np.diff(users)
    ties_in_order = True if times is None else times[1:] >= times[:-1]
    if np.all((later > 0) | ((later == 0) & ties_in_order)):
        return events
    # NumPy sorts stably in both calls
    order = np.argsort(users, kind="stable") if times is None else np.lexsort((times, users))
    return _take(events, order)


def _without_repeats(events: Events, repeats: str) -> Events:
    """Apply the policy on repeats to sorted events."""
    if repeats == "keep" or not len(events.items):
        return events
    same = np.int64(events.items.max()) + 1
    pairs = events.users * same + events.items
    if repeats == "keep_first":
        _, kept = np.unique(pairs, return_index=True)
        kept.sort()
    else:
        kept = np.flatnonzero(np.concatenate([[True], np.diff(pairs) != 0]))
    dropped = len(pairs) - len(kept)
    counts = events.dropped | ({"repeated item": dropped} if dropped else {})
    return replace(_take(events, kept), dropped=counts)


def _take(events: Events, positions: NDArray[np.int64]) -> Events:
    times = None if events.timestamps is None else events.timestamps[positions]
    users, items = events.users[positions], events.items[positions]
    return replace(events, users=users, items=items, timestamps=times)
