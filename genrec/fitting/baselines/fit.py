"""Fit of a strong baseline: counts, linear models in closed form, networks by the resumable training loop.

Evaluation knows rankings and no training, so networks stand there and learn here. Validation, early stopping
and weights kept are those of a recommender's own fit: a baseline is beaten fairly or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings
from genrec.common.devices import torch_device
from genrec.common.errors import DataError, InputError
from genrec.data.histories import Cases, Histories, Split
from genrec.evaluation import Protocol, Ranker, Ranking, evaluate
from genrec.evaluation.baselines.bert4rec import BERT4Rec, BERT4RecConfig
from genrec.evaluation.baselines.ease import Ease, EaseConfig
from genrec.evaluation.baselines.hstu import HSTU, HSTUConfig
from genrec.evaluation.baselines.item_knn import ItemKNN, ItemKNNConfig
from genrec.evaluation.baselines.pctm import PCTM, PCTMConfig
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.sasrec import SASRec, SASRecConfig
from genrec.evaluation.baselines.seqrules import SeqRules, SeqRulesConfig
from genrec.evaluation.baselines.sequence_model import SequenceModel, SequenceRanker
from genrec.evaluation.protocol import hash_cases
from genrec.fitting.baselines.losses import ItemLossSettings, MaskedItems, NextItems
from genrec.fitting.objectives.histories import HistorySource, Successions
from genrec.fitting.work_folder import WorkFolder
from genrec.training import TrainingResult, TrainingSettings, train
from genrec.training.sources import Source

__all__ = [
    "UNTRAINED",
    "Baseline",
    "BaselineSettings",
    "BaselineTraining",
    "Fitted",
    "NetworkConfig",
    "fit_baseline",
    "network",
    "split_facts",
]

log = logging.getLogger(__name__)

NetworkConfig = SASRecConfig | BERT4RecConfig | HSTUConfig
ModelConfig = EaseConfig | ItemKNNConfig | PCTMConfig | SeqRulesConfig | NetworkConfig
Fitted = Ease | ItemKNN | PCTM | SeqRules | SequenceRanker

UNTRAINED: Mapping[type[Settings], Any] = MappingProxyType(
    {EaseConfig: Ease, ItemKNNConfig: ItemKNN, PCTMConfig: PCTM, SeqRulesConfig: SeqRules}
)
"""What is fitted in one go, and restored from its arrays."""


class BaselineTraining(TrainingSettings):
    """How long and how fast a network learns; what is about tokens, codes or words is not read."""

    epochs: int = Field(60, ge=1)
    """Passes over the log."""
    max_items: int = Field(50, ge=1)
    """Longest history, in items; longer ones are cut into windows for training."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak of AdamW's rate: linear warm-up, a plateau, linear decay to zero."""
    validations: int = Field(15, ge=1)
    """How often to validate, evenly over the run; the best of them is kept."""
    patience: int = Field(4, ge=1)
    """Stop after this many validations without a better ndcg@10."""


