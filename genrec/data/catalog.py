"""The catalog: every item that may be recommended, in the order of the user's file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import DataError, InputError
from genrec.data.attributes import Attribute
from genrec.data.conditions import Condition
from genrec.data.item_text import FIRST_FIELDS, ItemTemplate, field_texts, render
from genrec.data.list_columns import find_list_columns, separator_of, split_value
from genrec.data.reading.plain_columns import plain_table
from genrec.data.reading.readers import ReadReport, Rows, Source, nearest, read_rows
from genrec.data.reading.text_format import TextFormat
from genrec.data.text_columns import find_wordless, wordless_columns
from genrec.data.title_column import ask_for_title
from genrec.data.values import Place, as_ids

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Catalog", "CatalogColumns", "ItemTemplate"]

_MAX_COMPARED_IDS = 50_000  # difflib on more takes seconds


class CatalogColumns(Settings):
    """What the user's file calls the columns that genrec needs."""

    item_id: str = "item_id"
    """Column of the items' ids; every row needs one."""
    title: str = "title"
    """Column of the titles; it may have gaps, or be absent if it is called ``title``; empty for none."""
    lists: dict[str, str] = Field(default_factory=dict)
    """Text columns that hold lists, each with its separator, ``[]`` for lists as JSON and Python write them,
    or ``no`` for single values; of the others the values decide."""


