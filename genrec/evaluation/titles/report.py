"""Tables of title evaluations: the model beside its baselines, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genrec.evaluation.titles.evaluation import (
    BleuDifference,
    TitleEvaluation,
    bleu_difference,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["TitleComparison", "compare_titles"]

_COLUMNS = {
    "bleu": "BLEU",
    "rouge_l": "ROUGE-L",
    "exact_match": "exact",
    "similarity": "similarity",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "catalog_titles": "in catalog",
    "empty": "empty",
}
_LESS_IS_BETTER, _NEITHER_IS_BETTER = {"empty"}, {"catalog_titles"}
_AHEAD = "BLEU ahead by"


@dataclass(frozen=True)
class TitleComparison:
    """A system's titles beside those of others on the same cases; made by `compare_titles`.

    Attributes:
        model: the system of interest, the first row of tables.
        baselines: the others, in the order of rows.
        ahead: of each other one, by how much the model's BLEU is above its.
    """

    model: TitleEvaluation
    baselines: tuple[TitleEvaluation, ...]
    ahead: tuple[BleuDifference, ...]

    @property
    def rows(self) -> tuple[TitleEvaluation, ...]:
        """All systems, the model first."""
        return (self.model, *self.baselines)

    @property
    def metrics(self) -> list[str]:
        """Metrics that every system has, in the order of columns."""
        return [name for name in _COLUMNS if all(name in row.metrics for row in self.rows)]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON document; `bleu_ahead` is the model's BLEU less the baseline's."""
        pairs = zip(self.baselines, self.ahead, strict=True)
        others = [row.to_json() | {"bleu_ahead": gap.to_json()} for row, gap in pairs]
        return self.model.to_json() | {"baselines": others}

    def rich_table(self, *, percent: bool = False) -> Table:
        """Lay the systems out for a terminal, the best of each column in bold.

        Args:
            percent: shares as percentages with 2 decimals instead of fractions with 4; BLEU is always
                from 0 to 100.
        """
        from rich.markup import escape
        from rich.table import Table

        caption = escape(self._caption())
        table = Table("titles", title=self._title(), caption=caption, title_justify="left")
        for name in self._heads():
            table.add_column(name, justify="right")
        for row, gap in zip(self.rows, (None, *self.ahead), strict=True):
            cells = ["\n".join(self._marked(row, name, percent)) for name in self.metrics]
            table.add_row(escape(row.name), *cells, *self._gap_cells(gap, "\n"))
        return table

    def markdown_table(self, *, percent: bool = False) -> str:
        """Return the table as plain Markdown, what was counted in a line below it (see `rich_table`)."""
        heads = ["titles", *self._heads()]
        lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
        for row, gap in zip(self.rows, (None, *self.ahead), strict=True):
            cells = [" ".join(_mean_and_ends(row, name, percent)) for name in self.metrics]
            lines.append([row.name, *cells, *self._gap_cells(gap, " ")])
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return f"{table}\n\n{self._title()}. {self._caption()}."

    def _heads(self) -> list[str]:
        heads = [_COLUMNS[name] for name in self.metrics]
        return [*heads, _AHEAD] if self.baselines else heads

    def _gap_cells(self, gap: BleuDifference | None, separator: str) -> list[str]:
        if not self.baselines:
            return []
        if gap is None:
            return [""]
        return [f"{gap.value:+.2f}{separator}({gap.low:+.2f} to {gap.high:+.2f})"]

    def _marked(self, row: TitleEvaluation, name: str, percent: bool) -> list[str]:
        """Mean and interval with rich's marks."""
        mean, *ends = _mean_and_ends(row, name, percent)
        best = min if name in _LESS_IS_BETTER else max
        wins = row.metrics[name] == best(rival.metrics[name] for rival in self.rows)
        bold = wins and name not in _NEITHER_IS_BETTER
        return [f"[bold]{mean}[/]" if bold else mean, *(f"[dim]{text}[/]" for text in ends)]

    def _title(self) -> str:
        return f"next-product titles, {self.model.bleu_signature}"

    def _caption(self) -> str:
        model = self.model.to_json()
        level = f"{100 * self.model.settings.bootstrap.confidence:g} %"
        titles = ", ".join(f"{row.answers:,} by {row.name}" for row in self.rows)
        return (
            f"{model['users']:,} users, {model['cases']:,} targets; titles: {titles}; {level} intervals "
            f"by bootstrap over users"
        )


def compare_titles(
    model: TitleEvaluation, baselines: Sequence[TitleEvaluation] = ()
) -> TitleComparison:
    """Set a system beside others, and measure its lead in BLEU over each on paired samples.

    Raises:
        InputError: one was not judged on the same targets in the same way.
    """
    ahead = tuple(bleu_difference(model, baseline) for baseline in baselines)
    return TitleComparison(model, tuple(baselines), ahead)


def _mean_and_ends(row: TitleEvaluation, name: str, percent: bool) -> list[str]:
    """Format a metric and, where it has one, its confidence interval."""

    def text(value: float) -> str:
        if name == "bleu":
            return f"{value:.2f}"
        return f"{100 * value:.2f}" if percent else f"{value:.4f}"

    ends = row.confidence.get(name)
    return [text(row.metrics[name]), *([f"({text(ends[0])} to {text(ends[1])})"] if ends else [])]
