"""Title column: which one a table that has none called ``title`` may mean, by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from genrec.common.errors import DataError

__all__ = ["ask_for_title"]

_TITLE = r"titles?|titel|titre|t[ií]tulo|titolo|names?|nombre|nome?|bezeichnung"
_BESIDE = (
    r"produ[ck]?t[oe]?s?|produit|prod|items?|articles?|artikel|movie|film|song|track|book|game|display|full|short"
    r"|long|primary|original|main|clean|text|en|de|fr|es|it|nl|pt|ja|zh|us|uk|gb"
)
"""Words that may stand beside: a product's name is its title, and a brand's is not."""
_LIKELY = re.compile(
    rf"(?:(?:{_BESIDE})[\W_]*)*(?:{_TITLE})(?:[\W_]*(?:{_BESIDE}))*", re.IGNORECASE
)


def ask_for_title(names: Sequence[str], source: str) -> None:
    """Refuse a table without a column ``title`` where another one is likely to be meant.

    Args:
        names: of the table's columns.
        source: the file, or a word for an in-memory table.

    Raises:
        DataError: names the column, and says what to give if it is none.
    """
    if "title" in names:
        return
    likely = next(filter(_LIKELY.fullmatch, names), None)
    if likely is not None:
        raise DataError(
            f"no such column; did you mean --title {likely}? --title '' if the items have no titles "
            "(title= in Python)",
            source=source,
            column="title",
        )
