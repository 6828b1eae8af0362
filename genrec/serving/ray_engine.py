"""Ray engine: recommendations for a file of users on the workers of a Ray cluster.

A worker opens the recommender's folder once and makes whole parts of `genrec.serving.user_files`, so that
users share their searches with the same users as in one process. Items are the same and scores equal to
1e-5; where two items are that near to each other, they may change places. On machines of one kind, with as
many threads a worker as the one process has, the rows are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from genrec.common.artifacts import hash_file
from genrec.common.errors import RecommenderError
from genrec.common.manifest import RECOMMENDER
from genrec.common.ray_workers import RaySettings, Work, on_workers
from genrec.data.histories import Histories
from genrec.recommender.request import Request
from genrec.serving.user_files import Part, recommend_part

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RayEngine"]


@dataclass(frozen=True)
class RayEngine:
    """An engine of `genrec.serving.user_files.recommend_file` that works on many machines.

    Attributes:
        folder: the recommender's; every machine must see it under this path.
        request: what is asked for each user.
        settings: which machines.
        device: of each worker. dtype: in which its language model computes (see `from_pretrained`).
    """

    folder: Path
    request: Request
    settings: RaySettings
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] | None = None

    def __call__(self, parts: Iterable[Part]) -> Iterator[pa.Table]:
        """Recommend for one part after another.

        Raises:
            InputError: the cluster cannot be used, or a worker does not see the recommender.
        """
        folder = self.folder.absolute()
        arguments = (folder, hash_file(folder / RECOMMENDER.manifest), self.request, self.dtype)
        rows = [_row_of(part) for part in parts]
        found = on_workers(rows, _open_work, arguments, self.settings, self.device)
        return map(_unnested, found)


def _open_work(
    device: str,
    folder: Path,
    manifest: str,
    request: Request,
    dtype: Literal["float32", "bfloat16"] | None,
) -> Work:
    """Open the recommender on a worker.

    Raises:
        RecommenderError: its machine does not see the folder, or sees another recommender there.
    """
    from genrec.recommender.fitted_recommender import FittedRecommender
    from genrec.recommender.folder.whole import open_folder

    if not folder.is_dir():
        raise RecommenderError(
            f"{folder} is not there: put the recommender where every machine of the cluster sees it under "
            "the same path, such as a network file system"
        )
    recommender = open_folder(FittedRecommender, folder, device, dtype, merged=True)
    if hash_file(folder / RECOMMENDER.manifest) != manifest:
        raise RecommenderError(
            f"{folder} holds another recommender than on the machine of the command: give both the same"
        )
    return lambda row: _nested(recommend_part(recommender, _part_of(row), request))


def _row_of(part: Part) -> pa.Table:
    """One row: the lists ``user_id`` and ``history``."""
    import pyarrow as pa

    offsets = part.histories.offsets.astype(np.int32)
    histories = pa.ListArray.from_arrays(pa.array(offsets), pa.array(part.histories.items))
    return _nested(pa.table({"user_id": pa.array(part.user_ids), "history": histories}))


def _part_of(row: pa.Table) -> Part:
    table = _unnested(row)
    histories = table["history"].combine_chunks()
    items = histories.flatten().to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(histories.value_lengths().to_numpy())])
    return Part(table["user_id"].to_pylist(), Histories(items, offsets.astype(np.int64)))


def _nested(table: pa.Table) -> pa.Table:
    """A table as one row: each column a list."""
    import pyarrow as pa

    ends = pa.array([0, len(table)], pa.int32())
    columns = {
        name: pa.ListArray.from_arrays(ends, table[name].combine_chunks())
        for name in table.column_names
    }
    return pa.table(columns)


def _unnested(row: pa.Table) -> pa.Table:
    """Undo `_nested`."""
    import pyarrow as pa

    columns = {name: row[name].combine_chunks().flatten() for name in row.column_names}
    return pa.table(columns)
