"""Contenders: the same constrained beam search several ways, on one stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.speed.roofline import ModelCost, Rates, repeated_cost, roofline
from bench.speed.workload import Stage
from genrec.decoding import BeamSearch, BeamSettings
from genrec.decoding.logits_processor import CatalogLogitsProcessor
from genrec.decoding.scores import Normalization

if TYPE_CHECKING:
    from transformers import DynamicCache

__all__ = [
    "CACHED",
    "CALLBACK",
    "CATALOG",
    "PREFILL",
    "PROCESSOR",
    "VOCABULARY",
    "Call",
    "Contender",
    "contenders",
    "genrec",
]

CALLBACK, PROCESSOR = "generate, callback", "generate, processor"
CACHED = "generate, prompt cache"
VOCABULARY, CATALOG, PREFILL = "genrec, vocabulary", "genrec, catalog", "prefill"

CALLBACK_ITEMS = 1_000_000
"""Largest catalog whose children a Python dictionary holds, as the callback needs them."""
_EFFICIENCY, _CALLBACK_SECONDS = 0.5, 5e-5  # rough, for predictions only

Call = Callable[[], NDArray[np.int32] | None]
"""One timed call; items `(R, k)`, or None where none are looked for."""


@dataclass(frozen=True)
class Contender:
    """One way to search.

    Attributes:
        name: what the tables call it.
        predicted: about how many seconds a call takes.
        prepare: makes the call; what it builds is not timed.
        impossible: why it is skipped whatever the time; None for no reason.
    """

    name: str
    predicted: float
    prepare: Callable[[], Call]
    impossible: str | None = None


def contenders(stage: Stage, rates: Rates) -> list[Contender]:
    """All of them: `generate` as it is called and with a prompt cache, genrec, and the prefill alone."""
    cost = ModelCost.of(stage.model)
    once = sum(step.seconds for step in roofline(cost, rates, stage.workload)) / _EFFICIENCY
    workload = stage.workload
    repeated = repeated_cost(cost, workload) / rates.flops / _EFFICIENCY
    callback = repeated + workload.users * workload.beams * workload.levels * _CALLBACK_SECONDS
    copied = workload.users * workload.beams * workload.prompt * cost.cache_bytes
    cached = 2 * once + workload.levels * copied / rates.bandwidth / _EFFICIENCY
    too_many = None
    if workload.items > CALLBACK_ITEMS:
        too_many = f"the callback needs a Python dictionary of {workload.items:,} items"
    return [
        Contender(CALLBACK, callback, lambda: _generate(stage, _callback(stage)), too_many),
        Contender(PROCESSOR, repeated, lambda: _generate(stage, _processor(stage))),
        Contender(CACHED, cached, lambda: _generate(stage, _processor(stage), read_once=True)),
        Contender(VOCABULARY, once, lambda: genrec(stage, "vocabulary")),
        Contender(CATALOG, once, lambda: genrec(stage, "catalog")),
        Contender(PREFILL, once, lambda: _prefill(stage)),
    ]


def genrec(
    stage: Stage,
    normalization: Normalization,
    allow: NDArray[np.integer] | None = None,
    deny: list[NDArray[np.integer]] | None = None,
) -> Call:
    """Search with `BeamSearch`."""
    beams, prompts = stage.workload.beams, list(stage.prompts)
    settings = BeamSettings(beams=beams, normalization=normalization)
    search = BeamSearch(stage.model, stage.vocabulary, stage.trie, settings)
    return lambda: search.search(prompts, beams, allow=allow, deny=deny)[0]


def _generate(stage: Stage, constraint: dict[str, Any], *, read_once: bool = False) -> Call:
    """Search with `generate`, which reads each prompt once for every beam unless a cache has read it once."""
    beams, device = stage.workload.beams, stage.trie.leaf_item.device
    prompts = torch.from_numpy(stage.prompts).to(device)
    values = constraint | {
        "input_ids": prompts,
        "attention_mask": torch.ones_like(prompts),
        "num_beams": beams,
        "num_return_sequences": beams,
        "max_new_tokens": stage.workload.levels,
        "do_sample": False,
        "length_penalty": 0.0,
        "eos_token_id": None,
        "pad_token_id": 0,
    }

    reading = _constraint(stage)

    def call() -> NDArray[np.int32]:
        cache = {"past_key_values": _repeated_cache(stage, prompts)} if read_once else {}
        found = reading.items(stage.model.generate(**values, **cache)).cpu().numpy()
        return found.astype(np.int32).reshape(-1, beams)

    return call


@torch.inference_mode()
def _repeated_cache(stage: Stage, prompts: torch.Tensor) -> DynamicCache:
    """Read all but the last token of the prompts `(R, P)` once, and copy what is kept for each beam."""
    from transformers import DynamicCache

    cache = DynamicCache()
    if prompts.shape[1] > 1:
        stage.model.base_model(input_ids=prompts[:, :-1], past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(stage.workload.beams)
    return cache


def _callback(stage: Stage) -> dict[str, Any]:
    start, following = stage.workload.prompt, _children(stage)
    return {"prefix_allowed_tokens_fn": lambda _, sent: following[tuple(sent[start:].tolist())]}


def _processor(stage: Stage) -> dict[str, Any]:
    from transformers import LogitsProcessorList

    return {"logits_processor": LogitsProcessorList([_constraint(stage)])}


def _constraint(stage: Stage) -> CatalogLogitsProcessor:
    return CatalogLogitsProcessor(stage.trie, stage.vocabulary, stage.workload.prompt)


def _children(stage: Stage) -> dict[tuple[int, ...], list[int]]:
    """The tokens that may follow each prefix, as the callback wants them."""
    prefixes: list[tuple[int, ...]] = [()]
    following: dict[tuple[int, ...], list[int]] = {}
    for level, code in enumerate(stage.trie.code):
        tokens = stage.vocabulary.tokens[level][code.cpu().numpy()].tolist()
        starts = stage.trie.child_start[level].tolist()
        for prefix, first, end in zip(prefixes, starts[:-1], starts[1:], strict=True):
            following[prefix] = tokens[first:end]
        if level < stage.trie.levels - 1:
            prefixes = [(*prefix, token) for prefix in prefixes for token in following[prefix]]
    return following


def _prefill(stage: Stage) -> Call:
    """One forward pass of the prompts with a cache: what a search cannot do without."""
    prompts = torch.from_numpy(stage.prompts).to(stage.trie.leaf_item.device)

    @torch.inference_mode()
    def call() -> None:
        from transformers import DynamicCache

        stage.model.base_model(input_ids=prompts, past_key_values=DynamicCache(), use_cache=True)

    return call
