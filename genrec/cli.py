"""The `genrec` command: options in, library calls, tables or JSON out.

Standard output carries results only; progress and the log go to standard error. Exit status: see
`genrec.program`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from genrec.inputs import open_recommender, read_log, split_ids
from genrec.items_cli import items_app
from genrec.options import (
    Device,
    Dtype,
    Folder,
    ItemId,
    Json,
    KeepSeen,
    Mode,
    OnceCommand,
    Part,
    Timestamp,
    TopK,
    Unknown,
    UnknownItems,
    UserId,
)
from genrec.output import log_lines, print_json, print_table, recommendations_table, titles_table
from genrec.program import log_to_stderr, program

__all__ = ["app", "main"]

app = typer.Typer(
    name="genrec",
    help="Turn a product table and a click log into an LLM recommender that can only name real items.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(items_app)


@app.callback(invoke_without_command=True)
def _root(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from genrec.artifacts import genrec_version

        typer.echo(genrec_version())
        raise typer.Exit
    log_to_stderr(quiet=quiet)


@app.command(
    cls=OnceCommand,
    epilog="[bold]Example[/]   genrec demo --out runs/demo   then   genrec inspect runs/demo/recommender",
)
def demo(
    out: Annotated[
        Path | None, typer.Option(help="Keep data and recommender in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit, evaluate and recommend on a synthetic shop whose best possible recall is known.

    Takes about a minute on 2 cores and needs no download.
    """
    from genrec.demo import run_demo

    result = run_demo(out)
    if as_json:
        print_json(result.document)
        return
    for table in result.tables:
        print_table(table)
    typer.echo(result.summary)


@app.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec fit --items items.csv --interactions clicks.csv --out runs/shop\n\n"
    "genrec fit --items p.jsonl.gz --interactions c.parquet --item-id asin --out runs/b seed=1\n\n"
    "genrec fit … --out runs/seen --vectors images.parquet --vectors audio.npy:0.5\n\n"
    "genrec fit … --out runs/qwen language_model.backbone=Qwen/Qwen3-0.6B language_model.dtype=bfloat16",
)
def fit(
    items: Annotated[Path, typer.Option(help="Product table: CSV, TSV, JSON lines or Parquet.")],
    interactions: Annotated[Path, typer.Option(help="Click log, in any of these formats.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as seed=1.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    item_id: Annotated[
        str, typer.Option(help="Name of the item id column, in both files; see --log-item-id.")
    ] = "item_id",
    log_item_id: Annotated[
        str | None, typer.Option(help="Name of the log's item id column, if it is another.")
    ] = None,
    title: Annotated[str, typer.Option(help="Name of the title column.")] = "title",
    user_id: UserId = "user_id",
    timestamp: Timestamp = "timestamp",
    rating: Annotated[str, typer.Option(help="Name of the rating column.")] = "rating",
    min_rating: Annotated[float | None, typer.Option(help="Drop lower ratings.")] = None,
    unknown_items: UnknownItems = Unknown.refuse,
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
    """Fit a recommender on your product table and click log.

    A fit that was interrupted goes on where it stood when the same command is run again.
    """
    from genrec.artifacts import require_free
    from genrec.config import load_settings
    from genrec.data import Catalog, CatalogColumns
    from genrec.data.vectors import vectors_setting
    from genrec.fitting import fit_folder
    from genrec.settings import FitSettings

    words = [*(settings or []), *vectors_setting(vectors or [])]
    words += ["gate.strict=true"] if strict else []
    chosen = load_settings(FitSettings, config, words)
    require_free(
        out, overwrite=overwrite, advice="choose another --out, or replace it with --overwrite"
    )
    catalog = Catalog.read(items, CatalogColumns(item_id=item_id, title=title))
    log_lines(catalog.report.lines())
    columns = {"user_id": user_id, "timestamp": timestamp, "rating": rating}
    columns["item_id"] = log_item_id or item_id
    policy = {"unknown_items": unknown_items.value, "min_rating": min_rating}
    log = read_log(interactions, catalog, columns, policy)
    fit_folder(catalog, log, chosen, out, overwrite=overwrite, restart=restart)
    log_lines([f"recommender in {out}; next: genrec evaluate {out} --baselines"])


@app.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec evaluate runs/shop --baselines --report report.html\n\n"
    "genrec evaluate runs/shop runs/other --json results.json",
)
def evaluate(
    folder: Folder,
    other: Annotated[
        Path | None,
        typer.Argument(metavar="[OTHER]", help="Another, or a baseline, for paired tests."),
    ] = None,
    split: Annotated[
        Part, typer.Option(help="Which cases; test is for reporting only.")
    ] = Part.test,
    k: Annotated[
        list[int] | None, typer.Option("-k", "--k", min=1, help="Cut-offs; 5 and 10 unless given.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Add the baselines' rows.")
    ] = False,
    keep_seen: KeepSeen = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the result here; '-' prints it and nothing else."),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Write every case's result, a Parquet file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page with plots, which stands alone.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = None,
) -> None:
    """Measure a recommender on held-out items: full ranking, every user, confidence intervals."""
    from genrec.evaluating import EvaluationRequest, run_evaluation

    request = EvaluationRequest(
        folder,
        other,
        split.value,
        tuple(k or (5, 10)),
        not keep_seen,
        baselines,
        json_file=json_file,
        cases=cases,
        report=report,
        device=device,
        dtype=dtype,
    )
    run_evaluation(request)


@app.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec recommend runs/shop --history B004756YJA,B004ZT0SSG -k 5\n\n"
    "genrec recommend runs/shop --history B004756YJA --where 'price<20' --where 'brand!=Acme'\n\n"
    "genrec recommend runs/shop --query 'gift for a gardener' --where 'price<20'\n\n"
    "genrec recommend runs/shop --history B004756YJA --query 'something blue' --json\n\n"
    "genrec recommend runs/shop --input users.parquet --output recommendations.parquet",
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
    keep_seen: KeepSeen = False,
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
    user_id: UserId = "user_id",
    item_id: ItemId = "item_id",
    timestamp: Timestamp = "timestamp",
    unknown_items: UnknownItems = Unknown.refuse,
    as_json: Json = False,
    device: Device = "auto",
    dtype: Dtype = None,
) -> None:
    """Recommend items for one history, for a query in words, for both, or for a file of histories.

    Each item says by its basis what it came from: the model, the query, what sells. With --input, the file
    has the columns of a click log; results are written as they come, and a run that was interrupted goes on
    where it stood.
    """
    from genrec.answering import unheard
    from genrec.batch import recommend_file, recommend_users, require_output
    from genrec.query import clean_query
    from genrec.request import check_sources, read_request

    query = clean_query(query)
    check_sources(history, query, input_file, output, as_json)
    if output is not None:
        require_output(output)
    recommender = open_recommender(folder, device, dtype, merged=True)
    request = read_request(recommender.catalog, k, not keep_seen, allow, deny, where or [])
    request = replace(request, query=query)
    if query is not None and (note := unheard(recommender, query)):
        logging.getLogger("genrec").warning("%s", note)
    if input_file is not None:
        columns = {"user_id": user_id, "item_id": item_id, "timestamp": timestamp}
        policy = {"unknown_items": unknown_items.value}
        log = read_log(input_file, recommender.catalog, columns, policy)
        if output is None:
            print_json(recommend_users(recommender, log, request))
        else:
            recommend_file(recommender, log, output, request)
            log_lines([f"recommendations in {output}"])
        return
    found = recommender.recommend([split_ids(history or "")], **request.options())[0]
    if as_json:
        print_json({"recommendations": [vars(item) for item in found]})
        return
    if not found:
        log_lines(["no item is left: everything is seen, denied, or outside --allow and --where"])
    print_table(recommendations_table(found))


