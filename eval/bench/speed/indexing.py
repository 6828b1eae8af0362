"""Index cells: building the trie of a large catalog, and whether searching it costs more."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench.speed.contenders import Contender, genrec
from bench.speed.machine import clock, peak_memory
from bench.speed.race import Timing, race
from bench.speed.searching import summary
from bench.speed.workload import ModelShape, Stage, Workload, random_codes
from genrec.decoding import BeamSearch, BeamSettings, Trie
from genrec.decoding.beams import Beams
from genrec.language_model.level_head import LevelHead

__all__ = ["ConstraintStep", "measure_index", "walk"]

_STEPS = 100


def measure_index(
    workload: Workload, shape: ModelShape, timing: Timing, device: str, small_items: int
) -> dict[str, Any]:
    """Build the large and a small catalog, and search both in turn with one model."""
    stage = Stage.build(workload.replace(items=small_items), shape, device)
    built, tries = {}, {}
    for name, items in (("small", small_items), ("large", workload.items)):
        built[name], tries[name] = _build(workload.replace(items=items), device)
    stages = {name: replace(stage, trie=trie) for name, trie in tries.items()}
    requests = _requests(stages, timing, device)
    steps = constraint_milliseconds(tries, workload, device)
    return {
        "build": built,
        "request": requests,
        "request_ratio": _ratio({name: part["ms_p50"] for name, part in requests.items()}),
        "constraint_ms": steps,
        "constraint_ratio": _ratio({name: sum(levels[1:]) for name, levels in steps.items()}),
    }


class ConstraintStep(BeamSearch):
    """What a level of the search does once its logits are there: look up children, gather, mask, top-k.

    It is the search's own code, given a head that takes hidden states for the logits.

    Args:
        trie: the catalog.
    """

    def __init__(self, trie: Trie) -> None:
        self.trie, self.settings, self.head = trie, BeamSettings(), _ReadyLogits()

    def __call__(self, level: int, beams: Beams, logits: Tensor, width: int) -> Beams:
        """Extend live prefixes of `level` codes by their best children, at most `width` of them.

        Args:
            level: which code comes next.
            beams: R requests with W prefixes each.
            logits: `(R, W, K)` of the level's codes.
            width: how many to keep.
        """
        return self._expand(beams, logits, level, width, None)


class _ReadyLogits(LevelHead):
    def __init__(self) -> None:
        pass

    def logits(self, hidden: Tensor, level: int) -> Tensor:
        return hidden

    def logits_of(self, hidden: Tensor, level: int, codes: Tensor) -> Tensor:
        return hidden.gather(-1, codes)


def walk(trie: Trie, workload: Workload, device: str) -> list[tuple[int, Beams, Tensor, int]]:
    """Arguments of `ConstraintStep` at every level of a search with random logits."""
    generator = torch.Generator().manual_seed(workload.seed)
    step = ConstraintStep(trie)
    root = torch.zeros(workload.users, 1, dtype=torch.int64, device=device)
    beams = Beams(root, root.float(), root[..., None][..., :0])
    steps = []
    for level, size in enumerate(workload.codebook_sizes):
        logits = torch.randn(*beams.nodes.shape, size, generator=generator).to(device)
        steps.append((level, beams, logits, workload.beams))
        found = step(*steps[-1])
        beams = replace(found, lines=torch.cat([found.lines, found.nodes[..., None]], dim=2))
    return steps


@torch.inference_mode()
def constraint_milliseconds(
    tries: dict[str, Trie], workload: Workload, device: str
) -> dict[str, list[float]]:
    """Median milliseconds of `ConstraintStep` at each level, for each trie, called in turn."""
    steps = {name: walk(trie, workload, device) for name, trie in tries.items()}
    calls = {name: ConstraintStep(trie) for name, trie in tries.items()}
    seconds: dict[str, list[list[float]]] = {
        name: [[] for _ in walked] for name, walked in steps.items()
    }
    for _ in range(_STEPS):
        for name, walked in steps.items():
            for level, arguments in enumerate(walked):
                began = clock(device)
                calls[name](*arguments)
                seconds[name][level].append(clock(device) - began)
    return {
        name: [round(1000 * median(values), 4) for values in levels]
        for name, levels in seconds.items()
    }


def _build(workload: Workload, device: str) -> tuple[dict[str, Any], Trie]:
    codes = random_codes(workload.items, workload.codebook_sizes, workload.seed)
    gc.collect()
    # The host's memory, whatever device the result goes to: the build sorts there.
    with peak_memory("cpu") as peak:
        began = clock(device)
        trie = Trie.build(codes, workload.codebook_sizes, device)
        seconds = clock(device) - began
    facts = {
        "items": len(codes),
        "codebook_sizes": list(workload.codebook_sizes),
        "seconds": round(seconds, 3),
        "peak_mib": peak.total,
        "added_mib": peak.added,
        "bytes_per_item": round(trie.nbytes / len(codes), 2),
    }
    return facts, trie


def _requests(stages: dict[str, Stage], timing: Timing, device: str) -> dict[str, Any]:
    """Whole requests over each trie, in turn."""

    def preparing(stage: Stage) -> Callable[[], Any]:
        return lambda: genrec(stage, "catalog")

    rivals = [Contender(name, 0.0, preparing(stage)) for name, stage in stages.items()]
    outcomes = race(rivals, timing, device)
    sizes = {name: len(stage.trie) for name, stage in stages.items()}
    return {
        name: summary(outcome, stages[name].workload.replace(items=sizes[name]))
        for name, outcome in outcomes.items()
    }


def _ratio(values: dict[str, float]) -> float:
    return round(values["large"] / values["small"], 3)
