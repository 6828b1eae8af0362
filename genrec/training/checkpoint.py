"""Checkpoint: training state in one safetensors file; weights, optimizer moments, random state, progress.

A file is written under a temporary name and renamed, so it is whole or absent, and carries a checksum. The
newest two are kept: if the newest cannot be read or does not match its checksum, the one before it is used
and the log names what was refused.
"""

from __future__ import annotations

import json
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from genrec.common.errors import InputError
from genrec.training.sharding import like, whole

__all__ = ["Checkpoints"]

log = logging.getLogger(__name__)
_KEEP = 2


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training run, in one folder."""

    folder: Path

    def save(
        self,
        step: int,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: dict[str, Any],
        random_states: dict[str, Tensor],
        writes: bool = True,
    ) -> None:
        """Write the state after `step` optimizer steps and drop all but the newest two files.

        What is in pieces is put together first, so all processes must call this, and one of them writes.

        Args:
            step: how many were taken.
            module: its trainable parameters are kept.
            optimizer: its moments are kept.
            progress: anything that JSON holds.
            random_states: ``cpu`` (and ``cuda``) -> `(processes, bytes)`.
            writes: whether this process is the one.
        """
        parts = {f"weight.{name}": p.detach() for name, p in _trainable(module).items()}
        parts |= _moments(module, optimizer)
        tensors = {}
        for name, part in parts.items():
            tensor = whole(part)
            if writes:
                tensors[name] = (
                    tensor.cpu()
                )  # one at a time: whole, they may not fit beside the pieces
        if not writes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors |= {f"random.{name}": states for name, states in random_states.items()}
        _write(self.folder / f"step-{step:08d}.safetensors", tensors, {"step": step} | progress)
        for old in self._files()[:-_KEEP]:
            old.unlink()

    def restore(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, rank: int = 0
    ) -> dict[str, Any] | None:
        """Load the newest sound state into `module`, `optimizer` and this process's random generators.

        Returns:
            The progress that was saved with it, ``step`` included; None when there is no checkpoint.

        Raises:
            InputError: it was written by fewer processes than there are now.
        """
        for path in reversed(self._files()):
            try:
                tensors, progress = _read(path)
            except (SafetensorError, OSError, ValueError, KeyError) as error:
                log.warning(
                    "checkpoint %s is refused (%s): using the one before it", path.name, error
                )
                continue
            _load_weights(module, tensors)
            _load_moments(module, optimizer, tensors)
            _load_random(tensors, rank)
            return progress
        return None

    def save_best(self, module: nn.Module) -> None:
        """Keep the weights that validate best."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"weight.{name}": p.detach() for name, p in _trainable(module).items()}
        _write(self.folder / "best.safetensors", tensors, {})

    def load_best(self, module: nn.Module) -> None:
        """Put the best weights back."""
        _load_weights(module, _read(self.folder / "best.safetensors")[0])

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"))


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def _moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"optimizer.{name}.{key}": torch.as_tensor(value)
        for name, parameter in _trainable(module).items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


@torch.no_grad()
def _load_weights(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    for name, parameter in _trainable(module).items():
        parameter.copy_(like(tensors[f"weight.{name}"], parameter))


def _load_moments(
    module: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    for name, parameter in _trainable(module).items():
        prefix = f"optimizer.{name}."
        found = {
            key.removeprefix(prefix): value
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
        # AdamW counts its steps on the CPU; its moments live beside their parameter.
        moments = {k: v if k == "step" else like(v, parameter) for k, v in found.items()}
        optimizer.state[parameter].update(moments)


def _load_random(tensors: dict[str, Tensor], rank: int) -> None:
    states = tensors["random.cpu"]
    if rank >= len(states):
        raise InputError(
            f"this run was begun by {len(states)} processes: go on with as many, or start over"
        )
    # Copies: torch refuses a state that is a row of a larger tensor, or crashes on it.
    torch.set_rng_state(states[rank].clone())
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"][rank].clone())


def _write(path: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    temporary = path.with_suffix(".writing")
    whole = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    facts = {"progress": json.dumps(progress), "crc32": str(_checksum(whole))}
    save_file(whole, temporary, metadata=facts)
    temporary.replace(path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if int(facts["crc32"]) != _checksum(tensors):
        raise ValueError("its content does not match its checksum")
    progress: dict[str, Any] = json.loads(facts["progress"])
    return tensors, progress


def _checksum(tensors: dict[str, Tensor]) -> int:
    value = 0
    for name in sorted(tensors):
        content = tensors[name].contiguous().flatten().view(torch.uint8).numpy()
        value = zlib.crc32(content.data, value)
    return value
