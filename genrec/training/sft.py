"""Supervised training on histories, resumable to the bit.

The loop is written on Hugging Face Accelerate rather than the Transformers Trainer, for three reasons. Its
state is one safetensors file (the Trainer's optimizer and random state are pickles). A run that is killed
continues at the very step, with the same batches and the same dropout, without replaying a data loader. And
the loss needs hidden states, never the model's own logits. Placing and wrapping the model stays Accelerate's
business; a run is one process.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from genrec.config import Settings
from genrec.data.histories import Histories
from genrec.errors import InputError
from genrec.training.batches import epoch_batches, pad_items, windows
from genrec.training.checkpoint import Checkpoints

__all__ = ["TrainingResult", "TrainingSettings", "train"]

log = logging.getLogger(__name__)

Validate = Callable[[], Mapping[str, float]]
Report = Callable[[int, int, float], None]


class TrainingSettings(Settings):
    """How long and how fast to train."""

    epochs: int = Field(20, ge=1)
    """Passes over the log."""
    min_steps: int = Field(1000, ge=1)
    """A small log is passed over more often, until this many optimizer steps."""
    max_steps: int | None = Field(None, ge=1)
    """End after this many steps whatever the epochs say."""
    batch_items: int = Field(1024, ge=1)
    """Items of a batch, padding included."""
    max_items: int = Field(20, ge=1)
    """Longest history, in items; longer ones are cut into windows for training."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of AdamW's rate: linear warm-up, a plateau, linear decay to zero."""
    warmup_steps: int = Field(200, ge=0)
    """Steps to the peak."""
    decay: float = Field(0.5, ge=0, le=1)
    """Share of the run over which the rate falls to zero."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay of matrices (biases and norms have none)."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    validations: int = Field(8, ge=1)
    """How often to validate, evenly over the run; the best of them is kept."""
    patience: int = Field(3, ge=1)
    """Stop after this many validations without a better ndcg@10."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision of the forward and backward pass."""
    checkpoint_seconds: float = Field(30.0, ge=0)
    """Least time between two checkpoints."""


@dataclass
class TrainingResult:
    """What a run did.

    Attributes:
        steps: optimizer steps taken. best_step: the step whose weights were kept.
        best: its ndcg@10 (without validation, its step). stopped_early: patience ran out.
        curve: one entry a validation: step, epoch, mean loss since the last one, metrics.
    """

    steps: int = 0
    best_step: int = 0
    best: float = -math.inf
    stale: int = 0
    stopped_early: bool = False
    curve: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0


def train(
    loss: nn.Module,
    histories: Histories,
    settings: TrainingSettings,
    validate: Validate | None,
    *,
    folder: Path,
    seed: int,
    report: Report | None = None,
) -> TrainingResult:
    """Minimise `loss` over `histories`; leave the best weights in it.

    Args:
        loss: maps items `(B, n)` to a scalar; its trainable parameters train.
        histories: one sequence a user.
        settings: how long and how fast.
        validate: gives metrics, ``ndcg@10`` among them; None keeps the last weights.
        folder: where checkpoints live; a run found there is continued.
        seed: of batches and dropout.
        report: called after each step with the step, the number of steps, and the loss.

    Raises:
        InputError: there is nothing to train on, or the loss stopped being a number.
    """
    if not len(histories.items):
        raise InputError(
            "there is no training interaction: every user has too few events for this split"
        )
    return _Run(loss, histories, settings, validate, Checkpoints(folder), seed).go(report)


