"""Names of columns and files: the nearest one, those that pandas left over, those that occur twice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from genrec.common.errors import DataError

__all__ = ["nearest", "require_distinct", "without_left_over"]

_LEFT_OVER = re.compile(r"__index_level_\d+__|Unnamed: 0(\.\d+)*")


def nearest(name: str, known: Sequence[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or nothing if none is near."""
    by_lower = {other.lower(): other for other in reversed(known)}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def without_left_over(names: Sequence[str], asked_for: Collection[str] = ()) -> list[str]:
    """Return names without those that pandas gives to an index when it writes one: row numbers.

    Args:
        names: of all columns.
        asked_for: what the caller named, which stays whatever it is called.
    """
    return [name for name in names if name in asked_for or not _LEFT_OVER.fullmatch(name)]


def require_distinct(names: Sequence[str], source: str) -> None:
    """Refuse two columns of one name.

    Raises:
        DataError: a name occurs twice; names it.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError("two columns have this name; rename one", source=source, column=name)
        seen.add(name)
