"""Progress bars: on stderr, only where a person watches, gone when the work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress", "training_bar"]


@contextmanager
def progress(
    description: str, total: int, *, shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; call what it gives with each number of steps done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not (shown and console.is_terminal))
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def training_bar() -> Iterator[Callable[[int, int, float], None]]:
    """A bar with loss and time left, on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = [
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    ]
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("training", total=None, loss=float("nan"))
        smooth: list[float] = []

        def report(step: int, total: int, loss: float) -> None:
            smooth[:] = [loss if not smooth else 0.98 * smooth[0] + 0.02 * loss]
            bar.update(task, completed=step, total=total, loss=smooth[0])

        yield report
