"""Result tables: the model beside its baselines, with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from genrec.common.errors import InputError
from genrec.evaluation.evaluate import Evaluation, check_comparable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["differences_table", "markdown_table", "rich_table", "shown_metrics", "slices_table"]

SHOWN = ("recall", "ndcg", "coverage")
"""What a table shows first; hit, mrr and map say the same again or in other words."""
SLICES = {"same_time": "at the time of the event before"}
"""Slices whose name does not say what they are."""


def shown_metrics(evaluation: Evaluation) -> list[str]:
    """Return the metrics that a table of a screen's width has room for: recall, ndcg, coverage.

    Where items have no training event, how much of the longest list they fill stands beside them.
    """
    shown = [f"{name}@{k}" for name in SHOWN for k in evaluation.protocol.ks]
    cold = f"cold_share@{max(evaluation.protocol.ks)}"
    return [*shown, cold] if cold in evaluation.metrics else shown


def rich_table(
    model: Evaluation,
    baselines: Sequence[Evaluation] = (),
    *,
    percent: bool = False,
    metrics: Sequence[str] | None = None,
) -> Table:
    """Lay the evaluations out for a terminal, the best mean of each column in bold.

    Args:
        model: first row.
        baselines: further rows, in this order.
        percent: metrics as percentages with 2 decimals instead of fractions with 4.
        metrics: columns, such as ``("recall@10", "ndcg@10")``; None shows all.

    Raises:
        InputError: the evaluations are not comparable, or a metric was not computed.
    """
    from rich.markup import escape
    from rich.table import Table

    columns = _columns(model, baselines, metrics)
    table = Table("recommender", title=_title(model), caption=_caption(model), title_justify="left")
    for name in (*columns, "invalid", "seconds"):
        table.add_column(name, justify="right")
    for evaluation in (model, *baselines):
        cells = [_rich_cell(evaluation, name, percent, (model, *baselines)) for name in columns]
        table.add_row(escape(evaluation.name), *cells, *_counts(evaluation))
    return table


def slices_table(evaluation: Evaluation) -> Table:
    """Lay out one evaluation's slices, with recall and ndcg at the largest k; empty ones are left out."""
    from rich.table import Table

    k = max(evaluation.protocol.ks)
    names = (f"recall@{k}", f"ndcg@{k}")
    table = Table(title=f"{evaluation.name} by kind of case", title_justify="left")
    for column in ("slice", "cases", *names):
        table.add_column(column, justify="left" if column == "slice" else "right")
    for name, part in evaluation.slices.items():
        if part.cases:
            cells = [
                f"{part.metrics[metric]:.4f} ({low:.4f} to {high:.4f})"
                for metric in names
                for low, high in [part.confidence[metric]]
            ]
            table.add_row(SLICES.get(name, name.replace("_", " ")), f"{part.cases:,}", *cells)
    return table


def differences_table(model: str, other: str, found: Mapping[str, Mapping[str, float]]) -> Table:
    """Lay out what `paired_differences` found between two recommenders, as plain values."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{escape(model)} less {escape(other)}", title_justify="left")
    for column in ("metric", "difference", "interval", "p"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name, difference in found.items():
        ends = f"{difference['low']:+.4f} to {difference['high']:+.4f}"
        table.add_row(name, f"{difference['value']:+.4f}", ends, f"{difference['p']:.4f}")
    return table


def markdown_table(
    model: Evaluation,
    baselines: Sequence[Evaluation] = (),
    *,
    percent: bool = False,
    metrics: Sequence[str] | None = None,
) -> str:
    """Return the table as plain Markdown, the protocol in a line below it (see `rich_table`)."""
    columns = _columns(model, baselines, metrics)
    rows = [["recommender", *columns, "invalid", "seconds"]]
    rows.append(["---", *["---:"] * (len(columns) + 2)])
    for evaluation in (model, *baselines):
        cells = [" ".join(_mean_and_ends(evaluation, name, percent)) for name in columns]
        rows.append([evaluation.name, *cells, *_counts(evaluation)])
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([*lines, "", f"{_title(model)}. {_caption(model)}."])


def _columns(
    model: Evaluation, baselines: Sequence[Evaluation], metrics: Sequence[str] | None
) -> list[str]:
    """Return the metrics to show, having checked that every evaluation has them comparably."""
    for baseline in baselines:
        check_comparable(model, baseline)
    for name in metrics or ():
        if name not in model.metrics:
            raise InputError(f"metric {name!r} was not computed; known: {', '.join(model.metrics)}")
    return list(metrics or model.metrics)


def _rich_cell(
    evaluation: Evaluation, name: str, percent: bool, rivals: Sequence[Evaluation]
) -> str:
    mean, *ends = _mean_and_ends(evaluation, name, percent)
    best = evaluation.metrics[name] == max(rival.metrics[name] for rival in rivals)
    return "\n".join([f"[bold]{mean}[/]" if best else mean, *(f"[dim]{text}[/]" for text in ends)])


def _mean_and_ends(evaluation: Evaluation, name: str, percent: bool) -> list[str]:
    """Format a mean and, where it has one, its confidence interval."""
    texts = [_number(evaluation.metrics[name], percent)]
    if name in evaluation.confidence:
        low, high = evaluation.confidence[name]
        texts.append(f"({_number(low, percent)} to {_number(high, percent)})")
    return texts


def _counts(evaluation: Evaluation) -> list[str]:
    return [str(evaluation.invalid), f"{evaluation.seconds:.1f}"]


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:.2f}" if percent else f"{value:.4f}"


def _title(model: Evaluation) -> str:
    protocol = model.protocol
    seen = "seen items excluded" if protocol.exclude_seen else "seen items allowed"
    return f"{protocol.name}, {protocol.split}, {seen}"


def _caption(model: Evaluation) -> str:
    protocol = model.protocol
    level = f"{100 * protocol.bootstrap.confidence:g} %"
    return (
        f"{protocol.users} users, {protocol.cases} targets, {protocol.items} items ranked in full, "
        "ties counted by expectation; "
        f"{level} intervals by bootstrap over users; protocol version {protocol.version}"
    )
