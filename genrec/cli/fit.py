"""``genrec fit``: from tables to a recommender."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.inputs import Columns, Formats, open_recommender, read_shop, shop_names
from genrec.cli.options import (
    COLUMNS,
    ROWS,
    DateFormat,
    Encodings,
    HistorySeparator,
    ItemColumns,
    ListColumn,
    LogColumns,
    MissingUsers,
    OnceCommand,
    Quotings,
    Repeats,
    Separators,
    Timestamp,
    Unknown,
    UnknownItems,
    UserId,
)
from genrec.cli.output import log_lines
from genrec.common.errors import InputError

if TYPE_CHECKING:
    from genrec.recommender.settings import FitSettings

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec fit --items items.csv --interactions clicks.csv --out runs/shop\n\n"
    "genrec fit --items p.jsonl.gz --interactions c.parquet --item-id asin --out runs/b seed=1\n\n"
    "genrec fit --items movies.dat --interactions ratings.dat --separator :: --encoding latin-1 "
    "--item-columns item_id,title,genres --log-columns user_id,item_id,rating,timestamp --out runs/films\n\n"
    "genrec fit … --out runs/seen --vectors images.parquet --vectors audio.npy:0.5\n\n"
    "genrec fit … --out runs/qwen language_model.backbone=Qwen/Qwen3-0.6B language_model.dtype=bfloat16\n\n"
    "genrec fit --items a.csv --interactions a_log.csv --items b.csv --interactions b_log.csv "
    "--out runs/both encoder.name=minilm\n\n"
    "genrec fit --from runs/moved --interactions first_week.csv --out runs/week split.train_share=0.5",
)
def fit(
    interactions: Annotated[
        list[Path],
        typer.Option(help="Click log, in any of these formats; one for each --items, in order."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    items: Annotated[
        list[Path] | None,
        typer.Option(
            help="Product table: CSV, TSV, JSON lines or Parquet; a file, folder, glob in quotes or URL. Of "
            "several, one language model learns all."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as seed=1.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Go on from this recommender: its items, codes and language model; without --items.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Of each of several catalogs, in order; else from the files' names."),
    ] = None,
    item_id: Annotated[
        str,
        typer.Option(
            help="Name of the item id column, in all files; see --log-item-id.",
            rich_help_panel=COLUMNS,
        ),
    ] = "item_id",
    log_item_id: Annotated[
        str | None,
        typer.Option(
            help="Name of the logs' item id column, if it is another.", rich_help_panel=COLUMNS
        ),
    ] = None,
    title: Annotated[
        str, typer.Option(help="Name of the title column.", rich_help_panel=COLUMNS)
    ] = "title",
    list_column: ListColumn = None,
    user_id: UserId = "user_id",
    timestamp: Timestamp = "timestamp",
    rating: Annotated[
        str, typer.Option(help="Name of the rating column.", rich_help_panel=COLUMNS)
    ] = "rating",
    min_rating: Annotated[
        float | None, typer.Option(help="Drop lower ratings.", rich_help_panel=ROWS)
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            help="Count only these: purchase,add_to_cart …",
            show_default="all",
            rich_help_panel=ROWS,
        ),
    ] = None,
    event_column: Annotated[
        str, typer.Option(help="Name of the column of --event.", rich_help_panel=COLUMNS)
    ] = "event",
    repeats: Annotated[
        Repeats,
        typer.Option(
            help="An item that a user comes back to: keep it, only with another item between, or the "
            "first time alone.",
            rich_help_panel=ROWS,
        ),
    ] = Repeats.keep,
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
        list[str] | None,
        typer.Option(metavar="FILE[:WEIGHT]", help="Item vectors, .parquet or .npy; repeatable."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing --out.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Discard an unfinished fit.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse to train on poor semantic IDs; else warn.")
    ] = False,
) -> None:
    """Fit a recommender on your product table and click log, or on several of each.

    A fit that was interrupted goes on where it stood when the same command is run again.
    """
    from genrec.common.artifacts import require_free
    from genrec.data.vectors import vectors_setting

    words = [*(settings or []), *vectors_setting(vectors or [])]
    words += ["gate.strict=true"] if strict else []
    columns = Columns(
        item_id=item_id,
        title=title,
        user_id=user_id,
        log_item_id=log_item_id or item_id,
        timestamp=timestamp,
        rating=rating,
        unknown_items=unknown_items,
        missing_users=missing_users,
        min_rating=min_rating,
        lists=list_column or (),
        history_separator=history_separator,
        events=event,
        event_column=event_column,
        repeats=repeats,
        formats=Formats(
            separator or (), encoding or (), quoting or (), item_columns, log_columns, date_format
        ),
    )
    _check_pairs(items or [], interactions, name, start)
    require_free(
        out, overwrite=overwrite, advice="choose another --out, or replace it with --overwrite"
    )
    options = {"overwrite": overwrite, "restart": restart}
    if start is not None:
        _fit_on(start, interactions[0], columns, config, words, out, options)
        return
    from genrec.common.config import load_settings
    from genrec.recommender.settings import FitSettings

    chosen = load_settings(FitSettings, config, words)
    pairs = list(zip(items or [], interactions, strict=True))
    if len(pairs) == 1 and not name:
        _fit_one(*pairs[0], columns, chosen, out, options)
    else:
        _fit_several(pairs, name, columns, chosen, out, options)


def _check_pairs(
    items: list[Path], interactions: list[Path], names: list[str] | None, start: Path | None
) -> None:
    if start is not None:
        if items or names or len(interactions) != 1:
            raise InputError(
                "--from goes with one --interactions, no --items and no --name: the catalog is that of the "
                "recommender; for another one run genrec transfer first"
            )
    elif len(items) != len(interactions):
        raise InputError(
            f"give an --interactions for each --items, in the same order: {len(items)} and "
            f"{len(interactions)} are given"
        )


def _fit_one(
    items: Path,
    interactions: Path,
    columns: Columns,
    settings: FitSettings,
    out: Path,
    options: dict[str, bool],
) -> None:
    from genrec.data.item_text import describe_texts
    from genrec.fitting.fit import fit_folder
    from genrec.generative_recommender import GenerativeRecommender

    catalog, log = read_shop(items, interactions, columns)
    log_lines(describe_texts(catalog.table, settings.template))
    fit_folder(GenerativeRecommender, catalog, log, settings, out, **options)
    log_lines([f"recommender in {out}; next: genrec evaluate {out} --baselines"])


def _fit_several(
    pairs: list[tuple[Path, Path]],
    names: list[str] | None,
    columns: Columns,
    settings: FitSettings,
    out: Path,
    options: dict[str, bool],
) -> None:
    from genrec.data.item_text import describe_texts
    from genrec.fitting.together import Shop, fit_together, shared_settings
    from genrec.generative_recommender import GenerativeRecommender

    settings = shared_settings(settings)
    named = zip(shop_names([items for items, _ in pairs], names), pairs, strict=True)
    shops = {name: Shop(*read_shop(*pair, columns)) for name, pair in named}
    for name, shop in shops.items():
        log_lines([f"{name}:", *describe_texts(shop.catalog.table, settings.template)])
    fit_together(GenerativeRecommender, shops, settings, out, **options)
    some = out / next(iter(shops))
    log_lines(
        [
            f"recommenders in {out}: {', '.join(shops)}; next: genrec evaluate {some} --baselines, or "
            f"genrec transfer {some} --items NEW --out DIR"
        ]
    )


def _fit_on(
    start: Path,
    interactions: Path,
    columns: Columns,
    config: Path | None,
    words: list[str],
    out: Path,
    options: dict[str, bool],
) -> None:
    from genrec.fitting.further import fit_further, further_settings

    recommender = open_recommender(start, "auto", merged=True)
    settings = further_settings(recommender, config, words)
    log = columns.read_log(interactions, recommender.catalog)
    fit_further(recommender.changed(log=log), settings, out, **options)
    log_lines([f"recommender in {out}; next: genrec evaluate {out} --baselines"])
