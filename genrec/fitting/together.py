"""Fit of several catalogs together: one language model, shared codes, shared weights, item spaces kept apart.

    all texts -> one encoder -> one item tokenizer -> semantic IDs of each catalog -> one language model

A code means the same in every catalog, since the item tokenizer is fitted on the vectors of all; what it
has not seen yet gets codes by `encode` alone (see `genrec.recommender.transfer`). The result is a
recommender for each catalog, all with the same item tokenizer and language model.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genrec.common.artifacts import (
    atomic_folder,
    provenance,
)
from genrec.common.errors import ConfigError, DataError
from genrec.common.manifest import TOGETHER, write_manifest
from genrec.common.progress import training_bar
from genrec.data.catalog import Catalog
from genrec.data.facts import data_facts
from genrec.data.histories import Split
from genrec.data.interactions import Interactions
from genrec.encoders import load_encoder, make_encoder
from genrec.fitting.objectives.joint import JointLoss, JointSource
from genrec.fitting.steps import measure_validation, objective, quick_validation, training_metrics
from genrec.fitting.weights import choose_mixture_weights
from genrec.fitting.work_folder import WorkFolder
from genrec.language_model import LanguageModel, LevelHead
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.folder.whole import save_folder
from genrec.recommender.settings import FitSettings
from genrec.recommender.vectorizer import Vectorizer
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.indexing.settings import IndexingSettings
from genrec.semantic_ids.kinds import load_item_tokenizer, make_item_tokenizer
from genrec.semantic_ids.semantic_ids import SemanticIds
from genrec.training import TrainingResult, train
from genrec.training.processes import main_first

__all__ = ["Shop", "fit_together", "mean_validation", "shared_settings"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shop:
    """A catalog and its log."""

    catalog: Catalog
    log: Interactions


def fit_together(
    kind: type[AnyRecommender],
    shops: Mapping[str, Shop],
    settings: FitSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> dict[str, AnyRecommender]:
    """Fit one language model on several catalogs; write a recommender folder for each, ``out/NAME``.

    Items are known by their text alone: `settings.collaborative` and `settings.vectors` say what only the
    items of one catalog have. A run that was interrupted goes on where it stood.

    Args:
        kind: class of the recommenders.
        shops: catalogs and logs by name; at least two.
        settings: of the fit.
        out: folder to make.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished fit is discarded instead of continued.

    Raises:
        ConfigError: the settings cannot hold for several catalogs.
        InputError: the data cannot be fitted with these settings, or a folder is in the way.
    """
    settings = shared_settings(settings)
    if len(shops) < 2:
        raise ConfigError("fitting together takes at least two catalogs: for one there is fit")
    with WorkFolder.beside(out, overwrite=overwrite, restart=restart) as work:
        recommenders = _JointFit(shops, settings, work).run(kind)
        work.save(lambda: _save(recommenders, out, overwrite=overwrite))
    return recommenders


def shared_settings(settings: FitSettings) -> FitSettings:
    """The settings with what several catalogs share: text, a pointer, and nothing of one catalog's own.

    Raises:
        ConfigError: they ask for what only one catalog can have.
    """
    stated = settings.model_fields_set
    if settings.vectors or settings.encoder.image_column:
        raise ConfigError(
            "several catalogs share an item space that knows text alone: leave out vectors and "
            "encoder.image_column"
        )
    if isinstance(settings.item_tokenizer, IndexingSettings):
        raise ConfigError(
            f"item_tokenizer.kind = {settings.item_tokenizer.kind!r} numbers the items of one catalog: "
            "several need an item tokenizer of vectors, such as rqkmeans"
        )
    if "collaborative" in stated and settings.collaborative.weight:
        raise ConfigError(
            "collaborative vectors know the items of one log: with several catalogs, set "
            "collaborative.weight=0 or leave it out"
        )
    language_model = settings.language_model
    if language_model.pointer is None and not settings.tasks:
        language_model = language_model.replace(pointer=True)
    return settings.replace(
        collaborative=settings.collaborative.replace(weight=0.0), language_model=language_model
    )


@dataclass
class _JointFit:
    """One fit of several catalogs: its inputs and its work folder."""

    shops: Mapping[str, Shop]
    settings: FitSettings
    work: WorkFolder

    def run(self, kind: type[AnyRecommender]) -> dict[str, AnyRecommender]:
        """Vectors, codes, language model, memory: for all, then for each."""
        data = {name: data_facts(shop.catalog, shop.log) for name, shop in self.shops.items()}
        splits = self._splits()
        with main_first():
            self.work.claim(data, self.settings)
            vectorizer = self._vectorizer()
            vectors = {
                name: vectorizer.vectors(shop.catalog, self.settings)
                for name, shop in self.shops.items()
            }
            tokenizer = self._item_tokenizer(np.concatenate(list(vectors.values())))
        ids = shared_ids(
            tokenizer, {n: s.catalog for n, s in self.shops.items()}, vectors, self.settings
        )
        language_model = self._language_model(list(ids.values()), list(vectors.values()))
        recommenders = {
            name: kind(
                shop.catalog,
                ids[name],
                tokenizer,
                vectorizer,
                language_model,
                self.settings,
                shop.log,
                data=data[name],
                item_vectors=language_model.read_of(vectors[name]),
            )
            for name, shop in self.shops.items()
        }
        began = time.perf_counter()
        result = self._train(recommenders, splits)
        seconds = time.perf_counter() - began
        return {
            name: self._finished(name, recommender, splits[name], result, seconds)
            for name, recommender in recommenders.items()
        }

    def _splits(self) -> dict[str, Split]:
        splits = {}
        for name, shop in self.shops.items():
            splits[name] = self.settings.split.apply(shop.log, self.settings.seed)
            for note in splits[name].notes:
                log.info("%s: %s", name, note)
            if not len(splits[name].train.items):
                raise DataError(
                    f"the split leaves no training interaction of {name}: give a longer log, or leave the "
                    "catalog out",
                    source=shop.log.report.source,
                )
        return splits

    def _vectorizer(self) -> Vectorizer:
        """An encoder fitted on the texts of all catalogs."""
        kept = self.work.path / "encoder"
        if not kept.exists():
            template = self.settings.template
            texts = [text for shop in self.shops.values() for text in shop.catalog.texts(template)]
            with atomic_folder(kept) as building:
                make_encoder(self.settings.encoder).fit(texts).save(building)
        return Vectorizer(load_encoder(kept), (), None)

    def _item_tokenizer(self, vectors: NDArray[np.float32]) -> ItemTokenizer:
        kept = self.work.path / "item_tokenizer"
        if not kept.exists():
            settings = self.settings.tokenizer_settings(len(vectors))
            assert not isinstance(settings, IndexingSettings)
            with atomic_folder(kept) as building:
                make_item_tokenizer(settings).fit(vectors).save(building)
        return load_item_tokenizer(kept)

    def _language_model(
        self, ids: Sequence[SemanticIds], vectors: Sequence[NDArray[np.float32]]
    ) -> LanguageModel:
        language_model = LanguageModel.create(
            self.settings.language_model,
            np.concatenate([own.codes for own in ids]),
            np.concatenate(vectors),
            ids[0].codebook_sizes,
            max_items=self.settings.training.max_items,
            seed=self.settings.seed,
        )
        language_model.to(self.settings.torch_device())
        LevelHead(language_model.core, language_model.vocabulary).check()
        return language_model

    def _train(
        self, recommenders: Mapping[str, FittedRecommender], splits: Mapping[str, Split]
    ) -> TrainingResult:
        pairs = [objective(r, splits[name].train) for name, r in recommenders.items()]
        losses, sources = zip(*pairs, strict=True)
        with training_bar() as report:
            return train(
                JointLoss(losses),
                JointSource(sources, self.settings.joint.temperature, self.settings.seed),
                self.settings.training,
                mean_validation(
                    {n: quick_validation(r, splits[n].valid) for n, r in recommenders.items()}
                ),
                folder=self.work.checkpoints,
                seed=self.settings.seed,
                report=report,
            )

    def _finished(
        self,
        name: str,
        recommender: AnyRecommender,
        split: Split,
        result: TrainingResult,
        seconds: float,
    ) -> AnyRecommender:
        """The recommender of one catalog with its memory and metrics."""
        log.info("%s:", name)
        recommender, tried = choose_mixture_weights(recommender, split)
        valid = measure_validation(recommender, split.valid) if len(split.valid) else None
        recommender.metrics = {
            "validation": None if valid is None else valid.to_json(),
            **training_metrics(recommender, result),
            "seconds": {"training": round(seconds, 1)},
            **tried,
            "together_with": [other for other in self.shops if other != name],
        }
        return recommender


def shared_ids(
    tokenizer: ItemTokenizer,
    catalogs: Mapping[str, Catalog],
    vectors: Mapping[str, NDArray[np.float32]],
    settings: FitSettings,
) -> dict[str, SemanticIds]:
    """Semantic IDs of every catalog, unique in each, over the same codebooks.

    A level that numbers colliding items (`extra_level`) is as large as the catalog with most of them needs.
    """
    built = {
        name: SemanticIds.build(
            catalog.item_ids, vectors[name], tokenizer, settings.collisions, catalog.titles
        )
        for name, catalog in catalogs.items()
    }
    sizes = tuple(int(size) for size in np.max([ids.codebook_sizes for ids in built.values()], 0))
    return {
        name: SemanticIds(ids.item_ids, ids.codes, sizes, ids.policy, ids.moved)
        for name, ids in built.items()
    }


def mean_validation(
    validators: Mapping[str, Callable[[], dict[str, float]] | None],
) -> Callable[[], dict[str, float]] | None:
    """Metrics in the mean of the catalogs that have validation cases, and each one's ndcg@10."""
    known = {name: validate for name, validate in validators.items() if validate is not None}
    if not known:
        return None

    def measure() -> dict[str, float]:
        found = {name: validate() for name, validate in known.items()}
        first = next(iter(found.values()))
        means = {key: float(np.mean([own[key] for own in found.values()])) for key in first}
        return means | {f"ndcg@10 of {name}": own["ndcg@10"] for name, own in found.items()}

    return measure


def _save(recommenders: Mapping[str, FittedRecommender], out: Path, *, overwrite: bool) -> None:
    """Write all folders, or none."""
    with atomic_folder(out, overwrite=overwrite) as building:
        for name, recommender in recommenders.items():
            save_folder(recommender, building / name)
        facts = {"recommenders": list(recommenders), "provenance": provenance()}
        write_manifest(building, facts, TOGETHER)
