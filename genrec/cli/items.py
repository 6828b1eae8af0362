"""``genrec items``: a catalog that lives, without training again."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.options import Folder, ItemId, Json, OnceCommand
from genrec.cli.output import log_lines, print_json

if TYPE_CHECKING:
    from genrec.recommender.catalog import CatalogChange

__all__ = ["commands"]

commands = typer.Typer(
    name="items",
    help="Add items to a recommender and remove them, without training again.",
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
    items: Annotated[Path, typer.Option(help="New products: CSV, TSV, JSON lines or Parquet.")],
    item_id: ItemId = "item_id",
    title: Annotated[str, typer.Option(help="Name of the title column.")] = "title",
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
    catalog = Catalog.read(items, CatalogColumns(item_id=item_id, title=title))
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


def _tell(change: CatalogChange, folder: Path, began: float, as_json: bool) -> None:
    seconds = time.perf_counter() - began
    if as_json:
        print_json(asdict(change) | {"folder": str(folder), "seconds": round(seconds, 2)})
        return
    log_lines([f"recommender in {folder}; {seconds:.1f} s"])
