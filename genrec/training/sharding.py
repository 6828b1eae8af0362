"""Sharding: parameters, gradients and moments in pieces, one a process (FSDP, Zhao et al. 2023).

``accelerate launch --use_fsdp`` asks for it. Torch's second form of it (`fully_shard`) does the work, on a
copy of the loss: between steps the loss itself stays whole in main memory, and takes the trained weights
whenever they are validated, kept or used. So search and saving know nothing of pieces, and a checkpoint is
the same file however its run was spread. Accelerate's own wrapping is not used: it knows GPUs only, and looks
for layers in a Transformers model, not in a loss around one.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from genrec.common.errors import InputError

__all__ = [
    "gather_into",
    "like",
    "refuse_engines",
    "shard",
    "wants_shards",
    "whole",
    "without_own_wrapping",
]

_FSDP = "ACCELERATE_USE_FSDP"
_ENGINES = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM"}


def refuse_engines() -> None:
    """Refuse what Accelerate's launcher offers and this training cannot do.

    Raises:
        InputError: the run was launched with an engine that replaces optimizer and backward pass.
    """
    for variable, name in _ENGINES.items():
        if _is_on(variable):
            raise InputError(
                f"training cannot run under {name}: launch it with accelerate launch --multi_gpu (every "
                "process holds the whole model) or --use_fsdp (each holds a part of it)"
            )


def wants_shards() -> bool:
    """Whether the run was launched with ``--use_fsdp`` and has joined its process group."""
    return _is_on(_FSDP) and torch.distributed.is_initialized()


@contextmanager
def without_own_wrapping() -> Iterator[None]:
    """Hide the launcher's ``--use_fsdp`` from Accelerate, which would wrap by itself, and on GPUs only."""
    asked = os.environ.pop(_FSDP, None)
    try:
        yield
    finally:
        if asked is not None:
            os.environ[_FSDP] = asked


def shard(loss: nn.Module, device: torch.device) -> nn.Module:
    """Copy `loss` in pieces over all processes; move `loss` itself to main memory.

    Every layer that its architecture says must stay together is gathered for its own passes only; what
    remains (tables, norms) for the whole pass.

    Raises:
        InputError: the parameters cannot be cut up as they are.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    _check(loss)
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    pieces = copy.deepcopy(loss.to("cpu"))
    for layer in _layers(pieces):
        fully_shard(layer, mesh=mesh)
    fully_shard(pieces, mesh=mesh)
    return pieces


@torch.no_grad()
def gather_into(loss: nn.Module, pieces: nn.Module) -> None:
    """Give `loss` the trained weights of its sharded copy. All processes must take part."""
    trained = dict(pieces.named_parameters())
    for name, parameter in loss.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(whole(trained[name]))


def whole(tensor: Tensor) -> Tensor:
    """The tensor that every process has a piece of, or the tensor itself. All processes must take part."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's piece of `value` if `parameter` is in pieces, else all of it; on the same device."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    mesh, placements = parameter.device_mesh, parameter.placements
    # Every process has read the same whole value: each takes its piece, and nothing is sent.
    return distribute_tensor(value, mesh, placements, src_data_rank=None)


def _check(loss: nn.Module) -> None:
    advice = "train in whole copies instead (accelerate launch --multi_gpu)"
    if not all(p.is_floating_point() for p in loss.parameters()):
        raise InputError(f"a quantized language model cannot be trained with FSDP: {advice}")
    kinds = {str(p.dtype).removeprefix("torch.") for p in loss.parameters() if p.requires_grad}
    if len(kinds) > 1:
        raise InputError(
            f"FSDP trains parameters of one precision, and these have {' and '.join(sorted(kinds))}: set "
            f"language_model.dtype=float32 with training.precision=bf16, or {advice}"
        )


def _layers(loss: nn.Module) -> list[nn.Module]:
    """The layers that Transformers names as units."""
    modules = list(loss.modules())
    names = {name for m in modules for name in getattr(m, "_no_split_modules", None) or ()}
    return [module for module in modules if type(module).__name__ in names]


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() == "true"
