"""Weights of domain adapters, learned on a new catalog's log: nothing else trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from genrec.common.config import Settings
from genrec.fitting.adapters.combine import beside, describe_weights, equal_weights
from genrec.fitting.adapters.folder import DomainAdapter
from genrec.fitting.objectives.adapter_weights import AdapterWeightLoss
from genrec.fitting.retraining import Retraining, plain_settings, training_split
from genrec.fitting.steps import objective
from genrec.language_model.domain_adapters import merge_loras
from genrec.recommender.components import KINDS, with_weights
from genrec.recommender.fitted_recommender import AnyRecommender
from genrec.training import TrainingSettings

__all__ = ["WeightSettings", "WeightTraining", "learn_weights"]

_KIND = "adapters"


class WeightTraining(TrainingSettings):
    """How long and how fast; `max_items` stays the recommender's, and there is no `codes_first`."""

    epochs: int = Field(1, ge=1)
    """Passes over the log."""
    min_steps: int = Field(200, ge=1)
    """Fewest optimizer steps."""
    learning_rate: float = Field(0.02, gt=0)
    """Peak of AdamW's rate, about the most that a weight moves in a step."""
    warmup_steps: int = Field(10, ge=0)
    """Steps to the peak."""
    validations: int = Field(4, ge=1)
    """How often to validate, evenly over the run; the best of them is kept."""


class WeightSettings(Settings):
    """How the weights of adapters are learned."""

    each_block: bool = True
    """Whether every block of layers has weights of its own, as in X-Cross; else all blocks share them."""
    training: WeightTraining = WeightTraining()
    """How long and how fast."""
    seed: int = Field(0, ge=0)
    """Of batches."""


def learn_weights(
    recommender: AnyRecommender,
    adapters: Sequence[DomainAdapter],
    settings: WeightSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> AnyRecommender:
    """Learn what each adapter weighs on the recommender's log, starting from equal; save the result in `out`.

    What the memory weighs beside the language model is chosen anew on validation. A call that was interrupted
    goes on where it stood when it is given again with the same arguments.

    Args:
        recommender: with a log, and the language model that the adapters were trained beside; it stays as
            it is.
        adapters: A of them.
        settings: of the learning.
        out: recommender folder to make.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished run is discarded instead of continued.

    Raises:
        InputError: an adapter belongs to another language model, the log leaves nothing to learn, or a folder
            is in the way.
    """
    base, adapted = beside(recommender, adapters)
    plain = plain_settings(recommender.settings, settings.training)
    chosen = with_weights(plain, {kind.name: None for kind in KINDS})
    trained = recommender.changed(language_model=adapted, settings=chosen, metrics={})
    loss, source = objective(trained, training_split(trained).train)
    weighed = AdapterWeightLoss(loss, adapted, equal_weights(adapters), settings.each_block)
    record = _record(base, adapters, settings)

    def finish(best: AnyRecommender) -> tuple[AnyRecommender, dict[str, Any]]:
        weights = weighed.learned()
        plain = best.changed(language_model=merge_loras(adapted))
        trains, total = weights.size, plain.language_model.parameters()[1]
        return plain, {
            _KIND: record | {"weights": describe_weights(adapters, weights)},
            "parameters": {"trainable": trains, "total": total},
        }

    run = Retraining(trained, _KIND, record, settings.seed, chooses_weights=True, finish=finish)
    return run.run(lambda: (weighed, source), out, overwrite=overwrite, restart=restart)


def _record(
    base: str, adapters: Sequence[DomainAdapter], settings: WeightSettings
) -> dict[str, Any]:
    """Which base, which adapters, and what was asked."""
    of = [adapter.sha256 for adapter in adapters]
    return {"base": base, "of": of} | settings.model_dump(mode="json")
