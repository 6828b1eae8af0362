"""Case files: the results of every case in Parquet, from which every metric can be computed again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.artifacts import atomic_file
from genrec.common.config import validate
from genrec.common.errors import DataError
from genrec.evaluation.case_results import CaseResults
from genrec.evaluation.evaluate import Evaluation
from genrec.evaluation.protocol import PROTOCOL_VERSION, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_cases", "write_cases"]

KEY = b"genrec.evaluation"
COUNTS = ("invalid", "duplicates", "seen", "entries")
SLICE, VALUE = "slice:", "value:"
INVALID = -2


def write_cases(
    evaluation: Evaluation, path: Path, item_ids: Sequence[str], user_ids: Sequence[str]
) -> None:
    """Write one row a case, compressed: user, target, its rank, and what was recommended.

    ``rank`` counts from 1 and is null where the target is not among the first k; ``tied`` is how many items
    share the places from there on. An entry that is no catalog item is null in ``recommended``.

    Args:
        evaluation: of one recommender.
        path: the file; one that stands there is replaced.
        item_ids: N ids in catalog order.
        user_ids: ids by the number of the user in the log.

    Raises:
        InputError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    table = _table(evaluation, item_ids, user_ids)
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_cases(path: Path) -> Evaluation:
    """Read what `write_cases` wrote, and compute every metric again.

    Users and items are numbered by first appearance: the catalog is not needed.

    Raises:
        DataError: the file cannot be read, was not made by `write_cases`, or not by this version's rules,
            or has lost rows.
    """
    table, document = _read(path)
    protocol = validate(Protocol, document["protocol"], source=str(path))
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    users, targets, top = _numbers(columns, max(protocol.ks))
    if len(users) != protocol.cases:
        raise DataError(
            f"the file says {protocol.cases} cases and has {len(users)}", source=str(path)
        )
    absent = columns["rank"].fill_null(max(protocol.ks) + 1).to_numpy()
    results = CaseResults(
        users,
        targets,
        absent.astype(np.int64) - 1,
        columns["tied"].to_numpy().astype(np.int64),
        top,
        np.stack([columns[name].to_numpy().astype(np.int64) for name in COUNTS], axis=1),
        columns["probability"].to_numpy() if "probability" in columns else None,
        _named(columns, VALUE),
        _named(columns, SLICE),
    )
    return Evaluation.of(document["name"], protocol, results, document["seconds"])


def _table(evaluation: Evaluation, item_ids: Sequence[str], user_ids: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    results, k = evaluation.results, evaluation.results.top.shape[1]
    columns = {
        "user_id": pa.array(user_ids, pa.string()).take(pa.array(results.users)),
        "target_item_id": pa.array(item_ids, pa.string()).take(pa.array(results.targets)),
        "rank": pa.array(results.ranks + 1, pa.int32(), mask=results.ranks >= k),
        "tied": pa.array(results.tied, pa.int32()),
        "recommended": _lists(results.top, item_ids),
    }
    if results.probabilities is not None:
        columns["probability"] = pa.array(results.probabilities)
    for name, count in zip(COUNTS, results.counts.T, strict=True):
        columns[name] = pa.array(count, pa.int32())
    columns |= {VALUE + name: pa.array(values) for name, values in results.values.items()}
    columns |= {SLICE + name: pa.array(mark) for name, mark in results.slices.items()}
    document = {
        "name": evaluation.name,
        "protocol": evaluation.protocol.model_dump(mode="json"),
        "seconds": evaluation.seconds,
    }
    return pa.table(columns, metadata={KEY: json.dumps(document).encode()})


def _lists(top: NDArray[np.int32], item_ids: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    filled = top != -1
    entries = top[filled]
    outside = (entries < 0) | (entries >= len(item_ids))
    values = pa.array(item_ids, pa.string()).take(pa.array(entries, mask=outside))
    offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be read as Parquet ({error})", source=str(path)) from None
    metadata = (table.schema.metadata or {}).get(KEY)
    if metadata is None:
        raise DataError(
            "is not a file of case results; make one with genrec evaluate --cases", source=str(path)
        )
    document: dict[str, Any] = json.loads(metadata)
    version = document["protocol"]["version"]
    if version != PROTOCOL_VERSION:
        raise DataError(
            f"was measured by version {version} of the protocol, and this genrec counts by version "
            f"{PROTOCOL_VERSION}: evaluate again",
            source=str(path),
        )
    return table, document


def _numbers(
    columns: dict[str, pa.Array], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Number users and items by first appearance."""
    import pyarrow as pa

    users = columns["user_id"].dictionary_encode().indices.to_numpy()
    targets, lists = columns["target_item_id"], columns["recommended"]
    both = pa.concat_arrays([targets, lists.flatten()]).dictionary_encode().indices
    items = both.fill_null(INVALID).to_numpy().astype(np.int32)
    top = np.full((len(targets), k), -1, np.int32)
    lengths = lists.value_lengths().to_numpy()
    top[np.arange(k) < lengths[:, None]] = items[len(targets) :]
    return users.astype(np.int64), items[: len(targets)], top


def _named(columns: dict[str, pa.Array], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): column.to_numpy(zero_copy_only=False)
        for name, column in columns.items()
        if name.startswith(prefix)
    }
