"""Recommendations for a file of users, in constant memory, written part by part and resumable."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.artifacts import atomic_file, require_free
from genrec.data.interactions import Interactions
from genrec.errors import InputError
from genrec.progress import progress
from genrec.request import Request

if TYPE_CHECKING:
    import pyarrow as pa

    from genrec.recommender import GenerativeRecommender

__all__ = ["recommend_file", "recommend_users", "require_output"]

_PART_USERS = 2048
_MARKER = "request"


def recommend_file(
    recommender: GenerativeRecommender, log: Interactions, target: Path, request: Request
) -> None:
    """Recommend for every user of a click log, into a file.

    CSV and Parquet get one row a user and item: ``user_id, rank, item_id, title, score, basis``, and
    ``reasons`` where they are asked for: a list in Parquet, the same as JSON in CSV. JSON lines get one line
    a user: ``user_id`` and ``recommendations``. Parts are kept in a folder beside the target
    until all are there, so a run that was killed continues.

    Raises:
        InputError: the output exists, cannot be written or has another ending.
    """
    require_output(target)
    parts = _parts_folder(recommender, log, target, request)
    starts = range(0, len(log.histories), _PART_USERS)
    with progress("recommending", len(starts)) as advance:
        for number, start in enumerate(starts):
            part = parts / f"{number:06d}.parquet"
            if not part.exists():
                users = range(start, min(start + _PART_USERS, len(log.histories)))
                table = _recommend_part(recommender, log, users, request)
                with atomic_file(part) as path:
                    _write_parquet(iter([table]), path)
            advance(1)
    with atomic_file(target) as path:
        _WRITERS[target.suffix](_read_parts(parts), path)
    shutil.rmtree(parts)


def recommend_users(
    recommender: GenerativeRecommender, log: Interactions, request: Request
) -> list[dict[str, Any]]:
    """Recommend for every user of a small click log: a ``user_id`` and ``recommendations`` each."""
    users = range(len(log.histories))
    rows: list[dict[str, Any]] = _recommend_part(recommender, log, users, request).to_pylist()
    return rows


def require_output(target: Path) -> None:
    """Refuse a file that exists, cannot be written or has an ending of no known format.

    Raises:
        InputError: with what to do about it.
    """
    if target.suffix not in _WRITERS:
        raise InputError(f"--output {target}: the name must end in {', '.join(_WRITERS)}")
    require_free(target, advice="choose another --output, or remove it")


def _parts_folder(
    recommender: GenerativeRecommender, log: Interactions, target: Path, request: Request
) -> Path:
    """The folder of finished parts; one of another recommender, log or request is emptied."""
    folder = target.with_name(f"{target.name}.partial")
    marker, key = folder / _MARKER, _fingerprint(recommender, log, request)
    if folder.exists() and not marker.is_file() and not _is_empty(folder):
        raise InputError(f"{folder} is in the way: move it, or choose another --output")
    if marker.is_file() and marker.read_text(encoding="utf-8") != key:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(key, encoding="utf-8")
    return folder


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _fingerprint(recommender: GenerativeRecommender, log: Interactions, request: Request) -> str:
    """A hash that changes whenever the recommendations may; a fit's metrics stand for its weights."""
    settings = recommender.settings.model_dump(mode="json")
    facts = [asdict(request), recommender.data, recommender.metrics, settings, log.user_ids]
    digest = hashlib.sha256(json.dumps(facts).encode())
    # The same conditions are another filter once prices or stock have changed.
    met = recommender.catalog.where(request.where)
    for array in (recommender.semantic_ids.codes, log.histories.items, log.histories.offsets, met):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _recommend_part(
    recommender: GenerativeRecommender, log: Interactions, users: range, request: Request
) -> pa.Table:
    """Recommend for some users: one row each, ``user_id`` and the list ``recommendations``."""
    import pyarrow as pa

    ids = recommender.catalog.item_ids
    histories = [[ids[item] for item in log.histories[user]] for user in users]
    found = recommender.recommend(histories, **request.options())
    names = {
        "item_id": pa.string(),
        "title": pa.string(),
        "score": pa.float32(),
        "basis": pa.string(),
    }
    if request.explain:
        reason = {"item_id": pa.string(), "title": pa.string(), "score_change": pa.float32()}
        names["reasons"] = pa.list_(pa.struct(list(reason.items())))
    item = pa.struct(list(names.items()))
    columns = {
        "user_id": pa.array([log.user_ids[user] for user in users], pa.string()),
        "recommendations": pa.array([[i.facts() for i in row] for row in found], pa.list_(item)),
    }
    return pa.table(columns)


def _read_parts(folder: Path) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    return (pq.read_table(path) for path in sorted(folder.glob("*.parquet")))


def _one_row_an_item(table: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = table["recommendations"].combine_chunks()
    counts = pc.list_value_length(lists).to_numpy()
    items = lists.flatten()
    ranks = [np.arange(1, count + 1, dtype=np.int32) for count in counts]
    columns = {
        "user_id": table["user_id"].take(pa.array(np.repeat(np.arange(len(counts)), counts))),
        "rank": pa.array(np.concatenate([np.empty(0, np.int32), *ranks])),
    }
    names = [field.name for field in items.type]
    return pa.table(columns | dict(zip(names, items.flatten(), strict=True)))


def _write_parquet(tables: Iterator[pa.Table], path: Path) -> None:
    import pyarrow.parquet as pq

    first = next(tables)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _write_csv(tables: Iterator[pa.Table], path: Path) -> None:
    import pyarrow.csv as csv

    first = next(tables)
    with csv.CSVWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _reasons_as_json(table: pa.Table) -> pa.Table:
    """CSV has no lists: the column of reasons, if there is one, becomes JSON."""
    import pyarrow as pa

    if "reasons" not in table.column_names:
        return table
    words = [json.dumps(row, ensure_ascii=False) for row in table["reasons"].to_pylist()]
    place = table.column_names.index("reasons")
    return table.set_column(place, "reasons", pa.array(words, pa.string()))


def _write_json_lines(tables: Iterator[pa.Table], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            for user in table.to_pylist():
                file.write(json.dumps(user, ensure_ascii=False) + "\n")


_WRITERS: dict[str, Callable[[Iterator[pa.Table], Path], None]] = {
    ".parquet": lambda tables, path: _write_parquet(map(_one_row_an_item, tables), path),
    ".jsonl": _write_json_lines,
    ".csv": lambda tables, path: _write_csv(
        (_reasons_as_json(_one_row_an_item(table)) for table in tables), path
    ),
}
