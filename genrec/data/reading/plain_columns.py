"""Plain columns: every way in which Arrow can lay out a type, brought to the one that the rest reads.

Dictionaries, views, runs and extension types hold what a plain column holds; only their memory differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genrec.common.errors import DataError
from genrec.data.reading.names import require_distinct
from genrec.data.values import first_failure

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["plain_schema", "plain_table"]


def plain_table(table: pa.Table, source: str, before: int = 0) -> pa.Table:
    """Return a table with every column of a plain type.

    Args:
        table: some rows.
        source: their name for messages.
        before: how many rows of the source come before them.

    Raises:
        DataError: a type cannot be converted, or a string is not UTF-8; names the column.
    """
    target = plain_schema(table.schema, source)
    columns = [_cast(table[i], field, source) for i, field in enumerate(target)]
    for column, field in zip(columns, target, strict=True):
        _require_utf8(column, field.name, source, before)
    return type(table).from_arrays(columns, schema=target)


def plain_schema(schema: pa.Schema, source: str) -> pa.Schema:
    """Return the schema that `plain_table` gives a table of this one.

    Raises:
        DataError: two columns have one name, or two fields of a struct.
    """
    import pyarrow as pa

    require_distinct(schema.names, source)
    fields = [field.with_type(_plain(field, source)).with_nullable(True) for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def _cast(column: pa.ChunkedArray, field: pa.Field, source: str) -> pa.ChunkedArray:
    import pyarrow as pa

    if column.type == field.type:
        return column
    try:
        return pa.chunked_array([_values(chunk, field.type) for chunk in column.chunks], field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        message = (
            f"a column of type {column.type} cannot be read ({error}); write it as {field.type}"
        )
        raise DataError(message, source=source, column=field.name) from None


def _require_utf8(column: pa.ChunkedArray, name: str, source: str, before: int) -> None:
    for chunk in column.chunks:
        if (found := _not_utf8(chunk)) is not None:
            row, value = found
            raise DataError(
                "not UTF-8 text; write the column's strings as UTF-8",
                source=source,
                row=before + row + 1,
                column=name,
                value=value[:60],
            )
        before += len(chunk)


def _not_utf8(values: pa.Array) -> tuple[int, bytes] | None:
    """The first string that is not UTF-8, also in lists and structs: its row, and its bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    kind = values.type
    if types.is_string(kind) or types.is_large_string(kind):
        raw = values.cast(pa.binary() if types.is_string(kind) else pa.large_binary())
        try:
            raw.cast(kind)
        except pa.ArrowInvalid:
            row = first_failure(lambda part: part.cast(kind), raw)
            return row, raw[row].as_py()
    elif types.is_struct(kind):
        found = [bad for part in values.flatten() if (bad := _not_utf8(part)) is not None]
        return min(found, default=None)
    elif types.is_map(kind):
        pairs = pa.list_(pa.struct([kind.key_field, kind.item_field]))
        return _not_utf8(values.cast(pairs))
    elif types.is_nested(kind) and (bad := _not_utf8(values.flatten())) is not None:
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        return int(np.searchsorted(np.cumsum(lengths), bad[0], side="right")), bad[1]
    return None


def _values(values: pa.Array, target: pa.DataType) -> pa.Array:
    """The same values as the plain type `target`."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    kind = values.type
    if kind == target:
        return values
    if isinstance(kind, pa.BaseExtensionType):
        return _values(values.storage, target)
    if types.is_null(target):
        return pa.nulls(len(values))
    if types.is_run_end_encoded(kind):
        return _values(pc.run_end_decode(values), target)
    if types.is_dictionary(kind):
        words = _values(values.dictionary, target)
        return pa.DictionaryArray.from_arrays(values.indices, words).dictionary_decode()
    if types.is_struct(kind):
        inside = zip(values.flatten(), target, strict=True)
        parts = [_values(part, field.type) for part, field in inside]
        return pa.StructArray.from_arrays(parts, fields=list(target), mask=values.is_null())
    if types.is_list(target) or types.is_large_list(target):  # Arrow's cast of views loses offsets
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        ends = pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
        wide = types.is_large_list(target)
        made = pa.LargeListArray if wide else pa.ListArray
        return made.from_arrays(
            ends.cast(pa.int64() if wide else pa.int32()),
            _values(values.flatten(), target.value_type),
            type=target,
            mask=values.is_null(),
        )
    return values.cast(target)


def _plain(field: pa.Field, source: str) -> pa.DataType:
    """The plain type of a field, and of all that it holds."""
    import pyarrow as pa
    import pyarrow.types as types

    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(field.with_type(kind.storage_type), source)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _plain(field.with_type(kind.value_type), source)
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_list(kind) or types.is_list_view(kind):
        return pa.list_(_inside(kind.value_field, source))
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(_inside(kind.value_field, source))
    if types.is_fixed_size_list(kind):
        return pa.list_(_inside(kind.value_field, source), kind.list_size)
    if types.is_union(kind) or kind == pa.month_day_nano_interval():
        return pa.string()  # Parquet knows neither
    if types.is_struct(kind) and not kind.num_fields:
        return pa.null()  # nor this
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        require_distinct([part.name for part in fields], f"{source}, column {field.name!r}")
        return pa.struct([_inside(part, source) for part in fields])
    if types.is_map(kind):
        return pa.map_(_inside(kind.key_field, source), _inside(kind.item_field, source))
    return kind


def _inside(field: pa.Field, source: str) -> pa.Field:
    return field.with_type(_plain(field, source))
