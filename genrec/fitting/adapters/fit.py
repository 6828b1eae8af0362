"""Domain adapter: a small update of a shared language model, trained on one domain's log alone.

Several catalogs that were fitted together (`genrec.fitting.together`) share a language model. Here it is
frozen, and beside it an adapter (LoRA) learns what one of them has of its own; for a new catalog the
adapters are combined (`genrec.fitting.adapters.combine`). An adapter of all of them together is what that
is compared with.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import InputError
from genrec.common.progress import training_bar
from genrec.fitting.adapters.folder import DomainAdapter, save_adapter_folder
from genrec.fitting.objectives.joint import JointLoss, JointSource
from genrec.fitting.retraining import plain_settings, training_split
from genrec.fitting.steps import objective, quick_validation, training_metrics
from genrec.fitting.together import mean_validation
from genrec.fitting.work_folder import WorkFolder
from genrec.language_model import LanguageModel
from genrec.language_model.domain_adapters import add_lora
from genrec.language_model.settings import LoraSettings
from genrec.language_model.weights import hash_weights, require_plain
from genrec.recommender.fitted_recommender import FittedRecommender
from genrec.semantic_ids.kmeans import kmeans
from genrec.training import TrainingResult, TrainingSettings, train
from genrec.training.processes import main_first
from genrec.training.settings import JointSettings

__all__ = ["AdapterSettings", "AdapterTraining", "fit_adapter", "plain_base"]

log = logging.getLogger(__name__)
_ITERATIONS = 20


class AdapterTraining(TrainingSettings):
    """How long and how fast; `max_items` stays the recommender's, and there is no `codes_first`."""

    epochs: int = Field(5, ge=1)
    """Passes over the log."""
    min_steps: int = Field(300, ge=1)
    """Fewest optimizer steps."""
    warmup_steps: int = Field(20, ge=0)
    """Steps to the peak."""
    validations: int = Field(4, ge=1)
    """How often to validate, evenly over the run; the best of them is kept."""


class AdapterSettings(Settings):
    """How a domain adapter is made."""

    lora: LoraSettings = LoraSettings()
    """Its size."""
    training: AdapterTraining = AdapterTraining()
    """How long and how fast it learns."""
    joint: JointSettings = JointSettings()
    """How several domains share one adapter, where there are several."""
    centres: int = Field(64, ge=1)
    """Most centres of the items' vectors that are kept, to tell which domain a new item is like."""
    seed: int = Field(0, ge=0)
    """Of first weights, batches, dropout and centres."""


def fit_adapter(
    domains: Mapping[str, FittedRecommender],
    settings: AdapterSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> DomainAdapter:
    """Train an adapter beside a frozen language model; save it in `out`.

    A call that was interrupted goes on where it stood when it is given again with the same arguments.

    Args:
        domains: recommenders that share a language model, by name; one, or several for one adapter of all.
            They stay as they are.
        settings: of the adapter.
        out: folder to make; its name is the adapter's.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished run is discarded instead of continued.

    Raises:
        InputError: there is no recommender, they do not share a language model, or it is quantized or an
            adapter that is not merged; a log leaves nothing to learn; or a folder is in the way.
    """
    advice = "choose another folder, or overwrite it"
    with WorkFolder.beside(out, overwrite=overwrite, restart=restart, advice=advice) as work:
        base, shared = _shared_base(domains)
        adapted = add_lora(shared, settings.lora, settings.seed)
        adapting = {name: _with(each, adapted, settings) for name, each in domains.items()}
        fit = _AdapterFit(adapting, settings, work)
        facts = fit.run(base)
        work.save(
            lambda: save_adapter_folder(
                adapted, base, fit.centres(), facts, out, overwrite=overwrite
            )
        )
    return DomainAdapter.open(out)


def plain_base(recommender: FittedRecommender, what: str) -> tuple[str, LanguageModel]:
    """The language model that adapters stand beside: its hash, and a copy in float32.

    A pointer is no part of the hash: adapters leave it as it is, and a transfer changes it.

    Raises:
        InputError: it is quantized, or an adapter that is not merged; `what` names what was to be done.
    """
    require_plain(recommender.language_model, what)
    copy = recommender.language_model.merged()
    copy.model.float()
    return hash_weights(replace(copy, pointer=None)), copy


def _shared_base(domains: Mapping[str, FittedRecommender]) -> tuple[str, LanguageModel]:
    """Hash and copy of the language model that all recommenders have."""
    if not domains:
        raise InputError("there is no recommender to make an adapter for: give at least one")
    what = "get a domain adapter"
    (first, recommender), *others = domains.items()
    shared, plain = plain_base(recommender, what)
    for name, other in others:
        if plain_base(other, what)[0] != shared:
            raise InputError(
                f"{first} and {name} do not share a language model: one adapter takes catalogs that were "
                "fitted together, or transferred from one another"
            )
    return shared, plain


def _with(
    recommender: FittedRecommender, adapted: LanguageModel, settings: AdapterSettings
) -> FittedRecommender:
    chosen = plain_settings(recommender.settings, settings.training)
    return recommender.changed(language_model=adapted, settings=chosen, metrics={})


@dataclass(frozen=True)
class _AdapterFit:
    """One run: recommenders over one adapted language model, settings, work folder."""

    domains: Mapping[str, FittedRecommender]
    settings: AdapterSettings
    work: WorkFolder

    def run(self, base: str) -> dict[str, Any]:
        """Train; say what came of it."""
        data = {name: recommender.data for name, recommender in self.domains.items()}
        splits = {name: training_split(recommender) for name, recommender in self.domains.items()}
        with main_first():
            self.work.claim({"base": base, "domains": data}, self.settings)
        pairs = [objective(r, splits[name].train) for name, r in self.domains.items()]
        losses, sources = zip(*pairs, strict=True)
        validate = mean_validation(
            {n: quick_validation(r, splits[n].valid) for n, r in self.domains.items()}
        )
        with training_bar() as report:
            result = train(
                JointLoss(losses),
                JointSource(sources, self.settings.joint.temperature, self.settings.seed),
                next(iter(self.domains.values())).settings.training,
                validate,
                folder=self.work.checkpoints,
                seed=self.settings.seed,
                report=report,
            )
        return self._facts(data, result)

    def centres(self) -> NDArray[np.float32]:
        """Centres `(K, D)` of the vectors of all items."""
        vectors = [r.vectorizer.vectors(r.catalog, r.settings) for r in self.domains.values()]
        return kmeans(
            np.concatenate(vectors), self.settings.centres, _ITERATIONS, self.settings.seed
        )

    def _facts(self, data: Mapping[str, Any], result: TrainingResult) -> dict[str, Any]:
        some = next(iter(self.domains.values()))
        settings = self.settings.model_dump(mode="json")
        return {"domains": data, "settings": settings} | training_metrics(some, result)
