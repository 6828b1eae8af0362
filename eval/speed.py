"""How fast the catalog is searched: genrec beside Hugging Face `generate`, and beside the machine's limit.

    python eval/speed.py eval/speed.yaml [cells=users cells=[named,index/10m-4x256] overwrite=true …]

Every contender searches the same random model, catalog and prompts in one run, in turn. After each cell the
JSON document is written; the same command goes on after the cells that are in it.
"""

import logging
from pathlib import Path

from bench.speed.plan import SpeedPlan
from bench.speed.plots import plot_growth, require_matplotlib
from bench.speed.results import Results
from bench.speed.tables import markdown
from genrec.common.artifacts import atomic_file, require_file
from genrec.common.progress import progress
from genrec.common.recipe import run_recipe

logger = logging.getLogger("genrec.speed")


class Config(SpeedPlan):
    """What is measured, and where to."""

    out: Path = Path("runs/speed.json")
    """JSON document; tables and pictures go beside it, ending in .md, .png and .svg."""
    overwrite: bool = False
    """Whether cells that are in the document already are measured again."""
    plots: bool = True
    """Whether the growth along each factor is drawn (needs the extra ``plots``)."""


def main(config: Config) -> None:
    """Measure cell by cell; write and print the tables; draw."""
    cells = config.planned()
    require_file(config.out)
    if config.plots:
        require_matplotlib()
    results = Results(config.out, config, overwrite=config.overwrite)
    with progress("cells", len(cells)) as advance:
        for cell in cells:
            new = results.measure(cell)
            logger.info("%s: %s", cell.names[0], "measured" if new else "measured before")
            advance(1)
    if stale := results.stale():
        logger.warning("measured with other code: %s", ", ".join(stale))
    table = markdown(results.records)
    with atomic_file(config.out.with_suffix(".md")) as path:
        path.write_text(table + "\n", encoding="utf-8")
    if config.plots:
        plot_growth(results.records, config.out)
    print(table)


if __name__ == "__main__":
    run_recipe(main, Config)
