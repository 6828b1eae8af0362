"""Training loop, resumable to the bit, in one process or many.

The loop is written on Hugging Face Accelerate rather than the Transformers Trainer, for three reasons. Its
state is one safetensors file (the Trainer's optimizer and random state are pickles). A run that is killed
continues at the very step, with the same batches and the same dropout, without replaying a data loader. And
the loss needs hidden states, never the model's own logits. Placing and wrapping the model stays Accelerate's
business: under ``accelerate launch`` every process takes its part of each batch, and the sums of all parts,
divided by what the whole batch holds, are the loss and the gradients that one process would have.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genrec.common.errors import InputError
from genrec.training.checkpoint import Checkpoints
from genrec.training.out_of_memory import out_of_memory_advice
from genrec.training.processes import Processes
from genrec.training.settings import TrainingSettings
from genrec.training.sharding import gather_into
from genrec.training.sources import Epoch, Part, Source
from genrec.training.throughput import Throughput

__all__ = ["TrainingResult", "train"]

log = logging.getLogger(__name__)

Validate = Callable[[], Mapping[str, float]]
Report = Callable[[int, int, float], None]


@dataclass
class TrainingResult:
    """What a run did.

    Attributes:
        steps: optimizer steps taken. best_step: the step whose weights were kept.
        best: its ndcg@10 (without validation, its step). stopped_early: patience ran out.
        curve: one entry a validation: step, epoch, mean loss since the last one, metrics.
        throughput: tokens, seconds and most memory of the run's last process (see `Throughput.facts`).
    """

    steps: int = 0
    best_step: int = 0
    best: float = -math.inf
    stale: int = 0
    stopped_early: bool = False
    curve: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    throughput: dict[str, float] = field(default_factory=dict)


def train(
    loss: nn.Module,
    source: Source,
    settings: TrainingSettings,
    validate: Validate | None,
    *,
    folder: Path,
    seed: int,
    report: Report | None = None,
) -> TrainingResult:
    """Minimise `loss` over `source`; leave the best weights in it.

    Args:
        loss: maps what a source's `part` gives to a sum; its trainable parameters train.
        source: where batches come from.
        settings: how long and how fast.
        validate: gives metrics, ``ndcg@10`` among them; None keeps the last weights.
        folder: where checkpoints live; a run found there is continued.
        seed: of batches and dropout.
        report: called after each step with the step, the number of steps, and the loss.

    Raises:
        InputError: the loss stopped being a number, or memory ran out.
    """
    return _Run(loss, source, settings, validate, Checkpoints(folder), seed).go(report)


class _Run:
    """One training run: its schedule, its state, and the loop over both."""

    def __init__(
        self,
        loss: nn.Module,
        source: Source,
        settings: TrainingSettings,
        validate: Validate | None,
        checkpoints: Checkpoints,
        seed: int,
    ) -> None:
        self.loss, self.source, self.settings = loss, source, settings
        self.validate, self.checkpoints, self.seed = validate, checkpoints, seed
        device = next(loss.parameters()).device
        self.processes = Processes.start(device, settings.report_to, checkpoints.folder)
        self.trained = self.processes.trained(loss)
        groups = _groups(self.trained, settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        self.step_module, self.optimizer = self.processes.prepare(self.trained, optimizer)
        self.epoch, self.epoch_number = source.epoch(0), 0
        self.steps_per_epoch = len(self.epoch)
        epochs = max(settings.epochs * self.steps_per_epoch, settings.min_steps)
        self.total = min(epochs, settings.max_steps or epochs)
        count = settings.validations
        self.validation_steps = {max(1, round(n * self.total / count)) for n in range(1, count + 1)}
        self.result = TrainingResult()
        self.throughput = Throughput(device)
        if self.processes.count > 1:
            log.info("training in %d processes", self.processes.count)
        self._check_warm_up()

    def go(self, report: Report | None) -> TrainingResult:
        """Train to the end from wherever the folder's checkpoints stand."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed + self.processes.rank)
            self._restore()
            self._loop(report)
        self.processes.wait()  # until the best weights are written
        if self.trained is not self.loss:
            self.loss.to(self.processes.device)
        self.checkpoints.load_best(self.loss)
        self.loss.eval()
        self.result.throughput = self.throughput.facts()
        self.processes.end()
        return self.result

    def _check_warm_up(self) -> None:
        steps = self.settings.codes_first
        if steps and not hasattr(self.loss, "train_only_codes"):
            raise InputError(
                f"training.codes_first = {steps}: there are no codes here; leave it out"
            )
        if steps >= self.total:
            log.warning(
                "training.codes_first = %d leaves nothing for the rest of the model: the run ends after step "
                "%d; lower it, or set language_model.tuning=vocabulary",
                steps,
                self.total,
            )

    def _restore(self) -> None:
        if progress := self.checkpoints.restore(
            self.trained, _inner(self.optimizer), self.processes.rank
        ):
            progress.pop("step")
            self.result = TrainingResult(**progress)
            log.info("continuing after step %d of %d", self.result.steps, self.total)

    def _loop(self, report: Report | None) -> None:
        saved = time.monotonic()
        for epoch, batch in self._batches(self.result.steps):
            with self.throughput.timed(epoch.tokens(batch)):
                value = self._step(epoch, batch)
            self.result.steps += 1
            self.result.loss_sum += value
            self.result.loss_count += 1
            if report is not None:
                report(self.result.steps, self.total, value)
            self.processes.report({"loss": value, "rate": self._rate()}, self.result.steps)
            validates = self.result.steps in self.validation_steps
            if validates:
                self._validate()
            due = time.monotonic() - saved >= self.settings.checkpoint_seconds
            if validates or self.processes.agree(due):
                self._save()
                saved = time.monotonic()

    def _batches(self, done: int) -> Iterator[tuple[Epoch, int]]:
        """Epoch and batch of every step behind the first `done`, until the run ends or stops early."""
        steps = 0
        for number in itertools.count():
            epoch = self.epoch if number == 0 else self.source.epoch(number)
            for batch in range(len(epoch)):
                steps += 1
                if steps > self.total or self.result.stopped_early:
                    return
                if steps > done:
                    yield epoch, batch

    def _step(self, epoch: Epoch, batch: int) -> float:
        self.trained.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        with self._codes_alone(self.result.steps < self.settings.codes_first):
            try:
                total = self._gradients(epoch, batch)
            except torch.OutOfMemoryError as error:
                self.optimizer.zero_grad()
                advice = out_of_memory_advice(error, self._probe(epoch, batch), self.settings)
                raise advice from None
            self.processes.accelerator.clip_grad_norm_(
                self.trained.parameters(), self.settings.clip
            )
            self.optimizer.step()
            self.optimizer.zero_grad()
        number = self.processes.sum(total)
        if not math.isfinite(number):
            raise InputError(
                f"the loss became {number} at step {self.result.steps}: lower training.learning_rate "
                f"(now {self.settings.learning_rate:g}) or set training.precision to no, "
                "and start over (--restart discards this run)"
            )
        return number

    @contextmanager
    def _codes_alone(self, only: bool) -> Iterator[None]:
        """Let one step train nothing but the codes' rows; validations and checkpoints see no difference."""
        if not only:
            yield
            return
        module: Any = self.trained
        module.train_only_codes(True)
        try:
            yield
        finally:
            module.train_only_codes(False)

    def _gradients(self, epoch: Epoch, batch: int) -> Tensor:
        """Add up the gradients of this process's pieces; return its share of the batch's mean loss."""
        pieces = self.settings.accumulate
        count, total = epoch.units(batch), torch.zeros((), device=self.processes.device)
        for piece in range(pieces):
            last = piece == pieces - 1
            part = Part(self.processes.rank * pieces + piece, self.processes.count * pieces)
            with nullcontext() if last else self.processes.adding_up(self.step_module):
                value = self._forward(epoch, batch, part) / count
                # Wrapped models average gradients over processes, and what is wanted is their sum.
                self.processes.accelerator.backward(value * self.processes.count)
            total += value.detach()
        return total

    def _forward(self, epoch: Epoch, batch: int, part: Part) -> Tensor:
        inputs, counts = epoch.part(batch, part)
        device = self.processes.device
        # Not Accelerator's own autocast: its precision is fixed for the whole process by the first run.
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            value: Tensor = self.step_module(inputs.to(device))
        return value if counts else value * 0.0

    def _probe(self, epoch: Epoch, batch: int) -> Callable[[int], None]:
        """A try of one piece in `of`, gradients thrown away, to see whether it fits in memory."""

        def attempt(of: int) -> None:
            try:
                count = self.processes.count
                value = self._forward(epoch, batch, Part(self.processes.rank, of * count))
                self.processes.accelerator.backward(value)
            finally:
                self.optimizer.zero_grad()

        return attempt

    def _rate(self) -> float:
        settings, step = self.settings, self.result.steps
        warm = min(1.0, (step + 1) / max(1, min(settings.warmup_steps, self.total // 10)))
        left = (self.total - step) / max(1.0, settings.decay * self.total)
        return settings.learning_rate * warm * min(1.0, left)

    def _validate(self) -> None:
        with self._whole():
            self._measure()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Let the loss have the weights as they stand; where it trains in pieces, that takes a copy."""
        if self.trained is self.loss:
            yield
            return
        self.loss.to(self.processes.device)
        gather_into(self.loss, self.trained)
        yield
        self.loss.to("cpu")

    def _measure(self) -> None:
        result, metrics = self.result, dict(self.validate()) if self.validate else {}
        entry = {"step": result.steps, "epoch": result.steps / self.steps_per_epoch}
        said = f", validation ndcg@10 {metrics['ndcg@10']:.4f}" if metrics else ""
        result.curve.append(entry | {"loss": result.loss_sum / result.loss_count} | metrics)
        result.loss_sum, result.loss_count = 0.0, 0
        loss, speed = result.curve[-1]["loss"], self.throughput.said()
        log.info("step %d of %d, loss %.3f%s; %s", result.steps, self.total, loss, said, speed)
        self.processes.report(metrics | self.throughput.facts(), result.steps)
        self._keep_if_best(metrics.get("ndcg@10", result.steps))

    def _keep_if_best(self, score: float) -> None:
        """Keep the weights; of equally good ones the latest, which have learned the longest."""
        result = self.result
        result.stale = 0 if score > result.best else result.stale + 1
        if score >= result.best:
            result.best, result.best_step = score, result.steps
            if self.processes.main:
                self.checkpoints.save_best(self.loss)
        result.stopped_early = result.stale >= self.settings.patience

    def _save(self) -> None:
        states = self.processes.random_states()
        self.checkpoints.save(
            self.result.steps,
            self.trained,
            _inner(self.optimizer),
            dict(vars(self.result)),
            states,
            writes=self.processes.main,
        )


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer behind Accelerate's wrapper, whose state is keyed by the parameters themselves."""
    inner: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner
