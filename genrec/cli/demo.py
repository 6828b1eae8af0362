"""``genrec demo``: the whole path on a synthetic shop, measured against the best that is possible there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli.options import Json, OnceCommand
from genrec.cli.output import print_json, print_table

if TYPE_CHECKING:
    from rich.table import Table

    from genrec.data.synthetic import SyntheticData, SyntheticShop
    from genrec.evaluation import Evaluation
    from genrec.recommender.recommend import Recommendation

__all__ = ["DEMO_SETTINGS", "DemoResult", "commands", "run_demo"]

commands = typer.Typer(rich_markup_mode="rich")

DEMO_SETTINGS: dict[str, Any] = {
    "language_model": {"compact": {"width": 64, "layers": 1, "heads": 2, "dropout": 0.2}},
    "training": {"epochs": 1, "min_steps": 1500, "learning_rate": 4e-3, "validations": 4},
    "search": {"beams": 20},
}
"""Settings of a fit that takes under a minute; the rest is as for `genrec fit`."""

SHOWN = ("recall@5", "recall@10", "ndcg@10", "coverage@10")


@commands.command(
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
    result = run_demo(out)
    if as_json:
        print_json(result.document)
        return
    for table in result.tables:
        print_table(table)
    typer.echo(result.summary)


@dataclass(frozen=True)
class DemoResult:
    """What the demo shows.

    Attributes:
        document: everything as plain values. tables: the same for a terminal. summary: the last words.
    """

    document: dict[str, Any]
    tables: Sequence[Table]
    summary: str


def run_demo(out: Path | None = None, shop: SyntheticShop | None = None) -> DemoResult:
    """Make a shop, fit on it, evaluate, and recommend for one customer.

    Args:
        out: folder for the shop's two files and the recommender; None keeps nothing.
        shop: another shop than the default one.

    Raises:
        InputError: `out` exists or cannot be written.
    """
    from genrec.common.artifacts import atomic_folder, require_free
    from genrec.data.synthetic import generate
    from genrec.evaluation import compare, rich_table
    from genrec.generative_recommender import GenerativeRecommender
    from genrec.recommender.measure import measure
    from genrec.recommender.settings import FitSettings

    if out is not None:
        require_free(out, advice="choose another --out, or remove it")
    data = generate(shop)
    recommender = GenerativeRecommender.fit(
        data.catalog, data.log, FitSettings.model_validate(DEMO_SETTINGS)
    )
    mine, baselines = measure(recommender, baselines=True)
    if out is not None:
        with atomic_folder(out) as folder:
            data.write(folder)
            recommender.save_pretrained(folder / "recommender")
    cases = recommender.split.test
    best = data.best_recall(cases.histories, 10)
    history = [data.catalog.item_ids[item] for item in cases.histories[0]]
    found = recommender.recommend([history], k=5)[0]
    document = compare(mine, baselines) | {
        "best_possible": {"recall@10": best},
        "history": history,
        "recommendations": [item.facts() for item in found],
    }
    tables = [rich_table(mine, baselines, metrics=SHOWN), _story(data, history, found)]
    return DemoResult(document, tables, _summary(mine, baselines, best, out))


def _story(data: SyntheticData, history: list[str], found: list[Recommendation]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title="One customer: what was bought, and what genrec recommends", title_justify="left"
    )
    for column in ("", "item_id", "title", "score"):
        table.add_column(column)
    titles = data.catalog.titles
    for item_id, index in zip(history, data.catalog.index_of(history), strict=True):
        table.add_row("bought", escape(item_id), escape(titles[index]), "")
    table.add_section()
    for place, item in enumerate(found, start=1):
        words = [escape(item.item_id), escape(item.title)]
        table.add_row(f"#{place}", *words, f"{item.score:.2f}")
    return table


def _summary(mine: Evaluation, baselines: list[Evaluation], best: float, out: Path | None) -> str:
    name = "recall@10"
    others = ", ".join(f"{b.name} {b.metrics[name]:.3f}" for b in baselines if b.metrics[name])
    lines = [
        f"{name}: genrec {mine.metrics[name]:.3f}, {others}, best possible {best:.3f}; "
        f"{mine.invalid} invalid items"
    ]
    if out is not None:
        lines.append(
            f"Try: genrec recommend {out / 'recommender'} --history ID,ID  (ids in {out}/items.csv)"
        )
    return "\n".join(lines)
