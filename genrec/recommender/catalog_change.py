"""Change of a catalog: how many items came, went and changed, in numbers, words and examples."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.data.joining import Feed

__all__ = ["CatalogChange"]

log = logging.getLogger(__name__)
_EXAMPLES = 3
_MOST_CHARACTERS = 80


@dataclass(frozen=True)
class CatalogChange:
    """What happened to a catalog.

    Attributes:
        added: new items.
        known: rows that said nothing new of an item of the catalog, and were passed over.
        moved: new items whose codes another item held, so that they got others.
        far: those of them that did not even keep their first code.
        removed: items taken out.
        events: interactions with them, which left the log.
        items: size of the catalog afterwards.
        changed: items of which a feed says something else than the catalog did.
        columns: column -> in how many of them it is another.
        recoded: items whose changed text or image gave them another semantic ID, where that was asked for.
        examples: some of the items, by what happened to them; not kept on record.
    """

    added: int = 0
    known: int = 0
    moved: int = 0
    far: int = 0
    removed: int = 0
    events: int = 0
    items: int = 0
    changed: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    recoded: int = 0
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @classmethod
    def of_feed(
        cls, before: Catalog, feed: Feed, missing: NDArray[np.integer[Any]]
    ) -> CatalogChange:
        """What a feed changes in the table, with examples; `missing` are the items that go."""
        touched = feed.items_changed()
        unchanged = len(before) - len(feed.missing) - int(touched.sum())
        examples: dict[str, list[dict[str, str]]] = {}
        if feed.new is not None:
            examples["added"] = _named(feed.new.take(np.arange(len(feed.new))[:_EXAMPLES]))
        if len(missing):
            examples["removed"] = _named(before.take(missing[:_EXAMPLES]))
        if feed.changed:
            examples["changed"] = [
                example
                for name, differs in feed.changed.items()
                for example in _values(before, feed.catalog, name, differs)
            ]
        columns = {name: int(differs.sum()) for name, differs in feed.changed.items()}
        return cls(known=unchanged, changed=int(touched.sum()), columns=columns, examples=examples)

    def record(self) -> dict[str, Any]:
        """What the recommender's folder keeps of it: the counts that are not those of every change."""
        facts = {name: value for name, value in asdict(self).items() if name != "examples"}
        of_feeds = ("changed", "columns", "recoded")
        return {name: value for name, value in facts.items() if value or name not in of_feeds}

    def write_log(self) -> None:
        """Write it to the log."""
        for line in self.lines():
            log.info("%s", line)

    def example_lines(self) -> list[str]:
        """Some of the items in words, one line each."""
        lines = []
        for word, found in self.examples.items():
            for facts in found:
                detail = facts.get("title", "")
                if "column" in facts:
                    detail = f"{facts['column']} {facts['before']!r} becomes {facts['after']!r}"
                lines.append(f"  {word}: {facts['item_id']}  {detail}".rstrip())
        return lines

    def lines(self) -> list[str]:
        """The change in words, one sentence each."""
        lines = []
        if self.known:
            lines.append(f"{self.known:,} items were there already, unchanged")
        if self.changed:
            columns = ", ".join(f"{name} of {n:,}" for name, n in self.columns.items())
            lines.append(f"{self.changed:,} items changed: {columns}")
        if self.recoded:
            lines.append(f"{self.recoded:,} of them have another semantic ID now")
        if self.added:
            lines.append(f"{self.added:,} items added, {self.moved:,} of them moved to free codes")
        if self.far:
            lines.append(
                f"{self.far:,} new items found no free code near their own: the semantic IDs fill up, so fit "
                "anew on the grown catalog before long"
            )
        if self.removed:
            lines.append(f"{self.removed:,} items removed, and {self.events:,} events of theirs")
        return [*lines, f"{self.items:,} items in the catalog"]


def _named(items: Catalog) -> list[dict[str, str]]:
    pairs = zip(items.item_ids, items.titles, strict=True)
    return [{"item_id": item_id, "title": _short(title)} for item_id, title in pairs]


def _values(
    before: Catalog, after: Catalog, name: str, differs: NDArray[np.bool_]
) -> list[dict[str, str]]:
    """Some items whose value in a column is another, with both values in words."""
    items = np.flatnonzero(differs)[:_EXAMPLES]
    ids = before.take(items).item_ids
    pairs = (catalog.table[name].take(items).to_pylist() for catalog in (before, after))
    return [
        {"item_id": item_id, "column": name, "before": _short(old), "after": _short(new)}
        for item_id, old, new in zip(ids, *pairs, strict=True)
    ]


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
