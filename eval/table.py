"""One table of many rankers on the same cases, from files that hold each one's ranks.

    python eval/table.py eval/table_beauty.yaml
    python eval/table.py eval/table_beauty.yaml collect=true ranks=runs/ranks.parquet

Every number is computed anew from the file of ranks that stands in the repository. Where it says which
targets have the time of the event before them, a second table has those cases and the others apart: which
of such a pair came first is the file's word, and finding the rest of one basket is another thing than
telling what comes next. With `collect` the file is made first, from files of case results as eval/rank.py,
train/baseline.py and genrec evaluate --cases write them.
"""

from pathlib import Path

from bench.rank_files import collect_ranks, read_ranks, write_ranks
from bench.rank_tables import seeds_table, slices_table, table
from genrec.common.artifacts import atomic_file
from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.common.recipe import run_recipe


class Config(Settings):
    """Which ranks, and where the table goes."""

    ranks: Path
    """Parquet file of ranks; if it is not below the current folder, it is looked for in this repository."""
    cases: dict[str, Path] | None = None
    """Name of a row -> its file of case results, in the order of the table."""
    collect: bool = False
    """Whether the file of ranks is made anew from `cases`."""
    metrics: tuple[str, ...] = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")
    """Columns."""
    against: str | None = None
    """Row that every other is compared with, by a paired test of the last column."""
    seeds: dict[str, tuple[str, ...]] | None = None
    """What was run with several seeds -> its rows, for a second table of their means."""
    out: Path
    """Markdown file."""


def main(config: Config) -> None:
    """Collect or read, compare, write, print."""
    if config.collect:
        if not config.cases:
            raise InputError("collect=true needs cases: {name of a row: its file of case results}")
        write_ranks(collect_ranks(config.cases), config.ranks)
    beside = Path(__file__).resolve().parents[1] / config.ranks
    rows = read_ranks(config.ranks if config.ranks.exists() else beside)
    text = table(rows, config.metrics, config.against)
    if slices := slices_table(rows, config.metrics[-2:]):
        text += "\n\n" + slices
    if config.seeds:
        text += "\n\n" + seeds_table(rows, config.metrics, config.seeds)
    with atomic_file(config.out) as path:
        path.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    run_recipe(main, Config)
