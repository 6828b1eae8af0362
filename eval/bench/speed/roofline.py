"""Roofline: the least time in which a machine could answer, by its arithmetic and by its memory.

Each step of the search takes at least the larger of two times: its floating-point operations at the
machine's best rate of matrix products, and the bytes it must read at the machine's copy bandwidth. With R
requests, P prompt tokens, W beams, L levels, N parameters outside the embeddings, A = layers × query heads
× head width, b bytes a value, and a cache of kv bytes a token::

    prefill   max( R (2 N P + 2 A P²) / F,        N b / D )
    level l   max( R W (2 N + 4 A (P + l)) / F,   (N b + R (P + W l) kv) / D )     l = 1 … L - 1

Counted are the layers only: neither the head nor the search's own work. A search that leaves out rows which
cannot change its result (forced codes, levels flushed at the leaves) may be faster than this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench.speed.workload import Workload

__all__ = ["ModelCost", "Rates", "Step", "repeated_cost", "roofline", "rows_share"]


@dataclass(frozen=True)
class Rates:
    """What a machine can do.

    Attributes:
        flops: floating-point operations a second in matrix products, F.
        bandwidth: bytes a second read and written in a large copy, D.
    """

    flops: float
    bandwidth: float


@dataclass(frozen=True)
class ModelCost:
    """What a model's layers cost.

    Attributes:
        parameters: outside the embeddings and the head, N.
        attention: layers × query heads × head width, A.
        cache_bytes: of keys and values for one token, kv.
        value_bytes: of one weight, b.
    """

    parameters: int
    attention: int
    cache_bytes: int
    value_bytes: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> ModelCost:
        """Count."""
        config = model.config
        tables = {
            id(layer.weight): layer.weight.numel()
            for layer in (model.get_input_embeddings(), model.get_output_embeddings())
        }
        value_bytes = next(model.parameters()).element_size()
        heads_wide = config.num_hidden_layers * config.head_dim
        return cls(
            sum(p.numel() for p in model.parameters()) - sum(tables.values()),
            heads_wide * config.num_attention_heads,
            2 * heads_wide * config.num_key_value_heads * value_bytes,
            value_bytes,
        )


@dataclass(frozen=True)
class Step:
    """One forward pass: the seconds that its arithmetic and its memory traffic take at least."""

    name: str
    compute: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.compute, self.memory)


def roofline(cost: ModelCost, rates: Rates, workload: Workload) -> list[Step]:
    """The least seconds of every step of a search; their sum is the limit of the whole."""
    users, prompt, beams = workload.users, workload.prompt, workload.beams
    weights = cost.parameters * cost.value_bytes
    reading = users * (2 * cost.parameters * prompt + 2 * cost.attention * prompt**2)
    steps = [Step("prefill", reading / rates.flops, weights / rates.bandwidth)]
    for level in range(1, workload.levels):
        row = 2 * cost.parameters + 4 * cost.attention * (prompt + level)
        cache = users * (prompt + beams * level) * cost.cache_bytes
        compute, memory = users * beams * row / rates.flops, (weights + cache) / rates.bandwidth
        steps.append(Step(f"level {level}", compute, memory))
    return steps


def repeated_cost(cost: ModelCost, workload: Workload) -> float:
    """Floating-point operations of a search that reads the prompt once for each beam, as `generate` does."""
    prompt, tokens = workload.prompt, workload.prompt + workload.levels - 1
    row = 2 * cost.parameters * tokens + 2 * cost.attention * prompt**2
    return float(workload.users * workload.beams * row)


def rows_share(workload: Workload) -> float:
    """Rows of all steps for each row of the prefill, ``(P + (L - 1) W) / P``."""
    return (workload.prompt + (workload.levels - 1) * workload.beams) / workload.prompt
