"""Machine: what it is, what it can do at best, and how much memory a call takes on it."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.speed.roofline import Rates

__all__ = ["MatrixShape", "Peak", "clock", "facts", "measure_rates", "peak_memory"]

MatrixShape = tuple[int, int, int]
"""Rows, inner dimension, columns of a matrix product."""

SQUARES: tuple[MatrixShape, ...] = ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048))
COPY_BYTES = 1 << 28
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def clock(device: str) -> float:
    """Seconds of a steady clock, once everything that the device was asked for is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def facts(device: str) -> dict[str, Any]:
    """Processor, cores, threads and accelerator; `load` is how many processes wanted a core just now."""
    cuda = torch.device(device).type == "cuda"
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name(device) if cuda else None,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def measure_rates(
    device: str, dtype: torch.dtype, shapes: Iterable[MatrixShape] = (), repetitions: int = 5
) -> Rates:
    """Best rate of matrix products over square and the given shapes, and best rate of a large copy."""
    flops = [
        2 * rows * inner * columns / _product(rows, inner, columns, device, dtype, repetitions)
        for rows, inner, columns in (*SQUARES, *shapes)
    ]
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copying = _best(lambda: target.copy_(source), device, repetitions)
    return Rates(max(flops), 2 * COPY_BYTES / copying)


@dataclass
class Peak:
    """Most memory held while a block ran, in MiB; None where the system does not tell.

    Attributes:
        total: of the process, or on the CUDA device.
        added: above what was held when the block began.
    """

    total: int | None = None
    added: int | None = None


@contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Give what is filled in when the block ends."""
    peak = Peak()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before: int | None = torch.cuda.memory_allocated(device) >> 20
        yield peak
        peak.total = torch.cuda.max_memory_allocated(device) >> 20
    else:
        before = _status("VmRSS") if _reset_high_water() else None
        yield peak
        peak.total = None if before is None else _status("VmHWM")
    if before is not None and peak.total is not None:
        peak.added = max(0, peak.total - before)


def _reset_high_water() -> bool:
    """Let Linux start its high-water mark of this process's memory anew; False elsewhere."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status(name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) >> 10 if found else None


def _product(
    rows: int, inner: int, columns: int, device: str, dtype: torch.dtype, repetitions: int
) -> float:
    left = torch.ones(rows, inner, device=device, dtype=dtype)
    right = torch.ones(columns, inner, device=device, dtype=dtype)
    return _best(lambda: torch.nn.functional.linear(left, right), device, repetitions)


def _best(work: Callable[[], object], device: str, repetitions: int) -> float:
    """Fewest seconds of several calls, after one that is not counted."""
    seconds = []
    for _ in range(repetitions + 1):
        began = clock(device)
        work()
        seconds.append(clock(device) - began)
    return max(min(seconds[1:]), 1e-9)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
