"""User files: recommendations for a file of users, in constant memory, part by part and resumable.

An engine turns parts of the users into tables: this process, or workers on many machines (see
`genrec.serving.ray_engine`). Both call `recommend_part` on the same parts, so they give the same rows, and
a run that one of them left unfinished is finished by the other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.common.artifacts import atomic_file, require_free
from genrec.common.errors import InputError
from genrec.common.locks import only_writer
from genrec.common.progress import progress
from genrec.common.writing_errors import writing_error
from genrec.data.histories import Histories
from genrec.data.interactions import Interactions
from genrec.recommender.recommend import recommend
from genrec.recommender.request import Request

if TYPE_CHECKING:
    import pyarrow as pa

    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = [
    "PART_USERS",
    "Engine",
    "Part",
    "recommend_file",
    "recommend_part",
    "recommend_users",
    "require_output",
]

log = logging.getLogger(__name__)

PART_USERS = 2048
"""Users recommended for between two writes: what a killed run may lose."""
_MARKER = "request"


@dataclass(frozen=True)
class Part:
    """Some users of a click log.

    Attributes:
        user_ids: U of them.
        histories: theirs, as catalog indices.
    """

    user_ids: list[str]
    histories: Histories


Engine = Callable[[Iterable[Part]], Iterator["pa.Table"]]
"""Recommends for one part after another: the tables of `recommend_part`, in the order of the parts."""


def recommend_file(
    recommender: FittedRecommender,
    users: Interactions,
    target: Path,
    request: Request,
    engine: Engine | None = None,
) -> None:
    """Recommend for every user of a click log, into a file.

    CSV and Parquet get one row a user and item: ``user_id, rank, item_id, title, score, basis``, and
    ``reasons`` where they are asked for: a list in Parquet, the same as JSON in CSV. A user for whom nothing
    passes the filters has no row there, and is counted in a warning. JSON lines get one line
    a user: ``user_id`` and ``recommendations``. Parts are kept in a folder beside the target until all are
    there, so a run that was killed continues, on whichever engine.

    Args:
        recommender: what recommends.
        users: their histories.
        target: the file; what its name ends in is its format.
        request: what is asked for each user.
        engine: where the work is done; None is this process.

    Raises:
        InputError: the output exists, is being written, cannot be written or has another ending.
    """
    require_output(target)
    with only_writer(target):
        folder = _parts_folder(recommender, users, target, request)
        try:
            _make_parts(users, folder, engine or _here(recommender, request))
            with atomic_file(target) as path:
                _WRITERS[target.suffix](_counting(_read_parts(folder)), path)
        except BaseException as error:
            if not any(folder.glob("*.parquet")):
                shutil.rmtree(folder, ignore_errors=True)
            elif writing_error(error) is not None:
                error.add_note(
                    f"What is done so far stays in {folder}, and the same run goes on from there"
                )
            raise
        shutil.rmtree(folder)


def recommend_users(
    recommender: FittedRecommender, users: Interactions, request: Request
) -> list[dict[str, Any]]:
    """Recommend for every user of a small click log: a ``user_id`` and ``recommendations`` each."""
    everybody = Part(users.user_ids, users.histories)
    rows: list[dict[str, Any]] = recommend_part(recommender, everybody, request).to_pylist()
    return rows


def recommend_part(recommender: FittedRecommender, part: Part, request: Request) -> pa.Table:
    """Recommend for some users: one row each, ``user_id`` and the list ``recommendations``."""
    import pyarrow as pa

    ids = recommender.catalog.item_ids
    histories = [[ids[item] for item in history] for history in part.histories]
    found = recommend(recommender, histories, request)
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
        "user_id": pa.array(part.user_ids, pa.string()),
        "recommendations": pa.array([[i.facts() for i in row] for row in found], pa.list_(item)),
    }
    return pa.table(columns)


def require_output(target: Path) -> None:
    """Refuse a file that exists, cannot be written or has an ending of no known format.

    Raises:
        InputError: with what to do about it.
    """
    if target.suffix not in _WRITERS:
        raise InputError(f"--output {target}: the name must end in {', '.join(_WRITERS)}")
    require_free(target, advice="choose another --output, or remove it")


def _here(recommender: FittedRecommender, request: Request) -> Engine:
    """The engine that is this process."""
    return lambda parts: (recommend_part(recommender, part, request) for part in parts)


def _make_parts(users: Interactions, folder: Path, engine: Engine) -> None:
    """Write the parts that are not there yet, each in one step."""
    starts = range(0, len(users.histories), PART_USERS)
    paths = [folder / f"{number:06d}.parquet" for number in range(len(starts))]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if len(missing) < len(paths):
        made = len(paths) - len(missing)
        log.info("going on in %s: %d of %d parts are there", folder, made, len(paths))
    with progress("recommending", len(paths)) as advance:
        advance(len(paths) - len(missing))
        tables = engine(_part(users, starts[number]) for number in missing)
        for number, table in zip(missing, tables, strict=True):
            with atomic_file(paths[number]) as path:
                _write_parquet(iter([table]), path)
            advance(1)


def _part(users: Interactions, start: int) -> Part:
    chosen = range(start, min(start + PART_USERS, len(users.histories)))
    return Part([users.user_ids[user] for user in chosen], users.histories.take(np.array(chosen)))


def _parts_folder(
    recommender: FittedRecommender, users: Interactions, target: Path, request: Request
) -> Path:
    """The folder of finished parts; one of another recommender, log or request is emptied."""
    folder = target.with_name(f"{target.name}.partial")
    marker, key = folder / _MARKER, _fingerprint(recommender, users, request)
    if folder.exists() and not marker.is_file() and not _is_empty(folder):
        raise InputError(f"{folder} is in the way: move it, or choose another --output")
    if marker.is_file() and marker.read_text(encoding="utf-8") != key:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(key, encoding="utf-8")
    return folder


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _fingerprint(recommender: FittedRecommender, users: Interactions, request: Request) -> str:
    """A hash that changes whenever the recommendations may; a fit's metrics stand for its weights."""
    settings = recommender.settings.model_dump(mode="json")
    facts = [asdict(request), recommender.data, recommender.metrics, settings, users.user_ids]
    facts.append(str(recommender.language_model.core.dtype))
    digest = hashlib.sha256(json.dumps(facts).encode())
    # The same conditions are another filter once prices or stock have changed.
    met = recommender.catalog.where(request.where)
    for array in (
        recommender.semantic_ids.codes,
        users.histories.items,
        users.histories.offsets,
        met,
    ):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_parts(folder: Path) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    return (pq.read_table(path) for path in sorted(folder.glob("*.parquet")))


def _counting(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same tables; a warning at the end says how many users nothing was found for."""
    import pyarrow.compute as pc

    nothing = users = 0
    for table in tables:
        users += len(table)
        lengths = pc.list_value_length(table["recommendations"])
        nothing += pc.sum(pc.equal(lengths, 0)).as_py() or 0
        yield table
    if nothing:
        log.warning(
            "%s of %s users got no recommendation: every item is seen, denied, or outside the filters",
            f"{nothing:,}",
            f"{users:,}",
        )


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
