"""``genrec items``: a catalog that lives, without training again."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.inputs import text_format
from genrec.cli.options import (
    COLUMNS,
    Encoding,
    Folder,
    ItemColumns,
    ItemId,
    Json,
    OnceCommand,
    Quoting,
    QuotingOf,
    Separator,
)
from genrec.cli.output import log_lines, print_json

if TYPE_CHECKING:
    from genrec.recommender.catalog_change import CatalogChange

__all__ = ["commands"]

commands = typer.Typer(
    name="items",
    help="Add, remove and update items of a recommender, without training again.",
    epilog="[bold]Example[/]   genrec items add runs/shop --items new.csv",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Out = Annotated[
    Path | None, typer.Option(help="Folder to make; without it, DIR itself is changed.")
]


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec items add runs/shop --items new.csv\n\n"
    "genrec items add runs/shop --items new.jsonl.gz --item-id asin --out runs/shop2\n\n"
    "genrec items add runs/seen --items new.csv --vectors new_images.parquet",
)
def add(
    folder: Folder,
    items: Annotated[
        Path,
        typer.Option(
            help="New products: CSV, TSV, JSON lines or Parquet; a file, folder, glob or URL."
        ),
    ],
    item_id: ItemId = "item_id",
    title: Annotated[
        str, typer.Option(help="Name of the title column.", rich_help_panel=COLUMNS)
    ] = "title",
    separator: Separator = None,
    encoding: Encoding = "utf-8",
    quoting: QuotingOf = Quoting.auto,
    item_columns: ItemColumns = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(help="Vectors of the new items, for each --vectors of the fit, in its order."),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Add new products; they can be recommended at once.

    Products that are there keep their semantic IDs. The columns are those of the fit's table; one that is
    missing counts as unknown. Adding the same file twice is adding it once.
    """
    from genrec.data import Catalog, CatalogColumns
    from genrec.recommender.folder.restock import add_to_folder

    began = time.perf_counter()
    format = text_format(separator, encoding, quoting, item_columns)
    columns = CatalogColumns(item_id=item_id, title=title)
    catalog = Catalog.read(items, columns, format, feed=True)
    log_lines(catalog.report.lines())
    _tell(add_to_folder(folder, catalog, vectors or (), out), out or folder, began, as_json)


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec items remove runs/shop --ids B004756YJA,B004ZT0SSG\n\n"
    "genrec items remove runs/shop --ids @sold_out.txt --out runs/shop2",
)
def remove(
    folder: Folder,
    ids: Annotated[str, typer.Option(help="Products to remove: ID,ID,… or @FILE, one a line.")],
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Remove products, and their events from the log; they are never recommended again.

    What is only out of stock for a while needs no removal: see --deny and --allow of 'genrec recommend'.
    """
    from genrec.cli.request_words import read_ids
    from genrec.recommender.folder.restock import remove_from_folder

    began = time.perf_counter()
    change = remove_from_folder(folder, lambda catalog: read_ids(ids, catalog), out)
    _tell(change, out or folder, began, as_json)


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec items update runs/shop --items feed.csv --dry-run\n\n"
    "genrec items update runs/shop --items feed.csv --remove-missing\n\n"
    "genrec items update runs/shop --items feed.csv --recode --out runs/shop2",
)
def update(
    folder: Folder,
    items: Annotated[
        Path, typer.Option(help="Products as they are now: CSV, TSV, JSON lines or Parquet.")
    ],
    item_id: ItemId = "item_id",
    title: Annotated[
        str, typer.Option(help="Name of the title column.", rich_help_panel=COLUMNS)
    ] = "title",
    separator: Separator = None,
    encoding: Encoding = "utf-8",
    quoting: QuotingOf = Quoting.auto,
    item_columns: ItemColumns = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(help="Vectors of the new items, for each --vectors of the fit, in its order."),
    ] = None,
    remove_missing: Annotated[
        bool,
        typer.Option("--remove-missing", help="Remove products that the feed lacks, and events."),
    ] = False,
    recode: Annotated[
        bool,
        typer.Option("--recode", help="New semantic IDs for products whose text or image changed."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and write nothing.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Follow a feed: new products are added, and changed prices, stocks and titles taken over.

    Semantic IDs and events of the products that are there are kept. A column that the feed lacks stays as it
    is, and 1.5 for 1.50 is no change.
    """
    from genrec.common.errors import InputError
    from genrec.data import Catalog, CatalogColumns
    from genrec.recommender.folder.restock import update_folder

    if dry_run and out is not None:
        raise InputError("--dry-run writes nothing: leave --out out, or --dry-run")
    began = time.perf_counter()
    format = text_format(separator, encoding, quoting, item_columns)
    columns = CatalogColumns(item_id=item_id, title=title)
    catalog = Catalog.read(items, columns, format, feed=True)
    log_lines(catalog.report.lines())
    options = {"remove_missing": remove_missing, "recode": recode, "dry_run": dry_run}
    change = update_folder(folder, catalog, vectors or (), out, **options)
    if dry_run and not as_json:
        typer.echo(
            "\n".join(
                ["nothing is written; it would be:", *change.lines(), *change.example_lines()]
            )
        )
        return
    _tell(change, out or folder, began, as_json, dry_run)


def _tell(
    change: CatalogChange, folder: Path, began: float, as_json: bool, dry_run: bool = False
) -> None:
    seconds = time.perf_counter() - began
    if as_json:
        facts = {"folder": str(folder), "seconds": round(seconds, 2)}
        print_json(asdict(change) | facts | ({"dry_run": True} if dry_run else {}))
        return
    log_lines([f"recommender in {folder}; {seconds:.1f} s"])
