"""Join of new items to a catalog after the fit: the same columns, other ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError
from genrec.data.catalog import Catalog
from genrec.data.readers import nearest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Joined", "join_items"]


@dataclass(frozen=True)
class Joined:
    """A catalog with new items at its end.

    Attributes:
        whole: the catalog's N items, then the new ones.
        new: the new ones alone.
        known: how many rows repeated an item of the catalog, word for word, and were passed over.
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
    passed over, so that adding the same file twice is adding it once.

    Raises:
        DataError: the new items have a column that the catalog lacks, or one of another type; or an item of
            the catalog with another text.
    """
    import pyarrow as pa

    table, notes = _aligned(catalog, items)
    known = catalog.lookup(table["item_id"].combine_chunks())
    _require_same(catalog, items, table, known)
    new = table.take(pa.array(np.flatnonzero(known < 0)))
    whole = pa.concat_tables([catalog.table, new], promote_options="permissive")
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


def _cast(items: Catalog, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as the type that the catalog has it in; numbers with decimals may stay so."""
    import pyarrow as pa
    import pyarrow.types as types

    column = items.table[name]
    numbers = types.is_integer(kind) and types.is_floating(column.type)
    if types.is_null(kind):
        return column
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, NotImplementedError):
        if numbers:
            return column
        raise DataError(
            f"the catalog holds {kind} there, the new items {column.type}: write the column as in the "
            "file that the recommender was fitted on",
            source=items.report.source,
            column=name,
        ) from None


def _require_same(
    catalog: Catalog, items: Catalog, table: pa.Table, known: NDArray[np.int32]
) -> None:
    """Refuse rows whose id the catalog has with another text."""
    rows = np.flatnonzero(known >= 0)
    pairs = zip(
        table.take(rows).to_pylist(), catalog.table.take(known[rows]).to_pylist(), strict=True
    )
    for new, old in pairs:
        # repr makes two NaN equal, which == does not
        changed = [name for name in new if repr(new[name]) != repr(old[name])]
        if changed:
            raise DataError(
                f"the catalog has this item already, with another {', '.join(changed)}; leave it out, or "
                "remove it first, which takes its events out of the log",
                source=items.report.source,
                column="item_id",
                value=new["item_id"],
            )