@app.command(
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
    from genrec.titles import WritingSettings

    recommender = open_recommender(folder, device, dtype, merged=True)
    settings = WritingSettings(mode=mode.value, seed=seed)
    found = recommender.generate_titles([split_ids(history)], n, settings)[0]
    if as_json:
        print_json({"titles": [asdict(title) for title in found]})
        return
    print_table(titles_table(found))


@app.command(
    cls=OnceCommand,
    epilog="[bold]Examples[/]\n\n"
    "genrec inspect runs/shop --json\n\n"
    "genrec inspect runs/shop --out report.html --against runs/earlier",
)
def inspect(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(help="Write an HTML page with plots, which stands alone.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Another recommender: how many items' codes changed since."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a recommender is made of, and how good its semantic IDs are."""
    from genrec.inspecting import inspect_recommender, inspection_tables
    from genrec.inspection_page import require_page, write_page
    from genrec.recommender_files import read_catalog

    if out is not None:
        require_page(out)
    earlier = None if against is None else read_catalog(against)[1]
    document = inspect_recommender(open_recommender(folder, "cpu"), earlier)
    if out is not None:
        write_page(document, folder.resolve().name, out)
        log_lines([f"report in {out}"])
    if as_json:
        print_json(document)
        return
    for table in inspection_tables(document):
        print_table(table)


@app.command(
    cls=OnceCommand,
    epilog="[bold]Example[/]   genrec export runs/shop --out models/shop",
)
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    base: Annotated[
        str | None, typer.Option(help="Where a tuned model's base lies now, if it has moved.")
    ] = None,
) -> None:
    """Write the language model, its adapter merged, as Transformers and vLLM read it.

    The folder's README.md holds a program that generates items with it.
    """
    from genrec.exporting import export_model

    export_model(folder, out, base=base)
    log_lines([f"language model in {out}; next: see {out / 'README.md'}"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; the console script's entry point."""
    with program():
        app(arguments)
