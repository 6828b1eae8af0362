"""``genrec recommend`` and ``genrec titles``: what comes next."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.inputs import open_recommender, read_log, text_format
from genrec.cli.options import (
    DateFormat,
    Device,
    Dtype,
    Encoding,
    Engine,
    Folder,
    HistorySeparator,
    ItemId,
    Json,
    KeepSeen,
    LogColumns,
    MissingUsers,
    Mode,
    OnceCommand,
    Quoting,
    QuotingOf,
    Separator,
    Timestamp,
    TopK,
    Unknown,
    UnknownItems,
    UserId,
)
from genrec.cli.output import (
    log_lines,
    print_json,
    print_table,
    recommendations_table,
    titles_table,
)
from genrec.cli.request_words import excluding, split_ids
from genrec.common.errors import InputError

if TYPE_CHECKING:
    from genrec.common.ray_workers import RaySettings

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec recommend runs/shop --history B004756YJA,B004ZT0SSG -k 5\n\n"
    "genrec recommend runs/shop --history B004756YJA --where 'price<20' --where 'brand!=Acme'\n\n"
    "genrec recommend runs/shop --query 'gift for a gardener' --where 'price<20'\n\n"
    "genrec recommend runs/shop --history B004756YJA --query 'something blue' --json\n\n"
    "genrec recommend runs/shop --history B004756YJA,B004ZT0SSG --explain 2\n\n"
    "genrec recommend runs/shop --input users.parquet --output recommendations.parquet\n\n"
    "genrec recommend runs/shop --input users.parquet --output recs.parquet --engine ray --workers 8\n\n"
    "genrec recommend /mnt/shop --input users.parquet --output recs.parquet --engine ray --address auto",
)
def recommend(
    folder: Folder,
    history: Annotated[
        str | None, typer.Option(help="One user's item ids, oldest first: ID,ID,…")
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="Many users' histories.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Parquet, JSON lines or CSV for --input.")
    ] = None,
    k: TopK = 10,
    keep_seen: KeepSeen = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Return only such items: 'price<20', 'brand=A|B', …; may be repeated."),
    ] = None,
    allow: Annotated[
        str | None, typer.Option(help="Return only these items: ID,ID,… or @FILE, one a line.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            help="What is wanted now, in few words; with a history, with --input, or alone."
        ),
    ] = None,
    deny: Annotated[
        str, typer.Option(help="Never return these items: ID,ID,… or @FILE, one a line.")
    ] = "",
    explain: Annotated[
        int,
        typer.Option(
            min=0,
            help="Reasons for each item: what of the history raises its score, at most so many.",
        ),
    ] = 0,
    user_id: UserId = "user_id",
    item_id: ItemId = "item_id",
    timestamp: Timestamp = "timestamp",
    unknown_items: UnknownItems = Unknown.refuse,
    missing_users: MissingUsers = Unknown.refuse,
    history_separator: HistorySeparator = None,
    separator: Separator = None,
    encoding: Encoding = "utf-8",
    quoting: QuotingOf = Quoting.auto,
    log_columns: LogColumns = None,
    date_format: DateFormat = None,
    engine: Annotated[
        Engine,
        typer.Option(help="What works on --input: this process, or Ray workers (extra ray)."),
    ] = Engine.local,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the Ray cluster: local starts workers here, auto finds the one that this machine is "
            "part of, HOST:PORT names its head.",
            show_default="local",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Ray workers, each with one CPU, or one GPU where there is any.",
            show_default="as many as the cluster has",
        ),
    ] = None,
    as_json: Json = False,
    device: Device = "auto",
    dtype: Dtype = None,
) -> None:
    """Recommend items for one history, for a query in words, for both, or for a file of histories.

    Each item says by its basis what it came from: the model, the query, what sells. With --explain it names
    the items of the history without which its score would fall most, and by how much. With --input, the file
    has the columns of a click log; results are written as they come, and a run that was interrupted goes on
    where it stood, with whichever engine.

    With --engine ray, every machine of the cluster must see DIR under the same path and have this version of
    genrec; only this process reads --input and writes --output. Rows and their order are those of the local
    engine, scores equal to 1e-5; items that near to each other may change places.
    """
    from genrec.cli.request_words import check_sources, read_request
    from genrec.recommender.answer import unmatched_query
    from genrec.recommender.query import clean_query
    from genrec.recommender.recommend import recommend as answer_request
    from genrec.serving.ray_engine import RayEngine
    from genrec.serving.user_files import recommend_file, recommend_users, require_output

    query = None if query is None else clean_query(query)
    check_sources(history, query, input_file, output, as_json)
    cluster = _cluster(engine, address, workers, output)
    if output is not None:
        require_output(output)
    # Where workers search, this process only reads and writes.
    own_device = device if cluster is None else "cpu"
    recommender = open_recommender(folder, own_device, dtype, merged=True)
    request = read_request(recommender.catalog, k, excluding(keep_seen), allow, deny, where or [])
    request = replace(request, query=query, explain=explain)
    if query is not None and (note := unmatched_query(recommender, query)):
        logging.getLogger("genrec").warning("%s", note)
    if input_file is not None:
        columns = {
            "user_id": user_id,
            "item_id": item_id,
            "timestamp": timestamp,
            "history_separator": history_separator,
        }
        policy = {
            "unknown_items": unknown_items.value,
            "missing_users": missing_users.value,
            "empty_users": "keep",
        }
        format = text_format(separator, encoding, quoting, log_columns, date_format)
        log = read_log(input_file, recommender.catalog, columns, policy, format)
        if output is None:
            print_json(recommend_users(recommender, log, request))
        else:
            on_ray = None
            if cluster is not None:
                on_ray = RayEngine(folder, request, cluster, device, dtype)
            recommend_file(recommender, log, output, request, on_ray)
            log_lines([f"recommendations in {output}"])
        return
    [found] = answer_request(recommender, [split_ids(history or "")], request)
    if as_json:
        print_json({"recommendations": [item.facts() for item in found]})
        return
    if not found:
        log_lines(["no item is left: everything is seen, denied, or outside --allow and --where"])
    print_table(recommendations_table(found))


def _cluster(
    engine: Engine, address: str | None, workers: int | None, output: Path | None
) -> RaySettings | None:
    """The cluster that works; None for this process.

    Raises:
        InputError: the options do not stand together, or the cluster cannot be used.
    """
    from genrec.common.ray_workers import RaySettings, require_ray

    if engine is Engine.local:
        if address is not None or workers is not None:
            raise InputError("--address and --workers go with --engine ray")
        return None
    if output is None:
        raise InputError("--engine ray goes with --input and --output")
    given = {"address": address, "workers": workers}
    settings = RaySettings(**{name: value for name, value in given.items() if value is not None})
    require_ray(settings)
    return settings


@commands.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec titles runs/shop --history B004756YJA,B004ZT0SSG -n 5\n\n"
    "genrec titles runs/shop --history B004756YJA --mode grounded --json",
)
def titles(
    folder: Folder,
    history: Annotated[str, typer.Option(help="One user's item ids, oldest first: ID,ID,…")],
    n: Annotated[int, typer.Option("-n", min=1, help="Titles wanted.")] = 3,
    mode: Annotated[
        Mode, typer.Option(help="Likeliest titles, drawn ones, or one for each recommended item.")
    ] = Mode.beam,
    seed: Annotated[int, typer.Option(min=0, help="Of mode sample.")] = 0,
    as_json: Json = False,
    device: Device = "auto",
    dtype: Dtype = None,
) -> None:
    """Write titles of the next product, each with the real items nearest to it.

    Needs a recommender whose language model has learned it: genrec fit … tasks.next-title=0.5
    """
    from genrec.recommender.titles import WritingSettings

    recommender = open_recommender(folder, device, dtype, merged=True)
    settings = WritingSettings(mode=mode.value, seed=seed)
    found = recommender.generate_titles([split_ids(history)], n, settings)[0]
    if as_json:
        print_json({"titles": [asdict(title) for title in found]})
        return
    print_table(titles_table(found))
