"""A batch of users that is killed twice and goes on, beside one that nothing happens to.

    python eval/batch.py eval/batch_demo.yaml [kills=[0.2,0.5] ray=true …]

`genrec recommend --input --output` runs as a process of its own. It is killed (SIGKILL) when chosen shares of
its parts are on disk and started again with the same words; its output is compared with an undisturbed run's,
row for row. With `ray=true` the same users go to Ray workers on this machine too.
"""

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.batch_runs import BatchRun, compare_rows, recommend_in_process, write_users
from genrec import GenerativeRecommender
from genrec.common.artifacts import provenance, require_file
from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.common.recipe import run_recipe, write_results


class Config(Settings):
    """Who is recommended to, and when the run is killed."""

    recommender: Path
    """Folder of a fitted recommender; the users are those of its own log."""
    copies: int = 1
    """How often each history is asked for: a small log makes a longer batch."""
    k: int = 10
    """Items a user."""
    kills: tuple[float, ...] = (0.3, 0.7)
    """Shares of the parts on disk at which it is killed, in rising order."""
    ray: bool = False
    """Whether Ray workers do it too (extra ray)."""
    workers: int = 2
    """How many."""
    out: Path = Path("runs/batch.json")
    """JSON document; the table goes beside it, ending in .md."""


def main(config: Config) -> None:
    """Run, kill, go on, compare, write and print."""
    require_file(config.out)
    if list(config.kills) != sorted(config.kills) or not all(0 < x < 1 for x in config.kills):
        raise InputError(f"kills = {list(config.kills)}: give shares between 0 and 1, rising")
    config.out.absolute().parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="batch.", dir=config.out.absolute().parent))
    try:
        document = measure(config, work)
    finally:
        shutil.rmtree(work)
    table = as_table(document)
    write_results(config.out, document, table)
    print(table)


def measure(config: Config, work: Path) -> dict:
    """All runs, and how their outputs compare with that of the undisturbed one."""
    log = GenerativeRecommender.from_pretrained(config.recommender).log
    users = write_users(log, work / "users.jsonl", config.copies)
    words = [str(config.recommender), "--input", str(work / "users.jsonl"), "-k", str(config.k)]

    def run(name: str, *more: str, kill_at: float | None = None) -> BatchRun:
        output = work / f"{name}.parquet"
        return recommend_in_process(
            [*words, "--output", str(output), *more], output, users, kill_at
        )

    runs = {"undisturbed": run("whole")}
    for number, share in enumerate(config.kills, start=1):
        runs[f"killed, {number}"] = run("killed", kill_at=share)
    runs["gone on to the end"] = run("killed")
    compared = {"gone on to the end": compare_rows(work / "whole.parquet", work / "killed.parquet")}
    if config.ray:
        name = f"{config.workers} Ray workers"
        runs[name] = run("ray", "--engine", "ray", "--workers", str(config.workers))
        compared[name] = compare_rows(work / "whole.parquet", work / "ray.parquet")
    return {
        "users": users,
        "runs": {name: asdict(found) for name, found in runs.items()},
        "compared": compared,
        "config": config.model_dump(mode="json"),
        "provenance": provenance(),
    }


def as_table(document: dict) -> str:
    """The runs as a Markdown table, and how their rows compare."""
    lines = [
        "| run | parts | seconds | users a second | RSS at a tenth | at the end | rows equal |"
    ]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name, run in document["runs"].items():
        same = document["compared"].get(name)
        equal = f"{same['equal']:,} of {same['rows']:,}" if same else ""
        speed = f"{run['users_per_second']:.0f}" if run["users_per_second"] else ""
        memory = [f"{x:.0f} MiB" if x else "" for x in (run["rss_early"], run["rss_end"])]
        parts = f"{run['parts_before']} to {run['parts']}"
        cells = [name, parts, f"{run['seconds']:.0f}", speed, *memory, equal]
        lines.append(f"| {' | '.join(cells)} |")
    for name, same in document["compared"].items():
        bytes_ = "the same bytes" if same["same_bytes"] else "other bytes"
        lines += ["", f"{name}: scores differ by at most {same['score_difference']:.1e}; {bytes_}."]
    return "\n".join(lines)


if __name__ == "__main__":
    run_recipe(main, Config)
