"""Join of items to a catalog after the fit: new ones behind it, and what a feed changes of those it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError
from genrec.data.attribute_values import always_text, first_unlike
from genrec.data.catalog import Catalog
from genrec.data.differences import differing
from genrec.data.item_text import MISSING_WORDS
from genrec.data.list_columns import (
    LITERAL,
    OPENS,
    WHOLE,
    find_list_columns,
    list_columns,
    separator_of,
    with_lists_of,
)
from genrec.data.reading.json_lines import parse_objects
from genrec.data.reading.readers import nearest
from genrec.data.values import first_failure, is_text, trimmed

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Feed", "Joined", "compare_items", "join_items"]

_SIGNS = ("|", ";")
_MOSTLY = 0.9
"""Values that are written as JSON lists, as a share, from which on a column holds nothing else."""


@dataclass(frozen=True)
class Joined:
    """A catalog with new items at its end.

    Attributes:
        whole: the catalog's N items, then the new ones.
        new: the new ones alone.
        known: how many rows said nothing new of an item of the catalog, and were passed over.
        notes: what else is worth knowing, one sentence each.
    """

    whole: Catalog
    new: Catalog
    known: int
    notes: tuple[str, ...] = ()


def join_items(catalog: Catalog, items: Catalog) -> Joined:
    """Put new items at the end of a catalog; its own rows stay as they are.

    A column that the new items lack is missing for them, and a note says so. Whole numbers of the catalog
    become decimal ones where a new item needs that. A row that repeats an item of the catalog entirely is
    passed over, so that adding the same file twice is adding it once; so is one that repeats it in all the
    columns that the new items have.

    Raises:
        DataError: the new items have a column that the catalog lacks, or one of another type; an item of
            the catalog with another text; or a value that is no number, date or truth value where all of the
            catalog's texts spell one, after which no condition could compare the column.
    """
    import pyarrow as pa

    table, notes = _aligned(catalog, items)
    known = catalog.lookup(table["item_id"].combine_chunks())
    _require_same(catalog, items, table.drop_columns(_not_given(catalog, items)), known)
    new = table.take(pa.array(np.flatnonzero(known < 0)))
    told = _told_anew(catalog, items)
    old, new = (with_lists_of(part, catalog.table, told) for part in (catalog.table, new))
    _require_alike(old, new, items.report.source)
    notes += tuple(_lists_not_split(old, new, items))
    whole = pa.concat_tables([old, new], promote_options="permissive")
    return Joined(
        Catalog(whole, catalog.report),
        Catalog(new.cast(whole.schema), items.report),
        int((known >= 0).sum()),
        notes,
    )


def _aligned(catalog: Catalog, items: Catalog) -> tuple[pa.Table, tuple[str, ...]]:
    """The items' table with the catalog's columns, and what is missing in it."""
    import pyarrow as pa

    ours, theirs = catalog.table.column_names, items.table.column_names
    for name in theirs:
        if name not in ours:
            raise DataError(
                f"the catalog has no such column{nearest(name, ours)}; its columns: {', '.join(ours)}. "
                "Rename it, or leave it out",
                source=items.report.source,
                column=name,
            )
    columns, absent = {}, [name for name in ours if name not in theirs]
    for name, kind in zip(ours, catalog.table.schema.types, strict=True):
        columns[name] = pa.nulls(len(items), kind) if name in absent else _cast(items, name, kind)
    notes = (f"without {', '.join(absent)}: missing for the new items",) if absent else ()
    return pa.table(columns), notes


def _not_given(catalog: Catalog, items: Catalog) -> list[str]:
    """The catalog's columns of which the items say nothing; a title that is empty in every row is none."""
    ours, theirs = catalog.table, items.table
    absent = [name for name in ours.column_names if name not in theirs.column_names]
    empty = theirs["title"].null_count == len(items) and ours["title"].null_count < len(catalog)
    return ["title", *absent] if empty else absent