class _Run:
    """One training run: its schedule, its state, and the loop over both."""

    def __init__(
        self,
        loss: nn.Module,
        histories: Histories,
        settings: TrainingSettings,
        validate: Validate | None,
        checkpoints: Checkpoints,
        seed: int,
    ) -> None:
        from accelerate import Accelerator

        device = next(loss.parameters()).device
        self.accelerator = Accelerator(cpu=device.type == "cpu")
        self.loss, self.histories, self.settings = loss, histories, settings
        self.validate, self.checkpoints, self.seed = validate, checkpoints, seed
        self.optimizer = torch.optim.AdamW(_groups(loss, settings.weight_decay), betas=(0.9, 0.98))
        self.step_module, self.optimizer = self.accelerator.prepare(loss, self.optimizer)
        self.steps_per_epoch = len(self._epoch(0)[1])
        epochs = max(settings.epochs * self.steps_per_epoch, settings.min_steps)
        self.total = min(epochs, settings.max_steps or epochs)
        count = settings.validations
        self.validation_steps = {max(1, round(n * self.total / count)) for n in range(1, count + 1)}
        self.result = TrainingResult()

    def go(self, report: Report | None) -> TrainingResult:
        """Train to the end from wherever the folder's checkpoints stand."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed)
            if progress := self.checkpoints.restore(self.loss, _inner(self.optimizer)):
                progress.pop("step")
                self.result = TrainingResult(**progress)
                log.info("continuing after step %d of %d", self.result.steps, self.total)
            self._loop(report)
        self.checkpoints.load_best(self.loss)
        self.loss.eval()
        return self.result

    def _loop(self, report: Report | None) -> None:
        saved = time.monotonic()
        for items in self._batches(self.result.steps):
            value = self._step(items)
            self.result.steps += 1
            self.result.loss_sum += value
            self.result.loss_count += 1
            if report is not None:
                report(self.result.steps, self.total, value)
            validates = self.result.steps in self.validation_steps
            if validates:
                self._validate()
            if validates or time.monotonic() - saved >= self.settings.checkpoint_seconds:
                self._save()
                saved = time.monotonic()

    def _batches(self, done: int) -> Iterator[NDArray[np.int64]]:
        """Padded batches `(B, n)` behind the first `done`, until the run ends or stops early."""
        step = 0
        for epoch in itertools.count():
            data, batches = self._epoch(epoch)
            for batch in batches:
                step += 1
                if step > self.total or self.result.stopped_early:
                    return
                if step > done:
                    yield pad_items(data, batch)

    def _epoch(self, epoch: int) -> tuple[Histories, list[NDArray[np.int64]]]:
        generator = np.random.default_rng((self.seed, epoch))
        # One more than a history: its last item is a target, and the positions in front of it are those
        # that a full history is searched from.
        data = windows(self.histories, self.settings.max_items + 1, generator)
        return data, epoch_batches(data.lengths, self.settings.batch_items, generator)

    def _step(self, items: NDArray[np.int64]) -> float:
        self.loss.train()
        rate = self._rate(self.result.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = self.accelerator.device
        # Not Accelerator's own autocast: its precision is fixed for the whole process by the first run.
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            value = self.step_module(torch.from_numpy(items).to(device))
        self.accelerator.backward(value)
        self.accelerator.clip_grad_norm_(self.loss.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        number = float(value.detach())
        if not math.isfinite(number):
            raise InputError(
                f"the loss became {number} at step {self.result.steps}: lower training.learning_rate "
                f"(now {self.settings.learning_rate:g}) or set training.precision to no, "
                "and start over (--restart discards this run)"
            )
        return number

    def _rate(self, step: int) -> float:
        settings = self.settings
        warm = min(1.0, (step + 1) / max(1, min(settings.warmup_steps, self.total // 10)))
        left = (self.total - step) / max(1.0, settings.decay * self.total)
        return settings.learning_rate * warm * min(1.0, left)

    def _validate(self) -> None:
        result, metrics = self.result, dict(self.validate()) if self.validate else {}
        entry = {"step": result.steps, "epoch": result.steps / self.steps_per_epoch}
        result.curve.append(entry | {"loss": result.loss_sum / result.loss_count} | metrics)
        result.loss_sum, result.loss_count = 0.0, 0
        said = f", validation ndcg@10 {metrics['ndcg@10']:.4f}" if metrics else ""
        loss = result.curve[-1]["loss"]
        log.info("step %d of %d, loss %.3f%s", result.steps, self.total, loss, said)
        self._keep_if_best(metrics.get("ndcg@10", result.steps))

    def _keep_if_best(self, score: float) -> None:
        """Keep the weights; of equally good ones the latest, which have learned the longest."""
        result = self.result
        result.stale = 0 if score > result.best else result.stale + 1
        if score >= result.best:
            result.best, result.best_step = score, result.steps
            self.checkpoints.save_best(self.loss)
        result.stopped_early = result.stale >= self.settings.patience

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.checkpoints.save(
                self.result.steps, self.loss, _inner(self.optimizer), dict(vars(self.result))
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
