"""Names as paths: the category tree and the trie of title words.

A name (a category, a word) has one code at its level wherever in the tree it stands, so that
*Accessories* means the same to the language model under every department. Code 0 stands for no name
and for all names that are too rare, or came after the fit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.data.item_text import split_categories
from genrec.semantic_ids.indexing.settings import CategoryPathSettings, TitlePathSettings

__all__ = ["codes_of", "dominated_levels", "fold", "learn_names", "name_paths"]

DOMINANT = 0.95
"""Share of the items from which on a name has its level to itself."""
_WORD = re.compile(r"\w+")


def name_paths(
    catalog: Catalog, settings: CategoryPathSettings | TitlePathSettings
) -> list[list[str]]:
    """Return each item's names, from the top: its categories, or the words of its title.

    Raises:
        DataError: the catalog lacks the column.
    """
    if isinstance(settings, TitlePathSettings):
        return [_WORD.findall(title.lower())[: settings.levels] for title in catalog.titles]
    column = catalog.column(settings.column, "item_tokenizer.column")
    return [_categories(value) for value in column.to_pylist()]


def dominated_levels(paths: Sequence[Sequence[str]]) -> int:
    """Return on how many first levels one name holds nearly all items: they say next to nothing."""
    filled, level = [path for path in paths if path], 0
    while counts := Counter(path[level] for path in filled if len(path) > level):
        if max(counts.values()) < DOMINANT * len(filled):
            break
        level += 1
    return level


def fold(paths: Sequence[Sequence[str]], levels: int) -> list[list[str]]:
    """Join the first `levels` names of each path to the one after them: one code tells them all."""
    joined = (([" > ".join(path[: levels + 1])], path[levels + 1 :]) for path in paths)
    return [[*first, *rest] if first != [""] else [] for first, rest in joined]


def learn_names(paths: Sequence[Sequence[str]], levels: int, most: int) -> list[list[str]]:
    """Return the names that have a code, the most frequent first, for each level that has any."""
    found = []
    for level in range(levels):
        counts = Counter(path[level] for path in paths if len(path) > level)
        # Ties by name: the order of the catalog's rows must not matter.
        ranked = sorted(counts, key=lambda name: (-counts[name], name))
        if ranked:
            found.append(ranked[:most])
    return found if found and len(found[0]) > 1 else []  # one name for all tells nothing


def codes_of(paths: Sequence[Sequence[str]], names: Sequence[Sequence[str]]) -> NDArray[np.int32]:
    """Return the codes `(N, P)` of names, 0 where there is none or it is not known."""
    codes = np.zeros((len(paths), len(names)), np.int32)
    for level, known in enumerate(names):
        code = {name: number for number, name in enumerate(known, start=1)}
        column = [code.get(path[level], 0) if len(path) > level else 0 for path in paths]
        codes[:, level] = column
    return codes


def _categories(value: Any) -> list[str]:
    """Return one path of names; of several paths the last, whose end is the item's label."""
    value = split_categories(value)
    while isinstance(value, list) and any(isinstance(part, list) for part in value):
        value = next((part for part in reversed(value) if isinstance(part, list) and part), [])
    parts = value if isinstance(value, list) else [value]
    names = [str(part).strip() for part in parts if part is not None and part == part]
    return [name for name in names if name]
