"""Fit: from a catalog and a log to a recommender, in six steps, each of which survives a kill.

    texts -> vectors -> semantic IDs -> text model -> language model, which the text model teaches -> weights

Every step leaves its result in the work folder, so a second call with the same data and settings goes on
where the first one stood, and ends with the same weights.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.artifacts import atomic_folder
from genrec.common.errors import ConfigError, DataError
from genrec.common.progress import training_bar
from genrec.data.catalog import Catalog
from genrec.data.facts import data_facts
from genrec.data.histories import Split
from genrec.data.interactions import Interactions
from genrec.fitting.objectives.item_teacher import Lessons
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.fitting.steps import measure_validation, objective, quick_validation, training_metrics
from genrec.fitting.text_model import TextTeacher, fit_text_model
from genrec.fitting.weights import choose_mixture_weights
from genrec.fitting.work_folder import WorkFolder
from genrec.language_model import LanguageModel, LevelHead
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.folder.whole import save_folder
from genrec.recommender.settings import FitSettings
from genrec.recommender.text_model.model import TextModel
from genrec.recommender.vectorizer import Vectorizer, vector_facts
from genrec.semantic_ids.building import (
    AnyItemTokenizer,
    build_semantic_ids,
    fit_any,
    load_any,
    measure_ids,
)
from genrec.semantic_ids.quality import QualityReport
from genrec.semantic_ids.semantic_ids import SemanticIds
from genrec.training import TrainingResult, train
from genrec.training.processes import main_first

__all__ = ["fit", "fit_folder", "fit_in"]

log = logging.getLogger(__name__)


def fit_folder(
    kind: type[AnyRecommender],
    catalog: Catalog,
    interactions: Interactions,
    settings: FitSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> AnyRecommender:
    """Fit in a work folder beside `out`, which makes it resumable; save in `out`; tidy up.

    Under ``accelerate launch`` all processes train and the first one writes.

    Args:
        kind: class of the recommender.
        catalog: the items.
        interactions: the click log.
        settings: of the fit.
        out: recommender folder to make.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished fit is discarded instead of continued.

    Raises:
        InputError: the data cannot be fitted with these settings, or a folder is in the way.
    """
    with WorkFolder.beside(out, overwrite=overwrite, restart=restart) as work:
        recommender = fit_in(work, kind, catalog, interactions, settings)
        work.save(lambda: save_folder(recommender, out, overwrite=overwrite))
    return recommender


def fit(
    kind: type[AnyRecommender],
    catalog: Catalog,
    interactions: Interactions,
    settings: FitSettings,
    *,
    work: Path | None = None,
) -> AnyRecommender:
    """Fit a recommender of a class (see `GenerativeRecommender.fit`).

    Raises:
        InputError: the data cannot be fitted with these settings, or `work` holds another unfinished fit.
    """
    if work is None:
        with WorkFolder.temporary() as folder:
            return fit_in(folder, kind, catalog, interactions, settings)
    with WorkFolder(work, kept=True) as folder:
        return fit_in(folder, kind, catalog, interactions, settings)


def fit_in(
    work: WorkFolder,
    kind: type[AnyRecommender],
    catalog: Catalog,
    interactions: Interactions,
    settings: FitSettings,
) -> AnyRecommender:
    """Fit in a work folder that is open, where the same fit goes on where it was interrupted."""
    return _Fit(catalog, interactions, settings, work).run(kind)


@dataclass
class _Fit:
    """One fit: its inputs, its work folder, and what its steps took."""

    catalog: Catalog
    interactions: Interactions
    settings: FitSettings
    work: WorkFolder
    seconds: dict[str, float] = field(default_factory=dict)
    text_training: dict[str, int] = field(default_factory=dict)

    def run(self, kind: type[AnyRecommender]) -> AnyRecommender:
        """Take the six steps."""
        data = data_facts(self.catalog, self.interactions)
        if self.settings.vectors:
            data["vectors"] = vector_facts(self.settings.vectors)
        split = self.settings.split.apply(self.interactions, self.settings.seed)
        _check(self.catalog, self.interactions, split)
        with main_first():  # what it leaves in the work folder, the others find there
            self.work.claim(data, self.settings)
            for note in split.notes:
                log.info("%s", note)
            with self._timed("vectors"):
                vectorizer, vectors = self._vectors(split)
            with self._timed("semantic_ids"):
                item_tokenizer, semantic_ids = self._semantic_ids(vectorizer, vectors, split)
                self._judge(measure_ids(item_tokenizer, semantic_ids, vectors, self.catalog, split))
        text_model = self._text_model(split)
        parts = (semantic_ids, item_tokenizer, vectorizer)
        recommender = self._untrained(kind, parts, vectors, text_model, data)
        with self._timed("training"):
            result = self._train(recommender, split)
        with self._timed("weights"):
            recommender, tried = choose_mixture_weights(recommender, split)
        recommender.metrics = self._metrics(recommender, split, result) | tried
        return recommender

    def _untrained(
        self,
        kind: type[AnyRecommender],
        parts: tuple[SemanticIds, AnyItemTokenizer, Vectorizer],
        vectors: NDArray[np.float32],
        text_model: TextModel | None,
        data: dict[str, Any],
    ) -> AnyRecommender:
        """The recommender with a new language model."""
        settings = _reading(self.settings, text_model)
        learned = settings.language_model.item_vectors == "text_model" and text_model is not None
        semantic_ids = parts[0]
        language_model = LanguageModel.create(
            settings.language_model,
            semantic_ids.codes,
            text_model.vectors.astype(np.float32) if text_model and learned else vectors,
            semantic_ids.codebook_sizes,
            max_items=settings.training.max_items,
            seed=settings.seed,
        )
        language_model.to(settings.torch_device())
        LevelHead(language_model.core, language_model.vocabulary).check()
        known = learned and language_model.pointer is None
        return kind(
            self.catalog,
            *parts,
            language_model,
            settings,
            self.interactions,
            data=data,
            item_vectors=None if known else language_model.read_of(vectors),
            text_model=text_model,
        )

    def _vectors(self, split: Split) -> tuple[Vectorizer, NDArray[np.float32]]:
        """Encode the catalog and join the vectors with co-occurrence in the training part."""
        kept = self.work.path / "vectorizer"
        if not kept.exists():
            fitted = Vectorizer.fit(self.catalog, split.train, self.settings)
            with atomic_folder(kept) as building:
                fitted.save(building)
        vectorizer = Vectorizer.load(kept)
        return vectorizer, vectorizer.vectors(self.catalog, self.settings)

    def _semantic_ids(
        self, vectorizer: Vectorizer, vectors: NDArray[np.float32], split: Split
    ) -> tuple[AnyItemTokenizer, SemanticIds]:
        """Fit the item tokenizer and give every item a semantic ID."""
        kept = self.work.path / "item_tokenizer"
        if not kept.exists():
            settings = self.settings.tokenizer_settings(len(self.catalog))
            targets = None if vectorizer.signal is None else vectorizer.signal.targets()
            with atomic_folder(kept) as building:
                fit_any(settings, vectors, self.catalog, split, targets).save(building)
        item_tokenizer = load_any(kept)
        ids = build_semantic_ids(item_tokenizer, self.catalog, vectors, self.settings.collisions)
        return item_tokenizer, ids

    def _text_model(self, split: Split) -> TextModel | None:
        """Train a text model, if it may have weight."""
        if self.settings.text_model.weight == 0:
            return None
        with self._timed("text_model"):
            found, result = fit_text_model(self.catalog, split, self.settings, self.work)
        self.text_training = {"steps": result.steps, "best_step": result.best_step}
        return found

    def _judge(self, report: QualityReport) -> None:
        """Say what the semantic IDs are like, and apply the quality gate before hours of training."""
        log.info("semantic IDs: %s", report.summary())
        self.settings.gate.apply(report)

    def _train(self, recommender: FittedRecommender, split: Split) -> TrainingResult:
        loss, source = objective(recommender, split.train)
        teacher, weight = recommender.text_model, self.settings.text_model.teacher_weight
        if teacher is not None and weight and isinstance(loss, NextItemLoss):
            loss.lessons = Lessons(TextTeacher(teacher), weight)
        validate = quick_validation(recommender, split.valid)
        with training_bar() as report:
            return train(
                loss,
                source,
                self.settings.training,
                validate,
                folder=self.work.checkpoints,
                seed=self.settings.seed,
                report=report,
            )

    def _metrics(
        self, recommender: FittedRecommender, split: Split, result: TrainingResult
    ) -> dict[str, Any]:
        with self._timed("validation"):
            valid = measure_validation(recommender, split.valid) if len(split.valid) else None
        return {
            "validation": None if valid is None else valid.to_json(),
            **training_metrics(recommender, result),
            "text_model": self.text_training,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
        }

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - began
        log.info("%s: %.1f s", step.replace("_", " "), self.seconds[step])


def _reading(settings: FitSettings, text_model: TextModel | None) -> FitSettings:
    """The settings with the word which vectors the language model reads.

    Raises:
        ConfigError: it is to read those of a text model that is not to be.
    """
    own = settings.language_model
    if own.item_vectors == "text_model" and text_model is None:
        raise ConfigError(
            "language_model.item_vectors = text_model, and text_model.weight = 0 trains none: leave one out"
        )
    if own.item_vectors != "auto":
        return settings
    learned = text_model is not None and own.backbone == "compact" and not own.pointer
    found = own.replace(item_vectors="text_model" if learned else "none")
    return settings.replace(language_model=found)


def _check(catalog: Catalog, interactions: Interactions, split: Split) -> None:
    if len(catalog) < 2:
        raise DataError(
            "the catalog has a single item: with nothing to choose from there is nothing to learn; give at "
            "least 2 items",
            source=catalog.report.source,
        )
    if not len(split.train.items):
        raise DataError(
            f"the split {split.protocol!r} leaves no training interaction: give a longer log",
            source=interactions.report.source,
        )
