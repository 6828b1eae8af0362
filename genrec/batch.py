"""Recommendations for a file of users, in constant memory, written part by part and resumable."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.artifacts import atomic_file, hash_file, require_free
from genrec.data.interactions import Interactions
from genrec.errors import InputError
from genrec.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa

    from genrec.recommender import GenerativeRecommender

__all__ = ["Request", "recommend_file"]

_PART_USERS = 2048
_ENDINGS = (".parquet", ".jsonl", ".csv")


@dataclass(frozen=True)
class Request:
    """What is asked for every user.

    Attributes:
        k: items wanted. exclude_seen: leave out items of the history.
        allow: the only items that may be returned, None for all. deny: items never to return.
    """

    k: int = 10
    exclude_seen: bool = True
    allow: list[str] | None = None
    deny: list[str] | None = None

    def options(self) -> dict[str, Any]:
        """Keyword arguments of `GenerativeRecommender.recommend`."""
        return asdict(self) | {"deny": self.deny or []}


def recommend_file(
    recommender: GenerativeRecommender, source: Path, target: Path, request: Request
) -> int:
    """Recommend for every user of a click log; one output row a user and item.

    Columns of the output: ``user_id, rank, item_id, title, score``; as JSON lines, one line a user with
    ``user_id`` and ``recommendations``. Parts are kept in a folder beside the target until all are there, so
    a run that was killed continues.

    Returns:
        Number of users.

    Raises:
        InputError: the input cannot be read, or the output exists, cannot be written or has another ending.
    """
    if target.suffix not in _ENDINGS:
        raise InputError(f"--output {target}: the name must end in {', '.join(_ENDINGS)}")
    require_free(target)
    log = Interactions.read(source, catalog=recommender.catalog)
    parts = _parts_folder(recommender, source, target, request)
    starts = range(0, len(log.histories), _PART_USERS)
    with progress("recommending", len(starts)) as advance:
        for number, start in enumerate(starts):
            part = parts / f"{number:06d}.parquet"
            if not part.exists():
                table = _recommend_users(
                    recommender, log, range(start, start + _PART_USERS), request
                )
                with atomic_file(part) as path:
                    _write_parquet(iter([table]), path)
            advance(1)
    with atomic_file(target) as path:
        _WRITERS[target.suffix](_read_parts(parts), path)
    shutil.rmtree(parts)
    return len(log.histories)


def _parts_folder(
    recommender: GenerativeRecommender, source: Path, target: Path, request: Request
) -> Path:
    """The folder of finished parts; one of another request is discarded."""
    facts = [
        hash_file(source),
        asdict(request),
        recommender.data,
        recommender.semantic_ids.codes.tolist(),
    ]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    folder, marker = target.with_name(f"{target.name}.partial"), "request"
    if folder.exists() and not (folder / marker).exists():
        raise InputError(f"{folder} is in the way: move it, or choose another --output")
    if folder.exists() and (folder / marker).read_text(encoding="utf-8") != key:
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    (folder / marker).write_text(key, encoding="utf-8")
    return folder


def _recommend_users(
    recommender: GenerativeRecommender, log: Interactions, users: range, request: Request
) -> pa.Table:
    import pyarrow as pa

    users = range(users.start, min(users.stop, len(log.histories)))
    ids = recommender.catalog.item_ids
    histories = [[ids[item] for item in log.histories[user]] for user in users]
    found = recommender.recommend(histories, **request.options())
    counts = [len(row) for row in found]
    return pa.table(
        {
            "user_id": np.repeat(np.array([log.user_ids[user] for user in users], object), counts),
            "rank": pa.array([place + 1 for n in counts for place in range(n)], pa.int32()),
            "item_id": pa.array([item.item_id for row in found for item in row], pa.string()),
            "title": pa.array([item.title for row in found for item in row], pa.string()),
            "score": pa.array([item.score for row in found for item in row], pa.float32()),
        }
    )


def _read_parts(folder: Path) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    return (pq.read_table(path) for path in sorted(folder.glob("*.parquet")))


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


def _write_json_lines(tables: Iterator[pa.Table], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            for user, rows in _by_user(table).items():
                line = {"user_id": user, "recommendations": rows}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _by_user(table: pa.Table) -> Mapping[str, list[dict[str, Any]]]:
    users: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        item = {name: row[name] for name in ("item_id", "title", "score")}
        users.setdefault(row["user_id"], []).append(item)
    return users


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_json_lines}
