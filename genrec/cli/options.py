"""Options that several commands share, and the command class that parses them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from genrec.common.errors import InputError

__all__ = [
    "COLUMNS",
    "ROWS",
    "TEXT_FILES",
    "DateFormat",
    "Device",
    "Dtype",
    "Encoding",
    "Encodings",
    "Engine",
    "Folder",
    "HistorySeparator",
    "ItemColumns",
    "ItemId",
    "Json",
    "KeepSeen",
    "ListColumn",
    "LogColumns",
    "MissingUsers",
    "Mode",
    "OnceCommand",
    "Part",
    "Quoting",
    "QuotingOf",
    "Quotings",
    "Repeats",
    "Separator",
    "Separators",
    "Timestamp",
    "TopK",
    "Unknown",
    "UnknownItems",
    "UserId",
]


class Mode(StrEnum):
    """How titles are written."""

    beam = "beam"
    sample = "sample"
    grounded = "grounded"


class Unknown(StrEnum):
    """What to do with log rows whose item is not in the catalog, or that have no user."""

    refuse = "refuse"
    drop = "drop"


class Repeats(StrEnum):
    """What to do with a user's repeats of an item."""

    keep = "keep"
    collapse_consecutive = "collapse_consecutive"
    keep_first = "keep_first"


class Engine(StrEnum):
    """What does the work of a batch."""

    local = "local"
    ray = "ray"


class Part(StrEnum):
    """Which cases to evaluate."""

    valid = "valid"
    test = "test"


class Quoting(StrEnum):
    """What a quote means in a text file."""

    auto = "auto"
    rfc4180 = "rfc4180"
    backslash = "backslash"
    none = "none"


COLUMNS, ROWS, TEXT_FILES = "Columns", "Rows of the log", "Text files"
"""Panels of ``--help``."""
_TWICE = " Twice: of the products, then of the log."
_SEPARATOR = "Between fields of text files: ';', tab, '::' …; else by the file's name."
_ENCODING = "Of text files: latin-1, cp1252, utf-16 …"
_QUOTING = (
    "Quotes in text files: rfc4180 (doubled inside quoted fields), backslash (one before them), none "
    "(characters like others)."
)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A recommender folder, made by 'genrec fit'.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
KeepSeen = Annotated[
    bool | None,
    typer.Option(
        "--keep-seen/--exclude-seen",
        help="Whether items of the history may be recommended.",
        show_default="as the fit found right for its log",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda …")]
Dtype = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(
        help="Precision of the language model: bfloat16 is up to 2.6 times as fast on a CPU that has it, and "
        "ranks near ties otherwise.",
        show_default="as it was trained",
    ),
]
TopK = Annotated[int, typer.Option("-k", "--k", min=1, help="How many items.")]
UserId = Annotated[str, typer.Option(help="Name of the user id column.", rich_help_panel=COLUMNS)]
ItemId = Annotated[str, typer.Option(help="Name of the item id column.", rich_help_panel=COLUMNS)]
ListColumn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SEPARATOR",
        help="How a text column writes lists: tags=|, tags=[] for JSON's and Python's, tags=no for none; "
        "else its values tell. Repeatable.",
        rich_help_panel=COLUMNS,
    ),
]
Timestamp = Annotated[
    str, typer.Option(help="Name of the time column; '' for none.", rich_help_panel=COLUMNS)
]
Separator = Annotated[str | None, typer.Option(help=_SEPARATOR, rich_help_panel=TEXT_FILES)]
Separators = Annotated[
    list[str] | None,
    typer.Option("--separator", help=_SEPARATOR + _TWICE, rich_help_panel=TEXT_FILES),
]
Encoding = Annotated[str, typer.Option(help=_ENCODING, rich_help_panel=TEXT_FILES)]
Encodings = Annotated[
    list[str] | None,
    typer.Option(
        "--encoding", help=_ENCODING + _TWICE, show_default="utf-8", rich_help_panel=TEXT_FILES
    ),
]
QuotingOf = Annotated[Quoting, typer.Option("--quoting", help=_QUOTING, rich_help_panel=TEXT_FILES)]
Quotings = Annotated[
    list[Quoting] | None,
    typer.Option(
        "--quoting", help=_QUOTING + _TWICE, show_default="auto", rich_help_panel=TEXT_FILES
    ),
]
ItemColumns = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME,…",
        help="The product table has no header row: names of its columns in order, _ for one not wanted.",
        rich_help_panel=TEXT_FILES,
    ),
]
LogColumns = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME,…",
        help="The log has no header row: names of its columns in order, _ for one not wanted.",
        rich_help_panel=TEXT_FILES,
    ),
]
DateFormat = Annotated[
    str | None,
    typer.Option(
        help="How the log writes times, as for strptime: '%d/%m/%Y %H:%M'; else numbers or ISO dates.",
        rich_help_panel=TEXT_FILES,
    ),
]
UnknownItems = Annotated[
    Unknown, typer.Option(help="Log rows of unknown items.", rich_help_panel=ROWS)
]
MissingUsers = Annotated[
    Unknown, typer.Option(help="Log rows without a user.", rich_help_panel=ROWS)
]
HistorySeparator = Annotated[
    str | None,
    typer.Option(
        help="What stands between the items where a row holds a list: '^', a word such as space, or no.",
        show_default="found where it is plain",
        rich_help_panel=ROWS,
    ),
]


class OnceCommand(TyperCommand):
    """A command that refuses an option given twice, where Typer would quietly take the last one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever, after a look at which parameters occur."""
        order = self.make_parser(ctx).parse_args(args=list(args))[2]
        for option in order:
            if (
                option.param_type_name == "option"
                and not option.multiple
                and order.count(option) > 1
            ):
                raise InputError(f"{option.opts[-1]} is given twice; keep one of the two")
        return super().parse_args(ctx, args)
