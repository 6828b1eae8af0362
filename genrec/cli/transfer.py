"""``genrec transfer``: a recommender on a catalog that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli.inputs import Columns, Formats, open_recommender
from genrec.cli.options import (
    COLUMNS,
    DateFormat,
    Encodings,
    Folder,
    HistorySeparator,
    ItemColumns,
    ItemId,
    ListColumn,
    LogColumns,
    MissingUsers,
    OnceCommand,
    Quotings,
    Separators,
    Timestamp,
    Unknown,
    UnknownItems,
    UserId,
)
from genrec.cli.output import log_lines

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec transfer runs/both/beauty --items toys.parquet --out runs/toys\n\n"
    "genrec transfer runs/both/beauty --items toys.csv --interactions log.csv --out runs/toys   then   "
    "genrec evaluate runs/toys --baselines",
)
def transfer(
    folder: Folder,
    items: Annotated[
        Path,
        typer.Option(
            help="New products: CSV, TSV, JSON lines or Parquet; a file, folder, glob or URL."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    interactions: Annotated[
        Path | None,
        typer.Option(help="Click log of the new products, to evaluate on; not learned from."),
    ] = None,
    text_weight: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.99, help="Share of items whose texts are like those of the history."
        ),
    ] = None,
    pointer_weight: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.99, help="Share of the pointer in the language model, if it has one."
        ),
    ] = None,
    repeat_weight: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.99, help="Share in the pointer of items that the history holds already."
        ),
    ] = None,
    item_id: ItemId = "item_id",
    log_item_id: Annotated[
        str | None,
        typer.Option(
            help="Name of the log's item id column, if it is another.", rich_help_panel=COLUMNS
        ),
    ] = None,
    title: Annotated[
        str, typer.Option(help="Name of the title column.", rich_help_panel=COLUMNS)
    ] = "title",
    list_column: ListColumn = None,
    user_id: UserId = "user_id",
    timestamp: Timestamp = "timestamp",
    unknown_items: UnknownItems = Unknown.refuse,
    missing_users: MissingUsers = Unknown.refuse,
    history_separator: HistorySeparator = None,
    separator: Separators = None,
    encoding: Encodings = None,
    quoting: Quotings = None,
    item_columns: ItemColumns = None,
    log_columns: LogColumns = None,
    date_format: DateFormat = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(help="Vectors of the new items, for each --vectors of the fit, in its order."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing --out.")
    ] = False,
) -> None:
    """Recommend from another catalog at once: same language model, new products, no training.

    It works best from a fit on several catalogs, with an encoder whose vectors mean the same in all of them
    (encoder.name=minilm). To learn from the new products' log afterwards: genrec fit --from.
    """
    from genrec.common.artifacts import reserved
    from genrec.recommender.transfer import TransferSettings
    from genrec.recommender.transfer import transfer as transferred

    columns = Columns(
        item_id,
        title,
        user_id,
        log_item_id or item_id,
        timestamp,
        unknown_items=unknown_items,
        lists=list_column or (),
        formats=Formats(
            separator or (), encoding or (), quoting or (), item_columns, log_columns, date_format
        ),
        missing_users=missing_users,
        history_separator=history_separator,
    )
    stated = {
        "text_weight": text_weight,
        "pointer_weight": pointer_weight,
        "repeat_weight": repeat_weight,
    }
    chosen = TransferSettings(**{name: v for name, v in stated.items() if v is not None})
    with reserved(
        out, overwrite=overwrite, advice="choose another --out, or replace it with --overwrite"
    ):
        recommender = open_recommender(folder, "cpu")
        catalog = columns.read_catalog(items)
        log = None if interactions is None else columns.read_log(interactions, catalog)
        moved = transferred(recommender, catalog, log, chosen, vectors=vectors or ())
        moved.save_pretrained(out, overwrite=overwrite)
    log_lines([f"recommender in {out}; next: genrec recommend {out} --history ID,ID,…"])
