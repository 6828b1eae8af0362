"""Inputs of the commands: a recommender, catalogs and logs, words of an option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.cli.options import Dtype, Quoting, Repeats, Unknown
from genrec.cli.output import log_lines
from genrec.common.errors import InputError

if TYPE_CHECKING:
    from genrec.data import Catalog, Interactions, TextFormat
    from genrec.generative_recommender import GenerativeRecommender

__all__ = [
    "Columns",
    "Formats",
    "open_recommender",
    "read_log",
    "read_shop",
    "shop_names",
    "text_format",
]


def open_recommender(
    folder: Path, device: str, dtype: Dtype = None, *, merged: bool = False
) -> GenerativeRecommender:
    """Open a recommender folder (see `GenerativeRecommender.from_pretrained`)."""
    from genrec.generative_recommender import GenerativeRecommender

    options: dict[str, Any] = {"device": device, "dtype": dtype, "merged": merged}
    return GenerativeRecommender.from_pretrained(folder, **options)


def text_format(
    separator: str | None = None,
    encoding: str | None = None,
    quoting: Quoting | None = None,
    columns: str | None = None,
    date_format: str | None = None,
) -> TextFormat:
    """Return the text format that options name; what is None holds as ever."""
    from genrec.common.config import validate
    from genrec.data import TextFormat

    names = None if columns is None else [name.strip() for name in columns.split(",")]
    stated = {
        "separator": separator,
        "encoding": encoding,
        "quoting": quoting and quoting.value,
        "columns": names,
        "date_format": date_format,
    }
    given = {name: value for name, value in stated.items() if value is not None}
    return validate(TextFormat, given, source="options")


@dataclass(frozen=True)
class Formats:
    """How product tables and logs are written: one word of an option holds for both, two for each."""

    separators: Sequence[str] = ()
    encodings: Sequence[str] = ()
    quotings: Sequence[Quoting] = ()
    item_columns: str | None = None
    log_columns: str | None = None
    date_format: str | None = None

    def of_items(self) -> TextFormat:
        """Of product tables."""
        return self._of(0, self.item_columns, None)

    def of_log(self) -> TextFormat:
        """Of logs."""
        return self._of(1, self.log_columns, self.date_format)

    def _of(self, which: int, columns: str | None, date_format: str | None) -> TextFormat:
        named: dict[str, Sequence[Any]] = {
            "--separator": self.separators,
            "--encoding": self.encodings,
            "--quoting": self.quotings,
        }
        for name, words in named.items():
            if len(words) > 2:
                raise InputError(
                    f"{name} is given {len(words)} times; once is for all text files, twice for those of "
                    "products and those of logs"
                )
        separator, encoding, quoting = (
            words[min(which, len(words) - 1)] if words else None for words in named.values()
        )
        return text_format(separator, encoding, quoting, columns, date_format)


def read_log(
    source: Path,
    catalog: Catalog,
    columns: dict[str, str | None],
    policy: dict[str, Any],
    format: TextFormat,
) -> Interactions:
    """Read a click log, and say in the program's log what was read and dropped.

    Args:
        source: the file.
        catalog: the items it may name.
        columns: names of its columns (`genrec.data.InteractionColumns`).
        policy: what to do with odd rows (`genrec.data.LogPolicy`).
        format: how a text file is written.
    """
    from genrec.common.config import validate
    from genrec.data import InteractionColumns, Interactions, LogPolicy

    log = Interactions.read(
        source,
        catalog=catalog,
        columns=validate(InteractionColumns, columns, source="options"),
        policy=validate(LogPolicy, policy, source="options"),
        format=format,
    )
    log_lines([*log.report.lines(), f"{len(log.histories):,} users"])
    return log


@dataclass(frozen=True)
class Columns:
    """What the columns of a product table and its log are called, and which rows of the log are kept.

    `lists` holds words such as ``tags=|`` (see `genrec.data.CatalogColumns`).
    """

    item_id: str
    title: str
    user_id: str
    log_item_id: str
    timestamp: str
    rating: str = "rating"
    unknown_items: Unknown = Unknown.refuse
    min_rating: float | None = None
    lists: Sequence[str] = ()
    formats: Formats = field(default_factory=Formats)
    missing_users: Unknown = Unknown.refuse
    history_separator: str | None = None
    events: str | None = None
    event_column: str = "event"
    repeats: Repeats = Repeats.keep

    def read_catalog(self, items: Path) -> Catalog:
        """Read a product table, and say in the program's log what was read and dropped."""
        from genrec.data import Catalog, CatalogColumns

        lists = dict(map(_list_column, self.lists))
        columns = CatalogColumns(item_id=self.item_id, title=self.title, lists=lists)
        catalog = Catalog.read(items, columns, self.formats.of_items())
        log_lines(catalog.report.lines())
        return catalog

    def read_log(self, interactions: Path, catalog: Catalog) -> Interactions:
        """Read a click log (see `read_log`)."""
        columns = {
            "user_id": self.user_id,
            "item_id": self.log_item_id,
            "timestamp": self.timestamp,
            "rating": self.rating,
            "event": self.event_column,
            "history_separator": self.history_separator,
        }
        policy = {
            "unknown_items": self.unknown_items.value,
            "missing_users": self.missing_users.value,
            "min_rating": self.min_rating,
            "events": event_words(self.events),
            "repeats": self.repeats.value,
        }
        return read_log(interactions, catalog, columns, policy, self.formats.of_log())


def _list_column(words: str) -> tuple[str, str]:
    """Take ``tags=|`` apart.

    Raises:
        InputError: it has no ``=``.
    """
    name, sign, separator = words.rpartition("=")
    if not sign:
        raise InputError(
            f"--list-column {words!r} is not NAME=SEPARATOR, such as 'tags=|', 'tags=[]' or 'tags=no'"
        )
    return name, separator


def event_words(words: str | None) -> tuple[str, ...] | None:
    """The events of ``--event``, with commas between them; None where all count.

    Raises:
        InputError: it names none.
    """
    if words is None:
        return None
    events = tuple(word.strip() for word in words.split(",") if word.strip())
    if not events:
        raise InputError(f"--event {words!r} names no event; give them as purchase,add_to_cart")
    return events


def read_shop(items: Path, interactions: Path, columns: Columns) -> tuple[Catalog, Interactions]:
    """Read a product table and its log."""
    catalog = columns.read_catalog(items)
    return catalog, columns.read_log(interactions, catalog)


def _own_name(path: Path) -> str:
    """What a product table is called: its file, or of a glob the folder that it looks into."""
    path = path.absolute()
    while set(path.name) & set("*?["):
        path = path.parent
    return path.name.split(".")[0]


def shop_names(items: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    """A name for each of several product tables: as given, or the files' own, or their folders'.

    Raises:
        InputError: too many or too few are given, one is no name of a folder, or they are not distinct.
    """
    if names:
        found = list(names)
        if len(found) != len(items):
            raise InputError(f"give a --name for each --items: {len(found)} for {len(items)}")
    else:
        found = [_own_name(path) for path in items]
        if len(set(found)) < len(found):
            found = [path.absolute().parent.name for path in items]
    if len(set(found)) < len(found):
        raise InputError(f"the catalogs need distinct names ({', '.join(found)}): give --name")
    for name in found:
        if not name or name != Path(name).name or name.startswith("."):
            raise InputError(f"--name {name!r} cannot be the name of a folder")
    return found
