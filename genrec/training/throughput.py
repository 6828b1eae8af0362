"""Throughput of a run, and how much memory it holds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

__all__ = ["Throughput", "peak_memory_mib"]


@dataclass
class Throughput:
    """Tokens and seconds of training steps; validations and checkpoints are not counted.

    Attributes:
        device: where the model computes.
        tokens: of the steps so far, padding left out, all processes together.
        seconds: they took.
    """

    device: torch.device
    tokens: int = 0
    seconds: float = 0.0

    @contextmanager
    def timed(self, tokens: int) -> Iterator[None]:
        """Count one step. It ends by reading its loss, so the device has done its work by then."""
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began
        self.tokens += tokens

    def facts(self) -> dict[str, float]:
        """Tokens a second, seconds, and most memory: of the GPU's tensors, or of the process without one."""
        facts = {
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.tokens / max(self.seconds, 1e-9), 1),
        }
        if self.device.type == "cuda":
            facts["gpu_memory_mib"] = torch.cuda.max_memory_allocated(self.device) // 2**20
        elif (peak := peak_memory_mib()) is not None:
            facts["memory_mib"] = peak
        return facts

    def said(self) -> str:
        """The facts for a line of the log."""
        facts = self.facts()
        memory = facts.get("gpu_memory_mib", facts.get("memory_mib"))
        return f"{facts['tokens_per_second']:,.0f} tokens/s" + (
            f", {memory:,} MiB" if memory else ""
        )


def peak_memory_mib() -> int | None:
    """Most memory this process has held; None on Windows, which does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)
