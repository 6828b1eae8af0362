"""Tables of a recommender folder: its items with their codes, and its histories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.common.errors import InputError, RecommenderError
from genrec.common.manifest import read_manifest
from genrec.data.catalog import Catalog
from genrec.data.histories import Histories
from genrec.data.text_columns import with_every_column

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from genrec.data.interactions import Interactions
    from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = [
    "read_catalog",
    "read_items",
    "read_likeness",
    "read_log",
    "read_vectors",
    "reading",
    "write_catalog",
    "write_likeness",
    "write_log",
    "write_vectors",
]


def read_catalog(folder: str | Path) -> tuple[Catalog, SemanticIds]:
    """Read a recommender folder's items and their codes, and nothing else of it.

    Raises:
        RecommenderError: it is missing, incomplete, altered, or of another format version.
    """
    facts = read_manifest(Path(folder))["semantic_ids"]
    return read_items(Path(folder) / "catalog.parquet", facts)


def write_catalog(catalog: Catalog, semantic_ids: SemanticIds, path: Path) -> None:
    """Write the items, each with its codes."""
    import pyarrow.parquet as pq

    pq.write_table(catalog.table.append_column("semantic_id", semantic_ids.to_arrow()), path)


def read_items(path: Path, facts: dict[str, Any]) -> tuple[Catalog, SemanticIds]:
    """Read back what `write_catalog` wrote; `facts` are what `SemanticIds.describe` says."""
    import pyarrow.parquet as pq

    from genrec.semantic_ids.semantic_ids import SemanticIds

    with reading(path):
        table = pq.read_table(path)
        catalog = Catalog.from_table(with_every_column(table.drop_columns(["semantic_id"])))
        return catalog, SemanticIds.from_arrow(catalog.item_ids, table["semantic_id"], facts)


def write_log(log: Interactions, path: Path) -> None:
    """Write the histories, one a row, without user ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    offsets = pa.array(log.histories.offsets, pa.int64())
    columns: dict[str, NDArray[Any]] = {"items": log.histories.items}
    if log.timestamps is not None:
        columns["timestamps"] = log.timestamps
    if log.kept_split is not None:
        columns["parts"] = log.kept_split.parts
    lists = {
        name: pa.LargeListArray.from_arrays(offsets, pa.array(v)) for name, v in columns.items()
    }
    facts = {"timestamp_unit": log.timestamp_unit} if log.timestamp_unit else {}
    if log.kept_split is not None:
        facts["split"] = log.kept_split.protocol
    pq.write_table(pa.table(lists, metadata=facts or None), path, compression="zstd")


def read_log(path: Path, catalog: Catalog) -> Interactions:
    """Read back what `write_log` wrote.

    Raises:
        RecommenderError: it names items that the catalog does not have.
    """
    import pyarrow.parquet as pq

    from genrec.data.interactions import Interactions
    from genrec.data.kept_split import KeptSplit

    with reading(path):
        table = pq.read_table(path)
        items = table["items"].combine_chunks()
    values = items.flatten().to_numpy().astype(np.int32)
    if len(values) and not 0 <= values.min() <= values.max() < len(catalog):
        raise RecommenderError(f"{path} names items that the catalog does not have")
    lengths = np.diff(items.offsets.to_numpy())
    histories = Histories(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    flat = {name: table[name].combine_chunks().flatten().to_numpy() for name in table.column_names}
    facts = table.schema.metadata or {}
    unit = facts.get(b"timestamp_unit")
    log = Interactions.of_histories(
        catalog, histories, flat.get("timestamps"), unit.decode() if unit else None
    )
    if "parts" not in flat:
        return log
    return replace(log, kept_split=KeptSplit(facts[b"split"].decode(), flat["parts"]))


def write_likeness(likeness: csr_matrix, path: Path) -> None:
    """Write which items are alike by their texts, `(N, N)`."""
    from safetensors.numpy import save_file

    columns, starts = likeness.indices.astype(np.int32), likeness.indptr.astype(np.int64)
    save_file({"values": likeness.data, "columns": columns, "starts": starts}, path)


def read_likeness(path: Path) -> csr_matrix | None:
    """Read back what `write_likeness` wrote; None where there is none."""
    from safetensors.numpy import load_file
    from scipy.sparse import csr_matrix

    if not path.exists():
        return None
    with reading(path):
        found = load_file(path)
        N = len(found["starts"]) - 1
        likeness = csr_matrix((found["values"], found["columns"], found["starts"]), shape=(N, N))
        likeness.check_format(full_check=True)
        return likeness


def write_vectors(vectors: NDArray[np.float16], path: Path) -> None:
    """Write what the language model reads of the items, `(N, D)`."""
    from safetensors.numpy import save_file

    save_file({"vectors": np.ascontiguousarray(vectors)}, path)


def read_vectors(path: Path) -> NDArray[np.float16] | None:
    """Read back what `write_vectors` wrote; None where there is none."""
    from safetensors.numpy import load_file

    if not path.exists():
        return None
    with reading(path):
        return load_file(path)["vectors"]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say of any failure which file of a recommender folder it is of.

    Raises:
        RecommenderError: whatever went wrong, with the file's name and what to do.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecommenderError(
            f"{path} cannot be read ({reason}): restore the folder from a copy, or fit again"
        ) from None