@dataclass(frozen=True, eq=False)
class Catalog:
    """Items and all that is known of them; item `i` is row `i`.

    Attributes:
        table: N rows; ``item_id`` (string) first, ``title`` (string, null where missing) second,
            then every other column as read.
        report: what was read, and how many titles and texts are missing.
    """

    table: pa.Table
    report: ReadReport

    @classmethod
    def read(
        cls,
        source: Source,
        columns: CatalogColumns | None = None,
        format: TextFormat | None = None,
        *,
        feed: bool = False,
    ) -> Catalog:
        """Read a catalog from files, or from a frame in memory.

        Files are CSV, TSV, JSON lines or Parquet. Ids are text whatever the file holds. A row that
        repeats another one entirely is dropped; so are columns of row numbers that pandas left over.

        Args:
            source: a file, a folder of files, a glob or a URL; a frame of pandas, polars or anything
                else with ``__arrow_c_stream__``, a list of dicts, a `datasets.Dataset` or a `pyarrow.Table`.
            columns: what its columns are called.
            format: how a text file is written; None finds out.
            feed: whether the items join or change a catalog that is there, whose titles and lists count; the
                report then says nothing of theirs.

        Raises:
            DataError: the source cannot be read, has no rows or lacks a column, an id is empty, or
                two different rows have the same id.
        """
        columns = columns or CatalogColumns()
        table, rows = read_rows(source, (columns.item_id, columns.title), format)
        rows.require(columns.item_id, "item_id", header="--item-columns")
        if columns.title == "title":
            ask_for_title(table.column_names, rows.source)
        catalog = cls.from_table(table, columns, source=rows.source)
        notes = (*rows.notes, *(() if feed else catalog.report.notes))
        return replace(catalog, report=replace(catalog.report, notes=notes, in_file=rows.in_file))

    @classmethod
    def from_table(
        cls,
        table: pa.Table,
        columns: CatalogColumns | None = None,
        source: str = "the catalog",
    ) -> Catalog:
        """Build a catalog from a table in memory; `read` says what is checked."""
        columns = columns or CatalogColumns()
        table = _named(plain_table(table, source), columns, source)
        place = Place(source, columns.item_id, np.arange(1, table.num_rows + 1))
        table = table.set_column(0, "item_id", as_ids(_combined(table["item_id"]), place))
        kept = _distinct_rows(table, place)
        rows, table = table.num_rows, table.take(kept)
        dropped = {"identical row": rows - len(kept)} if len(kept) < rows else {}
        table, lists = find_list_columns(table, columns.lists)
        table = find_wordless(table, always=FIRST_FIELDS)
        notes = (*_notes(table), *([lists] if lists else []))
        return cls(table, ReadReport(source, rows, len(kept), dropped, notes))

    def write(self, path: str | Path) -> None:
        """Write the catalog as Parquet; `read` gives back an equal table."""
        import pyarrow.parquet as pq

        pq.write_table(self.table, path, compression="zstd")

    def take(self, items: NDArray[np.integer[Any]]) -> Catalog:
        """Return a catalog of the items at the given indices, in that order."""
        return Catalog(self.table.take(items), self.report)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._positions

    @cached_property
    def item_ids(self) -> list[str]:
        """The items' ids, N of them."""
        return list(self.table["item_id"].to_pylist())

    @cached_property
    def titles(self) -> list[str]:
        """The items' titles; a missing one falls back to the other fields' text, then to the id."""
        titles = field_texts(self.table, "title", max_chars=1000)
        if "" not in titles:
            return titles
        others = render(self.table, ItemTemplate())
        names = zip(titles, others, self.item_ids, strict=True)
        return [title or other or item_id for title, other, item_id in names]

    def texts(self, template: ItemTemplate | None = None) -> list[str]:
        """Return one line of clean text per item, for a text encoder; the id if there is none.

        Raises:
            DataError: the template names a column that the catalog lacks.
        """
        texts = render(self.table, template or ItemTemplate())
        return [text or item_id for text, item_id in zip(texts, self.item_ids, strict=True)]

    def column(self, name: str, asked_by: str) -> pa.ChunkedArray:
        """Return a column `(N,)` of the table.

        Args:
            name: of the column.
            asked_by: the setting or condition that names it, for the message.

        Raises:
            DataError: the catalog lacks it; says who asked, the nearest name and all there are.
        """
        columns = self.table.column_names
        if name not in columns:
            raise DataError(
                f"{asked_by} names no column of the catalog{nearest(name, columns)}; "
                f"columns: {', '.join(columns)}",
                source=self.report.source,
                column=name,
            )
        return self.table[name]

    def labels(self, field: str = "categories") -> NDArray[np.int64] | None:
        """Return one integer per item, equal where the deepest category is equal.

        Args:
            field: a column of category paths (lists, or text that holds some), whose last entry counts, or
                of single values such as brands.

        Returns:
            `(N,)` int64, numbered from 0 by first appearance, -1 where an item has none; None if
            the catalog lacks the column.
        """
        if field not in self.table.column_names:
            return None
        numbers: dict[Any, int] = {}
        separator = separator_of(self.table, field)
        deepest = [_deepest(value, separator) for value in self.table[field].to_pylist()]
        labels = [-1 if v is None else numbers.setdefault(v, len(numbers)) for v in deepest]
        return np.asarray(labels, dtype=np.int64)

    def where(self, conditions: Sequence[Condition | str]) -> NDArray[np.int32]:
        """Return the catalog indices of the items that meet every condition, ascending int32.

        A column is read for comparing when it is first asked for, and kept.

        Args:
            conditions: such as ``["price<20", "brand=Acme|Other"]``; `Condition` says what they mean.

        Raises:
            InputError: one is not a condition.
            DataError: the catalog lacks a column, or its values cannot be compared with the condition's.
        """
        if isinstance(conditions, (str, Condition)):
            message = "expected a list of conditions, found one; put it in a list"
            raise InputError(f"{message}: [{str(conditions)!r}]")
        met = np.ones(len(self), bool)
        for condition in map(Condition.of, conditions):
            met &= self._attribute(condition).meets(condition)
        return np.flatnonzero(met).astype(np.int32)

    def index_of(self, item_ids: Sequence[str]) -> NDArray[np.int32]:
        """Return the catalog indices of items, `(n,)` int32.

        Raises:
            DataError: an id is not in the catalog; names it, its position and similar ids.
        """
        if isinstance(item_ids, str):
            message = "expected a list of item ids, found one string; put it in a list"
            raise DataError(message, value=item_ids)
        found = [self._positions.get(item_id, -1) for item_id in item_ids]
        if -1 in found:
            position = found.index(-1)
            unknown = item_ids[position]
            message = f"item id {position + 1} of {len(found)} is not in the catalog"
            raise DataError(f"{message}{self.similar(unknown)}", value=unknown)
        return np.asarray(found, dtype=np.int32)

    def lookup(self, item_ids: pa.Array) -> NDArray[np.int32]:
        """Return the catalog indices of a whole column of ids, `(n,)` int32, -1 where unknown.

        Hashes the catalog on every call: for millions of ids at once; `index_of` is for a few.
        """
        import pyarrow.compute as pc

        indices = pc.index_in(item_ids, value_set=_combined(self.table["item_id"]))
        return np.asarray(pc.fill_null(indices, -1).to_numpy(), dtype=np.int32)

    def similar(self, item_id: object) -> str:
        """Return a hint for an unknown id, such as ``"; similar ids: 'A1', 'A2'"``, or nothing."""
        if not isinstance(item_id, str):
            return "; item ids are text"
        if len(self) > _MAX_COMPARED_IDS:
            return ""
        near = difflib.get_close_matches(item_id, self.item_ids, n=3, cutoff=0.7)
        return f"; similar ids: {', '.join(map(repr, near))}" if near else ""

    def _attribute(self, condition: Condition) -> Attribute:
        name = condition.column
        self.column(name, f"condition {str(condition)!r}")
        if name not in self._attributes:
            self._attributes[name] = Attribute.of(self.table, name)
        return self._attributes[name]

    @cached_property
    def _attributes(self) -> dict[str, Attribute]:
        return {}

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {item_id: i for i, item_id in enumerate(self.item_ids)}


