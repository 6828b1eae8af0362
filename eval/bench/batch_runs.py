"""Batch runs: `genrec recommend` as a process that may be killed in the middle and is watched while it runs.

Progress is what stands on disk: parts beside the output, of which a killed run leaves only whole ones.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.common.errors import GenrecError
from genrec.data.interactions import Interactions
from genrec.serving.user_files import PART_USERS

__all__ = ["BatchRun", "compare_rows", "recommend_in_process", "write_users"]

_COMMAND = "import sys; from genrec.cli import main; main(sys.argv[1:])"
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class BatchRun:
    """What one run did before it ended or was killed.

    Attributes:
        parts_before: parts that stood there when it began. parts: when it ended.
        seconds: from the start of the process to its end.
        working: of these, seconds from the first new part to the last.
        users_per_second: while it worked; None where it made fewer than two parts.
        rss_early: MiB that it held when its first new part stood there, and a tenth of all.
        rss_end: when last seen. rss_peak: the most seen.
        killed: whether it was.
    """

    parts_before: int
    parts: int
    seconds: float
    working: float
    users_per_second: float | None
    rss_early: float | None
    rss_end: float
    rss_peak: float
    killed: bool


def write_users(log: Interactions, path: Path, copies: int = 1) -> int:
    """Write every history of a log as a user, `copies` times over, in JSON lines; say how many."""
    ids, number = log.catalog.item_ids, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(copies):
            for history in log.histories:
                if len(history):
                    items = [ids[item] for item in history]
                    file.write(json.dumps({"user_id": f"u{number}", "item_id": items}) + "\n")
                    number += 1
    return number


def recommend_in_process(
    words: list[str], output: Path, users: int, kill_at: float | None = None
) -> BatchRun:
    """Run ``genrec recommend`` to its end, or kill it (SIGKILL) at a share of its parts.

    Args:
        words: of the command, its --output included.
        output: that file.
        users: how many users its --input holds.
        kill_at: 0 to 1: the share of parts on disk, at least one of them new; None lets it finish.

    Raises:
        GenrecError: it failed, or ended before it could be killed; with what it said.
    """
    folder, total = output.with_name(f"{output.name}.partial"), math.ceil(users / PART_USERS)
    before = _parts(folder)
    goal = total + 1 if kill_at is None else max(before + 1, math.ceil(kill_at * total))
    command = [sys.executable, "-c", _COMMAND, "recommend", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 our own
        watch = _Watch(process, folder, total, before)
        while process.poll() is None and watch.parts < goal:
            watch.look()
            time.sleep(_POLL_SECONDS)
        if killed := process.poll() is None:
            process.kill()
        _, said = process.communicate()
    if killed != (kill_at is not None) or (not killed and process.returncode):
        raise GenrecError(f"genrec recommend ended with {process.returncode}: {said.strip()}")
    return watch.run(killed, total)


class _Watch:
    """Looks at a run from outside."""

    def __init__(
        self, process: subprocess.Popen[str], folder: Path, total: int, before: int
    ) -> None:
        self.process, self.folder, self.total, self.before = process, folder, total, before
        self.started, self.parts = time.monotonic(), before
        self.times: list[float] = []
        self.early: float | None = None
        self.rss = self.peak = 0.0

    def look(self) -> None:
        """See how much memory is held and whether a part has come."""
        self.rss = _rss(self.process.pid) or self.rss
        self.peak = max(self.peak, self.rss)
        parts = _parts(self.folder)
        if parts > self.parts:
            self.parts = parts
            self.times.append(time.monotonic())
        early = max(self.before + 1, math.ceil(self.total / 10))
        if self.early is None and self.parts >= early:
            self.early = self.rss

    def run(self, killed: bool, total: int) -> BatchRun:
        """What was seen."""
        working = self.times[-1] - self.times[0] if self.times else 0.0
        made = (self.parts - self.before - 1) * PART_USERS
        return BatchRun(
            parts_before=self.before,
            parts=_parts(self.folder) if killed else total,
            seconds=time.monotonic() - self.started,
            working=working,
            users_per_second=made / working if made > 0 and working else None,
            rss_early=self.early,
            rss_end=self.rss,
            rss_peak=self.peak,
            killed=killed,
        )


def _parts(folder: Path) -> int:
    return len(list(folder.glob("*.parquet")))


def _rss(pid: int) -> float | None:
    """MiB that a process holds; None once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def compare_rows(expected: Path, found: Path) -> dict[str, Any]:
    """How two outputs of ``genrec recommend`` in Parquet differ, row for row.

    Returns:
        ``rows`` of the first and ``rows_found`` of the second; ``equal``: rows with the same user, rank and
        item in the same place; ``score_difference``: the largest among them; ``same_bytes``.
    """
    import numpy as np
    import pyarrow.parquet as pq

    one, two = pq.read_table(expected), pq.read_table(found)
    rows = min(len(one), len(two))
    same = np.ones(rows, np.bool_)
    for name in ("user_id", "rank", "item_id"):
        left, right = (table[name].to_numpy()[:rows] for table in (one, two))
        same &= left == right
    scores = [table["score"].to_numpy()[:rows][same] for table in (one, two)]
    return {
        "rows": len(one),
        "rows_found": len(two),
        "equal": int(same.sum()),
        "score_difference": float(np.abs(scores[0] - scores[1]).max(initial=0.0)),
        "same_bytes": expected.read_bytes() == found.read_bytes(),
    }