class BaselineSettings(Settings):
    """Which baseline, and how it is fitted."""

    model: Annotated[ModelConfig, Field(discriminator="kind")] = SASRecConfig()
    """``kind: ease | item-knn | pctm | seqrules | sasrec | bert4rec | hstu`` and its shape."""
    loss: ItemLossSettings = ItemLossSettings()
    """What a network learns by."""
    training: BaselineTraining = BaselineTraining()
    """How long and how fast a network learns."""
    validation_users: int = Field(5000, ge=1)
    """Most cases in a validation during training, drawn at random."""
    seed: int = Field(0, ge=0)
    """Of weights, order, dropout, masks and negatives."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``mps`` …"""

    def torch_device(self) -> torch.device:
        """The device that `device` names (see `genrec.common.devices`)."""
        return torch_device(self.device)


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: a `Ranker` that knows how it was made.

    Attributes:
        settings: how. ranker: what ranks. n_items: size of its catalog.
        data: what it was fitted on (see `split_facts`). facts: seconds, parameters, the training's curve.
    """

    settings: BaselineSettings
    ranker: Fitted
    n_items: int
    data: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name for tables."""
        return self.ranker.name

    @property
    def tie_break(self) -> NDArray[np.int64]:
        """What decides between equal scores, `(N,)`: training events (see `Ranker`)."""
        return self.ranker.tie_break

    def require_split(self, split: Split, n_items: int) -> None:
        """Refuse a split that the baseline was not fitted on.

        Raises:
            InputError: training histories, validation cases or catalog are others.
        """
        if self.data != split_facts(split.train, split.valid, n_items):
            raise InputError(
                f"the baseline {self.name} was fitted on another log, split or catalog than the recommender: "
                "fit it on the same files with the same split"
            )

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return the best k items for each history."""
        return self.ranker.rank(histories, k, exclude_seen=exclude_seen)


def fit_baseline(
    train: Histories,
    valid: Cases,
    n_items: int,
    settings: BaselineSettings,
    work: WorkFolder | None = None,
) -> Baseline:
    """Fit a baseline on training histories; a network keeps the weights that validate best.

    Args:
        train: one sequence a user.
        valid: cases by which a network's weights are chosen; without any, the last are kept.
        n_items: catalog size N.
        settings: which baseline, and how.
        work: where the same fit goes on where it was interrupted.

    Raises:
        DataError: there is no training interaction.
        InputError: the catalog is too large for EASE, or `work` holds another unfinished fit.
    """
    if not len(train.items):
        raise DataError("the split leaves no training interaction: give a longer log")
    data = split_facts(train, valid, n_items)
    began, config = time.perf_counter(), settings.model
    facts: dict[str, Any] = {}
    ranker: Fitted
    if type(config) in UNTRAINED:
        ranker = UNTRAINED[type(config)].fit(train, n_items, config)
    elif work is None:
        with WorkFolder.temporary() as work:
            ranker, facts = _fit_network(train, valid, n_items, settings, work)
    else:
        work.claim(data, settings)
        ranker, facts = _fit_network(train, valid, n_items, settings, work)
    seconds = round(time.perf_counter() - began, 1)
    log.info("%s: fitted in %.1f s", ranker.name, seconds)
    return Baseline(settings, ranker, n_items, data, {"seconds": seconds} | facts)


def network(settings: BaselineSettings, n_items: int) -> SequenceModel:
    """Make the untrained network of `settings.model`, its weights drawn from `settings.seed`."""
    config, max_items = settings.model, settings.training.max_items
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if isinstance(config, SASRecConfig):
            return SASRec(n_items, max_items, config)
        if isinstance(config, BERT4RecConfig):
            return BERT4Rec(n_items, max_items, config)
        assert isinstance(config, HSTUConfig)
        return HSTU(n_items, max_items, config)


def split_facts(train: Histories, valid: Cases, n_items: int) -> dict[str, Any]:
    """What tells one split from another: sizes and hashes of the training histories and the cases."""
    digest = hashlib.sha256(train.items.astype("<i8").tobytes())
    digest.update(train.offsets.astype("<i8").tobytes())
    return {
        "items": n_items,
        "interactions": len(train.items),
        "train_sha256": digest.hexdigest(),
        "valid": hash_cases(valid, n_items),
    }


def _fit_network(
    histories: Histories, valid: Cases, n_items: int, settings: BaselineSettings, work: WorkFolder
) -> tuple[SequenceRanker, dict[str, Any]]:
    model = network(settings, n_items).to(settings.torch_device())
    ranker = SequenceRanker(model, Popularity.fit(histories, n_items), settings.model.kind)
    source: Source = HistorySource(histories, settings.training, settings.seed)
    loss: NextItems | MaskedItems
    if isinstance(model, BERT4Rec):
        assert isinstance(settings.model, BERT4RecConfig)
        loss = MaskedItems(model, settings.model, settings.loss)
    else:
        loss, source = NextItems(model, settings.loss), Successions(source)
    result = train(
        loss,
        source,
        settings.training,
        _validator(ranker, valid, n_items, settings),
        folder=work.checkpoints,
        seed=settings.seed,
    )
    return ranker, _facts(model, result)


def _validator(
    ranker: Ranker, valid: Cases, n_items: int, settings: BaselineSettings
) -> Callable[[], dict[str, float]] | None:
    if not len(valid):
        log.warning("no user has a validation case: the last weights are kept, best or not")
        return None
    drawn, protocol = valid.draw(settings.validation_users, settings.seed), Protocol(split="valid")
    return lambda: evaluate(ranker, drawn, protocol, n_items).metrics


def _facts(model: SequenceModel, result: TrainingResult) -> dict[str, Any]:
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": result.steps,
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "curve": result.curve,
        "throughput": result.throughput,
    }
