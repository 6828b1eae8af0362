"""Tables of rankers of the same cases, as Markdown: all cases, cases by time, means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.rank_files import OTHER_TIME, SAME_TIME
from genrec.common.errors import InputError
from genrec.evaluation import Evaluation, paired_differences
from genrec.evaluation.case_results import Slice

__all__ = ["seeds_table", "slices_table", "table"]


def table(rows: Sequence[Evaluation], metrics: Sequence[str], against: str | None) -> str:
    """The rows as a Markdown table."""
    named = {row.name: row for row in rows}
    if against is not None and against not in named:
        raise InputError(f"against = {against!r} is no row; there are {', '.join(named)}")
    if not metrics or set(metrics) - rows[0].confidence.keys():
        known = ", ".join(rows[0].confidence)
        raise InputError(f"metrics = {list(metrics)} must be some of what the ranks give: {known}")
    head = ["ranker", *metrics, *([] if against is None else [f"{metrics[-1]} less {against}"])]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in rows:
        cells = [row.name, *(_mean(row, metric) for metric in metrics)]
        if against is not None:
            cells.append("" if row.name == against else _gap(row, named[against], metrics[-1]))
        lines.append(cells)
    protocol = rows[0].protocol
    caption = (
        f"{protocol.name}, {protocol.split}: {protocol.users:,} users, {protocol.items:,} items, protocol "
        f"version {protocol.version}, cases {protocol.data_hash}."
    )
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in lines] + ["", caption])


def slices_table(rows: Sequence[Evaluation], metrics: Sequence[str]) -> str:
    """The rows by whether the target has the time of the event before it, as a Markdown table.

    The last column is the share of the first metric that cases of the same time bring in; a row without
    hits has none. Empty where the ranks do not say, or where all cases are of one kind.
    """
    parts = {name: rows[0].slices.get(name) for name in (SAME_TIME, OTHER_TIME)}
    if not all(part is not None and part.cases for part in parts.values()):
        return ""
    shown = {SAME_TIME: "same time", OTHER_TIME: "another time"}
    head = ["ranker", *(f"{metric}, {word}" for word in shown.values() for metric in metrics)]
    lines = [[*head, f"{metrics[0]} from the same time"], ["---", *["---:"] * len(head)]]
    for row in rows:
        cells = [_mean(row.slices[part], metric) for part in shown for metric in metrics]
        lines.append([row.name, *cells, _brought(row, metrics[0])])
    same, whole = rows[0].slices[SAME_TIME].cases, len(rows[0].results)
    caption = (
        f"*Same time*: the {same:,} of {whole:,} cases ({100 * same / whole:.1f} %) whose target has the "
        "timestamp of the event before it."
    )
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in lines] + ["", caption])


def _brought(row: Evaluation, metric: str) -> str:
    """Share of a metric's sum over all cases that those of the same time bring in."""
    same = row.slices[SAME_TIME]
    whole = row.metrics[metric] * len(row.results)
    return f"{100 * same.metrics[metric] * same.cases / whole:.0f} %" if whole else ""


def seeds_table(
    rows: Sequence[Evaluation], metrics: Sequence[str], seeds: Mapping[str, Sequence[str]]
) -> str:
    """Means over seeds as a Markdown table, each with its runs; differences are to the last line."""
    named = {row.name: row for row in rows}
    if unknown := {name for names in seeds.values() for name in names} - named.keys():
        raise InputError(f"seeds names no row: {', '.join(unknown)}; there are {', '.join(named)}")
    runs = {name: [named[row] for row in names] for name, names in seeds.items()}
    *others, last = runs
    lines = [
        ["seeds", *metrics, f"{metrics[-1]} less {last}"],
        ["---", *["---:"] * (len(metrics) + 1)],
    ]
    for name in (*others, last):
        count = len(runs[name])
        cells = [
            f"{name}, {count} seed{'s' * (count > 1)}",
            *(_over(runs[name], m) for m in metrics),
        ]
        lines.append([*cells, "" if name == last else _gap(runs[name], runs[last], metrics[-1])])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _over(runs: Sequence[Evaluation], metric: str) -> str:
    values = [run.metrics[metric] for run in runs]
    return f"{sum(values) / len(values):.4f} ({', '.join(f'{value:.4f}' for value in values)})"


def _mean(row: Evaluation | Slice, metric: str) -> str:
    low, high = row.confidence[metric]
    return f"{row.metrics[metric]:.4f} ({low:.4f} to {high:.4f})"


def _gap(
    row: Evaluation | Sequence[Evaluation], other: Evaluation | Sequence[Evaluation], metric: str
) -> str:
    found = paired_differences(row, other, [metric])[metric]
    return f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