def _combined(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _named(table: pa.Table, columns: CatalogColumns, source: str) -> pa.Table:
    """Put ``item_id`` and ``title`` first, under these names; absent titles become nulls."""
    import pyarrow as pa

    rows = Rows(source, tuple(table.column_names), iter(()))
    rows.require(columns.item_id, "item_id")
    if columns.title not in ("title", ""):
        rows.require(columns.title, "title")
    for ours, theirs in (("item_id", columns.item_id), ("title", columns.title)):
        if ours != theirs and ours in table.column_names:
            message = f"{theirs!r} is to be the {ours}, but a column {ours!r} exists too; drop one"
            raise DataError(message, source=source, column=ours)
    if columns.title in table.column_names:
        title = _as_title(table[columns.title], source, columns.title)
    else:
        title = pa.nulls(table.num_rows, pa.string())
    rest = [name for name in table.column_names if name not in (columns.item_id, columns.title)]
    named = {"item_id": table[columns.item_id], "title": title}
    renamed = pa.table(named | {name: table[name] for name in rest})
    return renamed.replace_schema_metadata(table.schema.metadata)


def _as_title(column: pa.ChunkedArray, source: str, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        message = f"titles must be text, found type {column.type}"
        raise DataError(message, source=source, column=name) from None


def _distinct_rows(table: pa.Table, place: Place) -> NDArray[np.int64]:
    """Return the rows to keep: the first of each id, provided that its repeats are identical."""
    codes = _combined(table["item_id"]).dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    kept = np.sort(first).astype(np.int64)
    repeats = np.setdiff1d(np.arange(len(codes)), kept)
    originals = first[codes[repeats]]
    # repr makes two NaN equal, which == does not
    contents = zip(table.take(repeats).to_pylist(), table.take(originals).to_pylist(), strict=True)
    for repeat, original, (row, other) in zip(repeats, originals, contents, strict=True):
        if repr(row) != repr(other):
            changed = [name for name in row if repr(row[name]) != repr(other[name])]
            raise place.error(
                f"the id already stands in row {original + 1} with another {', '.join(changed)}; "
                "keep one of the two rows",
                int(repeat),
                row["item_id"],
            )
    return kept


def _notes(table: pa.Table) -> tuple[str, ...]:
    notes = []
    missing = field_texts(table, "title", max_chars=1000).count("")
    if missing == table.num_rows:
        notes.append(f"no item has a title{nearest('title', table.column_names[2:])}")
    elif missing:
        notes.append(f"{missing:,} of {table.num_rows:,} items have no title")
    if wordless := wordless_columns(table):
        kinds = ", ".join(f"{name} ({kind})" for name, kind in wordless.items())
        notes.append(f"not in the items' texts: {kinds}; template.fields takes what it names")
    if missing and (empty := render(table, ItemTemplate()).count("")):
        notes.append(f"{empty:,} of {table.num_rows:,} items have no text at all")
    return tuple(notes)


def _deepest(value: Any, separator: str) -> Any:
    if isinstance(value, str):
        value = split_value(value, separator)
    while isinstance(value, list):
        value = next((part for part in reversed(value) if part not in (None, "", [])), None)
    if isinstance(value, str):
        value = value.strip()
    if isinstance(value, (dict, tuple)):  # a struct, or an entry of a map
        value = json.dumps(value, default=str)
    return None if value in (None, "") or value != value else value
