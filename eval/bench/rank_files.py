"""Rank files: what many rankers made of the same cases, in one small Parquet file.

A target's rank and the size of its tie are all that recall, ndcg, mrr and their paired tests follow from, and
two small numbers a case are few enough to keep beside a table of results. Beside them stands, where the log
has times, which targets have the time of the event before them. Users and items are left out: the protocol in
the file says, by the hash of the cases, what data they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.common.artifacts import atomic_file
from genrec.common.config import validate
from genrec.common.errors import DataError, InputError
from genrec.evaluation.case_files import read_cases
from genrec.evaluation.case_results import CaseResults, slice_metrics, summary
from genrec.evaluation.evaluate import Evaluation, check_comparable
from genrec.evaluation.protocol import PROTOCOL_VERSION, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["OTHER_TIME", "SAME_TIME", "collect_ranks", "read_ranks", "write_ranks"]

SAME_TIME, OTHER_TIME = "same_time", "other_time"
"""The slice of the cases whose target has the time of the event before it, and the one of the others."""
_KEY = b"genrec.ranks"


def collect_ranks(files: Mapping[str, Path]) -> list[Evaluation]:
    """Read files of case results (`genrec.evaluation.case_files`), each under a name of its own.

    Raises:
        DataError: a file cannot be read.
        InputError: two of them hold other cases, or were measured otherwise.
    """
    found = [replace(read_cases(path), name=name) for name, path in files.items()]
    for other in found[1:]:
        check_comparable(found[0], other)
    return found


def write_ranks(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Write one row a case, two columns a ranker; ranks count from 1 and are null beyond the largest k.

    The slice ``same_time`` is a column where a ranker's results have it.

    Args:
        evaluations: at least one, all of the same cases.
        path: the file; one that stands there is replaced.

    Raises:
        InputError: two of them share a name, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [evaluation.name for evaluation in evaluations]
    if len(set(names)) < len(names):
        raise InputError(f"each ranker needs a name of its own; given: {', '.join(names)}")
    first = evaluations[0]
    _, users = np.unique(first.results.users, return_inverse=True)
    columns = {"user": pa.array(users, pa.int32())}
    for evaluation in evaluations:
        if SAME_TIME in evaluation.results.slices:
            columns[SAME_TIME] = pa.array(evaluation.results.slices[SAME_TIME])
    for number, evaluation in enumerate(evaluations):
        ranks, absent = evaluation.results.ranks, max(first.protocol.ks)
        columns[f"rank{number}"] = pa.array(ranks + 1, pa.int16(), mask=ranks >= absent)
        columns[f"tied{number}"] = pa.array(evaluation.results.tied, pa.int32())
    facts = [{"name": e.name, "seconds": e.seconds} for e in evaluations]
    document = {"protocol": first.protocol.model_dump(mode="json"), "rankers": facts}
    table = pa.table(columns, metadata={_KEY: json.dumps(document).encode()})
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_ranks(path: Path) -> list[Evaluation]:
    """Read what `write_ranks` wrote; accuracy is what it was, and lists (coverage …) are not known.

    Slices are ``same_time`` and ``other_time``, or none where the file does not say which cases those are.

    Raises:
        DataError: the file cannot be read, is none of these, or was measured by the rules of another version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError("there is no such file; eval/table.py makes one", source=str(path))
    try:
        table = pq.read_table(path)
        document = json.loads((table.schema.metadata or {})[_KEY])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be read as Parquet ({error})", source=str(path)) from None
    except KeyError:
        raise DataError(
            "is not a file of ranks; eval/table.py makes one", source=str(path)
        ) from None
    if document["protocol"]["version"] != PROTOCOL_VERSION:
        raise DataError(
            f"was measured by version {document['protocol']['version']} of the protocol, and this genrec "
            f"counts by version {PROTOCOL_VERSION}: evaluate again",
            source=str(path),
        )
    protocol, rankers = (
        validate(Protocol, document["protocol"], source=str(path)),
        document["rankers"],
    )
    wanted = {"user", *(f"{name}{n}" for n in range(len(rankers)) for name in ("rank", "tied"))}
    if len(table) != protocol.cases or set(table.column_names) - {SAME_TIME} != wanted:
        raise DataError(
            f"has lost rows or columns ({len(table)} rows of {protocol.cases}): make it again",
            source=str(path),
        )
    return [_evaluation(table, number, facts, protocol) for number, facts in enumerate(rankers)]


def _evaluation(
    table: pa.Table, number: int, facts: dict[str, Any], protocol: Protocol
) -> Evaluation:
    """One ranker's columns, with the metrics of the target's rank and no others."""
    cases, most, slices = len(table), max(protocol.ks), {}
    if SAME_TIME in table.column_names:
        same = table[SAME_TIME].to_numpy()
        slices = {SAME_TIME: same, OTHER_TIME: ~same}
    ranks = table[f"rank{number}"].fill_null(most + 1).to_numpy().astype(np.int64) - 1
    results = CaseResults(
        table["user"].to_numpy().astype(np.int64),
        np.zeros(cases, np.int32),
        ranks,
        table[f"tied{number}"].to_numpy().astype(np.int64),
        np.full((cases, most), -1, np.int32),
        np.zeros((cases, 4), np.int64),
        slices=slices,
    )
    means, ends = summary(results, protocol)
    known = {name: means[name] for name in ends}
    parts = slice_metrics(results, protocol)
    return Evaluation(facts["name"], protocol, results, known, ends, parts, facts["seconds"])
