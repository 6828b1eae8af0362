"""What the commands of `genrec` read: a recommender, a log, words of an option."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.options import Dtype
from genrec.output import log_lines

if TYPE_CHECKING:
    from genrec.data import Catalog, Interactions
    from genrec.recommender import GenerativeRecommender

__all__ = ["open_recommender", "read_log", "split_ids"]


def open_recommender(
    folder: Path, device: str, dtype: Dtype = None, *, merged: bool = False
) -> GenerativeRecommender:
    """Open a recommender folder (see `GenerativeRecommender.from_pretrained`)."""
    from genrec.recommender import GenerativeRecommender

    options: dict[str, Any] = {"device": device, "dtype": dtype, "merged": merged}
    return GenerativeRecommender.from_pretrained(folder, **options)


def read_log(
    source: Path, catalog: Catalog, columns: dict[str, str], policy: dict[str, Any]
) -> Interactions:
    """Read a click log, and say in the program's log what was read and dropped.

    Args:
        source: the file.
        catalog: the items it may name.
        columns: names of its columns (`genrec.data.InteractionColumns`).
        policy: what to do with odd rows (`genrec.data.LogPolicy`).
    """
    from genrec.config import validate
    from genrec.data import InteractionColumns, Interactions, LogPolicy

    log = Interactions.read(
        source,
        catalog=catalog,
        columns=validate(InteractionColumns, columns, source="options"),
        policy=validate(LogPolicy, policy, source="options"),
    )
    log_lines([*log.report.lines(), f"{len(log.histories):,} users"])
    return log


def split_ids(words: str) -> list[str]:
    """Item ids between commas, spaces around them dropped."""
    return [word.strip() for word in words.split(",") if word.strip()]
