"""Retraining: a fitted recommender trained on. Catalog, semantic IDs, log and split stay, the model learns.

Distillation and preference optimisation differ in what trains and by what loss. What they share is here: a
work folder that only the same run goes on in, validation as in a fit, and a recommender folder at the end.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from genrec.common.errors import InputError
from genrec.common.progress import training_bar
from genrec.data.histories import Cases, Histories, Split
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.ties import expected
from genrec.fitting.repeats import repeated_share
from genrec.fitting.steps import measure_validation, training_metrics
from genrec.fitting.weighing import clearly_better
from genrec.fitting.weights import UNCHOSEN, choose_mixture_weights, choose_pointer_weight
from genrec.fitting.work_folder import WorkFolder
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.folder.whole import save_folder
from genrec.recommender.settings import FitSettings
from genrec.training import TrainingResult, TrainingSettings, train
from genrec.training.processes import main_first
from genrec.training.sources import Source

__all__ = ["Retraining", "made_as", "plain_settings", "training_split"]

log = logging.getLogger(__name__)
Prepare = Callable[[], tuple[nn.Module, Source]]


@dataclass(frozen=True)
class Retraining(Generic[AnyRecommender]):
    """One such run.

    Attributes:
        recommender: what trains, its settings those of this run; it is saved at the end.
        kind: name of the run's record in ``metrics.json``. record: what it is known by, as plain values.
        seed: of batches and dropout.
        chooses_weights: whether mixture weights of pointer and memory that the settings leave open are
            chosen at the end.
        prior: settings of a recommender that this one comes from and should be better than: its weights are
            kept unless training finds clearly better ones, and so are its mixture weights.
        finish: makes of the trained recommender the one to save, and says what else its metrics tell; None
            where it is saved as it was trained.
    """

    recommender: AnyRecommender
    kind: str
    record: dict[str, Any]
    seed: int
    chooses_weights: bool = False
    prior: FitSettings | None = None
    finish: Callable[[AnyRecommender], tuple[AnyRecommender, dict[str, Any]]] | None = None

    def run(
        self, prepare: Prepare, out: Path, *, overwrite: bool = False, restart: bool = False
    ) -> AnyRecommender:
        """Train, validate, and save in `out`; a run that was interrupted goes on where it stood.

        Under ``accelerate launch`` all processes train and the first one writes.

        Args:
            prepare: makes the loss and what it is computed on, once the work folder is this run's.
            out: recommender folder to make.
            overwrite: whether an existing one is replaced.
            restart: whether an unfinished run is discarded instead of continued.

        Raises:
            InputError: a folder is in the way, or the loss stopped being a number.
        """
        with WorkFolder.beside(out, overwrite=overwrite, restart=restart) as work:
            recommender = self._run(prepare, work)
            work.save(lambda: save_folder(recommender, out, overwrite=overwrite))
        return recommender

    def _run(self, prepare: Prepare, work: WorkFolder) -> AnyRecommender:
        recommender = self.recommender
        with main_first():
            work.claim(recommender.data | {self.kind: self.record}, recommender.settings)
        began = time.perf_counter()
        result, prior = self._train_from(*prepare(), work.checkpoints)
        seconds = time.perf_counter() - began
        more: dict[str, Any] = {}
        if self.finish is not None:
            recommender, more = self.finish(recommender)
        split = training_split(recommender)
        share = {"share": repeated_share(split.valid)}
        tried: dict[str, dict[str, float]] = {"components": {}, "repeats": share}
        if self.chooses_weights:
            recommender, tried = choose_mixture_weights(recommender, split, prior)
        recommender.metrics = self._metrics(recommender, result, seconds) | tried | more
        return recommender

    def _train_from(
        self, loss: nn.Module, source: Source, folder: Path
    ) -> tuple[TrainingResult, FitSettings | None]:
        """Train; but go back to the weights that it started from where those learned are not clearly better.

        Each is judged with the pointer's weight that suits it. Where the weights stay, how often the same
        item comes again is counted in the log all the same.

        Returns:
            The result, and the settings whose mixture weights stay unless others are clearly better.
        """
        if self.prior is None:
            return self._train(loss, source, folder), None
        start = _copied(loss)
        result = self._train(loss, source, folder)
        split = training_split(self.recommender)
        drawn = split.valid.draw(self._settings.validation_users, self._settings.seed)
        if not len(drawn):
            log.warning("no user has a validation case: the last weights are kept, better or not")
            return result, self.prior
        suited, _ = choose_pointer_weight(self._quick(), split)
        with_start = self._quick().with_pointer_weight(self.prior.language_model.pointer_weight)
        learned, found = _copied(loss), _ndcg(suited, drawn)
        loss.load_state_dict(start)
        if clearly_better(found, _ndcg(with_start, drawn)):
            loss.load_state_dict(learned)
            weight = suited.settings.language_model.pointer_weight
            writing = self.prior.language_model.replace(pointer_weight=weight)
            return result, self.prior.replace(language_model=writing)
        log.info("on %d validation users nothing learned is clearly better", len(drawn))
        self._count_repeats(split.train)
        return replace(result, best_step=0), self.prior

    def _count_repeats(self, train: Histories) -> None:
        """Tell the pointer how often an item comes again: validation, without seen items, cannot."""
        pointer = self.recommender.language_model.pointer
        if pointer is not None:
            again, events = train.repeats
            share = (again + pointer.mixture_weights[0].item()) / (events + 1)
            pointer.load_state_dict(pointer.expecting_repeats(share).state_dict())

    @property
    def _settings(self) -> FitSettings:
        return self.recommender.settings

    def _quick(self) -> AnyRecommender:
        """What is validated while it trains."""
        return self.recommender.alone().with_beams(self._settings.validation_beams)

    def _train(self, loss: nn.Module, source: Source, folder: Path) -> TrainingResult:
        settings, quick = self._settings, self._quick()
        if quick.language_model.pointer is not None:
            # Codes that are learned from nothing have to be seen beside a pointer that knows much already.
            quick = quick.with_pointer_weight(UNCHOSEN)
        valid = training_split(self.recommender).valid
        drawn = valid.draw(settings.validation_users, settings.seed)
        with training_bar() as report:
            return train(
                loss,
                source,
                settings.training,
                (lambda: measure_validation(quick, drawn).metrics) if len(drawn) else None,
                folder=folder,
                seed=self.seed,
                report=report,
            )

    def _metrics(
        self, recommender: FittedRecommender, result: TrainingResult, seconds: float
    ) -> dict[str, Any]:
        """What `metrics.json` of any fit says, of this one."""
        began = time.perf_counter()
        valid = training_split(recommender).valid
        measured = measure_validation(recommender, valid) if len(valid) else None
        times = {"training": seconds, "validation": time.perf_counter() - began}
        return {
            "validation": None if measured is None else measured.to_json(),
            **training_metrics(recommender, result),
            "seconds": {name: round(value, 1) for name, value in times.items()},
            self.kind: self.record,
        }


def _copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.cpu().clone() for name, value in module.state_dict().items()}


def _ndcg(recommender: FittedRecommender, cases: Cases) -> NDArray[np.float64]:
    """The ndcg@10 of each case, `(C,)`."""
    results = measure_validation(recommender, cases).results
    return expected(METRICS["ndcg"], results.ranks, results.tied, 10)


def plain_settings(fitted: FitSettings, training: TrainingSettings) -> FitSettings:
    """What a folder says of itself whose whole model was trained further, in float32."""
    plain = {"tuning": "full", "quantization": "none", "dtype": "float32"}
    return fitted.replace(
        language_model=fitted.language_model.replace(**plain),
        training=training.replace(max_items=fitted.training.max_items, codes_first=0),
    )


def training_split(recommender: FittedRecommender) -> Split:
    """The split that the recommender was fitted on.

    Raises:
        InputError: it leaves nothing to train on.
    """
    if not len(recommender.log):
        raise InputError(
            "the recommender has no log to learn from: it was transferred without one; transfer it again "
            "with --interactions"
        )
    if not len(recommender.split.train.items):
        raise InputError(
            "the recommender's log and split leave no training interaction to learn from"
        )
    return recommender.split


def made_as(kind: str, record: dict[str, Any], out: Path, what: str) -> bool:
    """Whether `out` holds what a run of this record leaves; `what` names that.

    Raises:
        InputError: it holds something else.
    """
    if not out.exists():
        return False
    metrics = out / "metrics.json"
    found = json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {}
    if found.get(kind) != record:
        raise InputError(
            f"{out} holds something other than {what}: choose another folder, or set overwrite=true"
        )
    return True
