"""Output of the commands: tables for people, JSON for programs, lines in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from genrec.fitting.ablation import AblationRow
    from genrec.recommender.recommend import Recommendation
    from genrec.recommender.titles import WrittenTitle

__all__ = [
    "components_table",
    "log_lines",
    "print_json",
    "print_table",
    "recommendations_table",
    "titles_table",
]


def recommendations_table(found: Sequence[Recommendation]) -> Table:
    """Lay out one user's recommendations, best first; the caption says what they came from.

    Where reasons were asked for, a column names them, each with what the score would change by without it.
    """
    from collections import Counter

    from rich.markup import escape
    from rich.table import Table

    basis = Counter(item.basis for item in found)
    table = Table(title="Recommendations", title_justify="left", caption_justify="left")
    if found:
        table.caption = "by " + ", ".join(f"{name} ({count})" for name, count in basis.items())
    table.add_column("#", justify="right")
    table.add_column("item_id")
    table.add_column("title", overflow="fold")
    table.add_column("score", justify="right")
    explained = any(item.reasons is not None for item in found)
    if explained:
        table.add_column("without …: change of score", overflow="fold")
    for place, item in enumerate(found, start=1):
        row = [str(place), escape(item.item_id), escape(item.title), f"{item.score:.3f}"]
        reasons = [f"{escape(r.title)}: {r.score_change:.3f}" for r in item.reasons or ()]
        table.add_row(*row, *(["\n".join(reasons)] if explained else []))
    return table


def titles_table(found: Sequence[WrittenTitle]) -> Table:
    """Lay out one user's written titles, best first, with the real items nearest to each."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Titles", title_justify="left", show_lines=True)
    table.add_column("written", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("nearest items", overflow="fold")
    for title in found:
        near = [f"{n.similarity:.2f}  {n.item_id}  {escape(n.title)}" for n in title.nearest]
        table.add_row(escape(title.title), f"{title.score:.2f}", "\n".join(near))
    return table


def components_table(rows: Sequence[AblationRow]) -> Table:
    """Lay out what each part of a mixture brings, with its weights; the whole stands first."""
    from rich.markup import escape
    from rich.table import Table

    k = max(rows[0].evaluation.protocol.ks)
    names = list(rows[0].weights)
    table = Table(title="What each part brings", title_justify="left", caption_justify="left")
    table.caption = (
        "Where a part is left out, the others' weights are chosen anew on validation. Lost: the whole less "
        "the row, user by user."
    )
    table.add_column("parts")
    for column in (f"recall@{k}", f"ndcg@{k}", f"ndcg@{k} lost", *names):
        table.add_column(column, justify="right")
    for row in rows:
        cells = [
            f"{row.evaluation.metrics[name]:.4f}\n[dim]({low:.4f} to {high:.4f})[/]"
            for name in (f"recall@{k}", f"ndcg@{k}")
            for low, high in [row.evaluation.confidence[name]]
        ]
        lost = ""
        if row.differences is not None:
            found = row.differences[f"ndcg@{k}"]
            lost = f"{found.value:+.4f}\n[dim]({found.low:+.4f} to {found.high:+.4f})[/]"
        weights = [f"{row.weights[name]:.3f}" if name in row.weights else "" for name in names]
        table.add_row(escape(row.name), *cells, lost, *weights)
    return table


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    from rich.console import Console

    console = Console()
    # Piped output has no width of its own: a table must not be folded to 80 columns.
    console.print(table) if console.is_terminal else Console(width=160).print(table)


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def log_lines(lines: Sequence[str]) -> None:
    """Tell the log, which stands on standard error."""
    for line in lines:
        logging.getLogger("genrec").info("%s", line)