def _cast(items: Catalog, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as the type that the catalog has it in; numbers with decimals may stay so."""
    import pyarrow as pa
    import pyarrow.types as types

    column = items.table[name]
    if types.is_null(kind):
        return column
    read = is_text(column.type) and not is_text(kind)
    if read:
        column = pa.chunked_array([_given(column.combine_chunks())])
    try:
        return _read(column, kind) if read else column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, NotImplementedError):
        if types.is_integer(kind) and types.is_floating(column.type):
            return column
        if (
            objects := parse_objects(column, kind)
        ) is not None:  # of a fit that gave each key a field
            return objects
        if read and not types.is_nested(kind):
            raise _unreadable(items, name, column.combine_chunks(), kind) from None
        raise DataError(
            f"the catalog holds {kind} there, the new items {column.type}: write the column as in the "
            "file that the recommender was fitted on",
            source=items.report.source,
            column=name,
        ) from None


def _given(texts: pa.Array) -> pa.Array:
    """Texts without white space around them, null where one says that there is nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = trimmed(texts)
    nothing = pc.is_in(pc.utf8_lower(words), value_set=pa.array(sorted(MISSING_WORDS)))
    return pc.if_else(nothing, None, words)


def _read(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Values that texts spell, of this type; decimal numbers where it is whole ones and some are no such."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    if not types.is_integer(kind):
        return texts.cast(kind)
    whole = pc.replace_substring_regex(texts, r"^([-+]?[0-9]+)\.0*$", r"\1")
    try:
        return whole.cast(kind)
    except pa.ArrowInvalid:
        return whole.cast(pa.float64())


def _unreadable(items: Catalog, name: str, texts: pa.Array, kind: pa.DataType) -> DataError:
    """The error on the first text that spells no value of this type."""
    place = first_failure(lambda part: _read(part, kind), texts)
    whole = items.report.kept == items.report.rows == len(items)
    return DataError(
        f"item {items.table['item_id'][place].as_py()!r}: the catalog holds {kind} there, and this is "
        "none; write such a value, or leave it empty",
        source=items.report.source,
        row=place + 1 if whole else None,
        column=name,
        value=texts[place].as_py(),
    )


def _told_anew(catalog: Catalog, items: Catalog) -> pa.Table:
    """The items' columns whose lists are split as they say: none of the catalog's values is, nor would be."""
    import pyarrow.compute as pc

    ours, decided = catalog.table, list_columns(catalog.table)
    found = {}
    for name, sign in list_columns(items.table).items():
        if name in decided or name not in ours.column_names or not is_text(items.table[name].type):
            continue
        empty = ours[name].null_count == len(catalog)
        texts = is_text(ours[name].type)
        if empty or (texts and not pc.any(pc.match_substring(ours[name], sign)).as_py()):
            found[name] = sign
    table = items.table.select(list(found)).replace_schema_metadata(None)
    return find_list_columns(table, found)[0]


def _require_alike(old: pa.Table, new: pa.Table, source: str) -> None:
    """Refuse a value after which a column of the catalog could no longer be compared."""
    new = with_lists_of(new, old)
    for field in old.schema:
        name = field.name
        if always_text(name) or not is_text(field.type) or not len(new):
            continue
        if (unlike := first_unlike(old, new, name)) is not None:
            item, value, wanted = unlike
            raise DataError(
                f"item {new['item_id'][item].as_py()!r}: each of the catalog's values is {wanted}, and "
                "conditions compare the column so; write this one like them, or leave it empty",
                source=source,
                column=name,
                value=value,
            )


def _lists_not_split(old: pa.Table, new: pa.Table, items: Catalog) -> Iterator[str]:
    """Say which new values look like lists that another sign parts, which no condition would split.

    Args:
        old: the catalog's table. new: new values, with their items' ids. items: where they come from.

    Raises:
        DataError: so does the whole column of theirs, where the catalog's holds lists.
    """
    told = list_columns(items.table)
    for name in [name for name in new.column_names if name in old.column_names]:
        if not (is_text(old[name].type) and is_text(new[name].type)):
            continue
        if (sign := _sign_of_lists(old, name)) == WHOLE:
            continue
        others = [other for other in _SIGNS if other != sign]
        for other in others if sign else [other for other in others if other == told.get(name)]:
            if (found := _parted(new, name, other, sign)) is None:
                continue
            item, value = found
            if sign and told.get(name) == other:
                parts = [part.strip() for part in value.split(other)]
                written = json.dumps(parts, ensure_ascii=False)
                advice = written if sign == LITERAL else sign.join(parts)
                raise DataError(
                    f"item {item!r}: the catalog's lists are written with {sign!r} there, and it would not "
                    f"be split at {other!r}; write it as {advice!r}",
                    source=items.report.source,
                    column=name,
                    value=value,
                )
            yield f"{name} is not split at {other!r}: {value[:60]!r} of item {item!r} is one value"


def _sign_of_lists(table: pa.Table, name: str) -> str | None:
    """How the lists of a column of text are written; None where it holds single values."""
    import pyarrow.compute as pc

    if name not in list_columns(table):
        return None
    sign = separator_of(table, name)
    if sign != LITERAL:
        return sign
    opens = pc.match_substring_regex(trimmed(table[name].combine_chunks()), OPENS)
    return sign if (pc.mean(opens).as_py() or 0) >= _MOSTLY else None


def _parted(table: pa.Table, name: str, other: str, sign: str | None) -> tuple[str, str] | None:
    """The first item, and its value, that holds one sign and not the one that parts lists."""
    import pyarrow.compute as pc

    values = trimmed(table[name].combine_chunks())
    holds = pc.match_substring(values, other)
    odd = pc.match_substring_regex(values, OPENS + r"|^\{|&#?\w+;")
    if sign and sign != LITERAL:
        odd = pc.or_(odd, pc.match_substring(values, sign))
    place = pc.index(pc.fill_null(pc.and_(holds, pc.invert(odd)), False), True).as_py()
    return None if place < 0 else (table["item_id"][place].as_py(), values[place].as_py())


def _require_same(
    catalog: Catalog, items: Catalog, table: pa.Table, known: NDArray[np.int32]
) -> None:
    """Refuse rows whose id the catalog has with another value in one of the table's columns."""
    rows = np.flatnonzero(known >= 0)
    theirs = catalog.table.select(table.column_names)
    found = differing(table.take(rows), theirs.take(known[rows]))
    changed = [name for name, differs in found.items() if differs.any()]
    if changed:
        first = int(np.flatnonzero(np.any([found[name] for name in changed], axis=0))[0])
        own = [name for name in changed if found[name][first]]
        raise DataError(
            f"the catalog has this item already, with another {', '.join(own)}; leave it out, or let the "
            "catalog take over what changed, events and codes kept: genrec items update "
            "(in Python, update_items; over HTTP, PATCH /items)",
            source=items.report.source,
            column="item_id",
            value=table["item_id"][int(rows[first])].as_py(),
        )


@dataclass(frozen=True)
class Feed:
    """What a table of items says of a catalog that was there before it.

    Attributes:
        catalog: the N items of before, in their order, with what the table says of them.
        changed: column -> `(N,)` whether the item's value there is another now; changed columns only.
        missing: catalog indices of the items that the table does not name.
        new: the items that the catalog lacks; None where there is none.
        notes: what else is worth knowing, one sentence each.
    """

    catalog: Catalog
    changed: dict[str, NDArray[np.bool_]]
    missing: NDArray[np.int64]
    new: Catalog | None
    notes: tuple[str, ...] = ()

    def items_changed(self) -> NDArray[np.bool_]:
        """Whether anything of an item is another now, `(N,)`."""
        touched = np.zeros(len(self.catalog), np.bool_)
        for differs in self.changed.values():
            touched |= differs
        return touched


def compare_items(catalog: Catalog, items: Catalog) -> Feed:
    """Read a table of items as what the catalog is to be: values of known items, and new items.

    A column that the table lacks, or a title that is empty in every row, stays as it is. A number that is
    written otherwise (``1.5`` for ``1.50``) is no change.

    Raises:
        DataError: the table has a column that the catalog lacks, one of another type, or a changed value
            after which no condition could compare its column (see `join_items`).
    """
    import pyarrow as pa

    table, _ = _aligned(catalog, items)
    absent = _not_given(catalog, items)
    known = catalog.lookup(table["item_id"].combine_chunks())
    rows = np.flatnonzero(known >= 0)
    named, places = table.drop_columns(absent).take(rows), known[rows]
    found = differing(named, catalog.table.select(named.column_names).take(places))
    whole = with_lists_of(catalog.table, catalog.table, _told_anew(catalog, items))
    changed, notes = (
        {},
        [f"without {', '.join(absent)}: kept as they are, and missing for new items"],
    )
    notes = notes if absent else []
    for name, differs in found.items():
        if differs.any():
            values = named.select(["item_id", name]).filter(pa.array(differs))
            _require_alike(whole.select(["item_id", name]), values, items.report.source)
            notes += _lists_not_split(whole, values, items)
            whole = _taken_over(whole, name, values[name], places[differs])
            changed[name] = np.isin(np.arange(len(catalog)), places[differs])
    new = np.flatnonzero(known < 0)
    notes += _lists_not_split(whole, table.take(new), items)
    return Feed(
        Catalog(whole, catalog.report),
        changed,
        np.setdiff1d(np.arange(len(catalog)), places),
        Catalog(with_lists_of(table.take(new), items.table), items.report) if len(new) else None,
        tuple(notes),
    )


def _taken_over(
    table: pa.Table, name: str, values: pa.ChunkedArray, places: NDArray[np.int32]
) -> pa.Table:
    """The table with other values in one column, at those places; whole numbers become decimal as needed."""
    import pyarrow as pa

    column = table[name]
    both = pa.concat_tables(
        [pa.table({name: column}), pa.table({name: values})], promote_options="permissive"
    )
    source = np.arange(table.num_rows)
    source[places] = table.num_rows + np.arange(len(places))
    found = both[name].take(pa.array(source))
    return table.set_column(table.column_names.index(name), name, found)
