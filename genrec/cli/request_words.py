"""Words of a command line that make a request: item ids, files of them, conditions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.common.errors import DataError, InputError
from genrec.recommender.request import Request

if TYPE_CHECKING:
    from genrec.data.catalog import Catalog

__all__ = ["check_sources", "excluding", "read_ids", "read_request", "split_ids"]

log = logging.getLogger(__name__)


def check_sources(
    history: str | None,
    query: str | None,
    input_file: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Check which of ``genrec recommend``'s --history, --query, --input, --output and --json stand together.

    Raises:
        InputError: they do not; says which do.
    """
    if history is not None and input_file is not None:
        raise InputError("give either --history (one user) or --input (a file of users)")
    if history is None and input_file is None and query is None:
        raise InputError(
            "give either --history (one user) or --input (a file of users), or --query (words alone)"
        )
    if output is not None and (input_file is None or as_json):
        raise InputError("--output goes with --input, and without --json, which prints the result")
    if input_file is not None and output is None and not as_json:
        raise InputError("--input needs --output, the file to write, or --json to print the result")


def read_request(
    catalog: Catalog,
    k: int,
    exclude_seen: bool | None,
    allow: str | None,
    deny: str,
    where: Sequence[str],
) -> Request:
    """Read a request from the words of a command line; a warning says if no item meets `where`.

    Raises:
        InputError: the filters cannot be read, or do not fit the catalog.
    """
    if note := _nothing_meets(catalog, where):
        log.warning("%s", note)
    allowed = None if allow is None else read_ids(allow, catalog)
    return Request(k, exclude_seen, allowed, read_ids(deny, catalog), tuple(where))


def excluding(keep_seen: bool | None) -> bool | None:
    """What ``--keep-seen/--exclude-seen`` says of seen items; None leaves it to the recommender."""
    return None if keep_seen is None else not keep_seen


def read_ids(words: str, catalog: Catalog) -> list[str]:
    """Read item ids: ``ID,ID,…``, or ``@FILE`` with one id a line (empty lines do not count).

    Raises:
        DataError: the file cannot be read or holds no id, or one of its ids is not in the catalog;
            names file and line.
    """
    if not words.startswith("@"):
        return split_ids(words)
    path = Path(words[1:])
    numbered = list(_lines(path))
    if not numbered:
        raise DataError("the file holds no item id; write one a line", source=path)
    ids = [item_id for _, item_id in numbered]
    unknown = np.flatnonzero(catalog.lookup(_strings(ids)) < 0)
    if len(unknown):
        number, item_id = numbered[unknown[0]]
        count = f" ({len(unknown):,} of {len(ids):,} ids are not)" if len(unknown) > 1 else ""
        raise DataError(
            f"the item is not in the catalog{count}; write one id a line{catalog.similar(item_id)}",
            source=f"{path}, line {number}",
            value=item_id,
        )
    return ids


def _nothing_meets(catalog: Catalog, where: Sequence[str]) -> str | None:
    if not where or len(catalog.where(where)):
        return None
    counts = [f"{condition!r} leaves {len(catalog.where([condition])):,}" for condition in where]
    return f"no item meets all of --where: of {len(catalog):,} items {', '.join(counts)}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", source=path) from None
    except UnicodeDecodeError:
        raise DataError("not UTF-8 text; save the file as UTF-8", source=path) from None
    for number, line in enumerate(text.split("\n"), start=1):
        if item_id := line.strip():
            yield number, item_id


def _strings(ids: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(ids, pa.string())


def split_ids(words: str) -> list[str]:
    """Item ids between commas, spaces around them dropped."""
    return [word.strip() for word in words.split(",") if word.strip()]
