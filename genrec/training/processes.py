"""Processes of one run: one, or as many as ``accelerate launch`` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genrec.common.errors import ConfigError
from genrec.training.sharding import refuse_engines, shard, wants_shards, without_own_wrapping

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Processes", "agreed_folder", "main_first", "wait_for_all"]


@contextmanager
def main_first() -> Iterator[None]:
    """Run the block in the first process, and in the others once it is done there."""
    if not _launched():
        yield
        return
    with _state().main_process_first():
        yield


def wait_for_all() -> None:
    """Until all processes are here."""
    if _launched():
        _state().wait_for_everyone()


def agreed_folder(mine: Path) -> Path:
    """The first process's folder, for all."""
    if not _launched():
        return mine
    from accelerate.utils import broadcast_object_list

    _state()
    folder: Path = broadcast_object_list([mine])[0]
    return folder


def _launched() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _state() -> Any:
    from accelerate import PartialState

    refuse_engines()
    # The launcher's option by which only the first process reads a model's weights; all need them here.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    return PartialState(cpu=not torch.cuda.is_available())


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Attributes:
        accelerator: what wraps the model and moves gradients.
    """

    accelerator: Accelerator

    @classmethod
    def start(cls, device: torch.device, report_to: tuple[str, ...], folder: Path) -> Processes:
        """Join the run; `report_to` names the trackers that get its figures, in `folder`.

        Raises:
            ConfigError: a tracker's package is not installed.
            InputError: the run was launched with an engine that cannot be used here.
        """
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        refuse_engines()
        # Untied heads tuned whole get no gradient for rows that no target competes with.
        wrapping = DistributedDataParallelKwargs(find_unused_parameters=True)
        try:
            with without_own_wrapping():
                accelerator = Accelerator(
                    cpu=device.type == "cpu",
                    kwargs_handlers=[wrapping],
                    log_with=list(report_to) or None,
                    project_dir=folder / "logs" if report_to else None,
                )
        except ImportError as error:
            raise ConfigError(f"training.report_to = {list(report_to)}: {error}") from None
        if missing := set(report_to) - {str(tracker) for tracker in accelerator.log_with}:
            names = " ".join(sorted(missing))
            raise ConfigError(
                f"training.report_to names what is not installed: pip install {names}"
            )
        if report_to:
            accelerator.init_trackers("genrec")
        return cls(accelerator)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    @property
    def rank(self) -> int:
        """Which of them this is."""
        return int(self.accelerator.process_index)

    @property
    def main(self) -> bool:
        """Whether this one writes files."""
        return bool(self.accelerator.is_main_process)

    def trained(self, loss: nn.Module) -> nn.Module:
        """What trains: `loss` itself, or its copy in pieces (see `genrec.training.sharding`)."""
        return shard(loss, self.device) if wants_shards() else loss

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Wrap what `trained` gave, so that gradients are averaged over the processes."""
        if wants_shards():  # it averages them by itself
            return module, optimizer
        wrapped: tuple[Any, Any] = self.accelerator.prepare(module, optimizer)
        return wrapped

    def adding_up(self, module: nn.Module) -> AbstractContextManager[None]:
        """In it, gradients add up without being averaged; pieces always are, or they would become whole."""
        if wants_shards():
            return nullcontext()
        context: AbstractContextManager[None] = self.accelerator.no_sync(module)
        return context

    def sum(self, value: Tensor) -> float:
        """Add up a number over all processes."""
        return float(self.accelerator.reduce(value.detach(), reduction="sum"))

    def agree(self, wanted: bool) -> bool:
        """Whether the first process wants it: clocks differ, and all must do the same."""
        if self.count == 1:
            return wanted
        return bool(self.sum(torch.tensor(float(wanted and self.main), device=self.device)))

    def random_states(self) -> dict[str, Tensor]:
        """State of every process's random generators, `(processes, bytes)`."""
        states = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state()
        return {
            name: self.accelerator.gather(state.to(self.device)[None]).cpu()
            for name, state in states.items()
        }

    def report(self, values: dict[str, float], step: int) -> None:
        """Hand figures to the trackers, if any."""
        if self.accelerator.trackers:
            self.accelerator.log(values, step=step)

    def wait(self) -> None:
        """Until all are here."""
        self.accelerator.wait_for_everyone()

    def end(self) -> None:
        """Close the trackers, if any."""
        if self.accelerator.trackers:
            self.accelerator.end_training()
