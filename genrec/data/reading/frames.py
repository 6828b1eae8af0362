"""Frames: tables that are in memory already, of any library that hands them over as Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genrec.common.errors import DataError
from genrec.data.reading.names import require_distinct

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Frame", "open_frame", "rows_of_dicts"]


@dataclass(frozen=True)
class Frame:
    """An opened frame.

    Attributes:
        source: a word for it in messages.
        columns: the names of all its columns.
        batches: tables with the chosen columns; may be walked once.
        rows: how many rows it says it has; None where it does not say.
    """

    source: str
    columns: tuple[str, ...]
    batches: Iterator[pa.Table]
    rows: int | None


def open_frame(source: Any, wanted: Sequence[str] | None, batch_rows: int) -> Frame:
    """Open a frame to walk through some of its columns.

    Args:
        source: a `pyarrow.Table`, a Hugging Face `datasets.Dataset`, a frame of pandas or polars, or
            anything else with the Arrow stream interface (``__arrow_c_stream__``).
        wanted: the columns; None takes all.
        batch_rows: rows of a batch, at most.

    Raises:
        DataError: it is none of these, or its columns cannot be had as Arrow.
    """
    import pyarrow as pa

    if hasattr(source, "with_format") and hasattr(source, "iter"):
        return _dataset(source, wanted, batch_rows)
    if isinstance(source, pa.Table):
        return _table(source, "pyarrow.Table", wanted, batch_rows)
    name = f"{type(source).__module__.partition('.')[0]}.{type(source).__name__}"
    if hasattr(source, "__arrow_c_stream__"):
        return _stream(source, name, wanted)
    if hasattr(source, "__arrow_c_array__"):
        return _table(pa.table(source), name, wanted, batch_rows)
    if isinstance(source, Mapping) and all(
        hasattr(value, "with_format") for value in source.values()
    ):
        splits = ", ".join(repr(name) for name in source)
        raise DataError(f"a DatasetDict; pass one of its splits: {splits}", source="datasets")
    advice = "; collect() it first" if hasattr(source, "collect") else ""
    raise DataError(
        f"cannot read a {type(source).__name__}{advice}; pass a path or URL, a frame of pandas or polars, a "
        "list of dicts, a datasets.Dataset, a pyarrow.Table, or anything else with __arrow_c_stream__"
    )


def rows_of_dicts(source: Any) -> list[Any] | None:
    """Return a list of dicts as such; None if it is something else."""
    return list(source) if isinstance(source, (list, tuple)) else None


def _table(table: pa.Table, name: str, wanted: Sequence[str] | None, batch_rows: int) -> Frame:
    import pyarrow as pa

    require_distinct(table.column_names, name)
    chosen = _chosen(table.column_names, wanted)
    parts = table.select(chosen).to_batches(max_chunksize=batch_rows)
    batches = (pa.Table.from_batches([part]) for part in parts)
    return Frame(name, tuple(table.column_names), batches, len(table))


def _dataset(dataset: Any, wanted: Sequence[str] | None, batch_rows: int) -> Frame:
    if dataset.column_names is None:
        message = "its columns are unknown; load the dataset without streaming"
        raise DataError(message, source="datasets.IterableDataset")
    names = list(dataset.column_names)
    chosen = dataset.select_columns(_chosen(names, wanted)).with_format("arrow")
    rows = getattr(dataset, "num_rows", None)
    return Frame("datasets.Dataset", tuple(names), chosen.iter(batch_size=batch_rows), rows)


def _stream(source: Any, name: str, wanted: Sequence[str] | None) -> Frame:
    import pyarrow as pa

    shape = getattr(source, "shape", None)  # before the stream: DuckDB counts by a query of its own
    try:
        reader = pa.RecordBatchReader.from_stream(source)
    except (
        pa.ArrowException,
        TypeError,
        ValueError,
    ) as error:  # a column of mixed types, a name twice
        require_distinct([str(column) for column in getattr(source, "columns", ())], name)
        message = f"the frame cannot be handed over as Arrow ({error}); convert the column to text"
        raise DataError(message, source=name) from None
    names = reader.schema.names
    require_distinct(names, name)
    chosen = _chosen(names, wanted)

    def batches() -> Iterator[pa.Table]:
        try:
            for batch in reader:
                yield pa.Table.from_batches([batch]).select(chosen)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"the frame cannot be read ({error})", source=name) from None

    return Frame(name, tuple(names), batches(), shape[0] if isinstance(shape, tuple) else None)


def _chosen(names: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    return [name for name in names if wanted is None or name in wanted]
