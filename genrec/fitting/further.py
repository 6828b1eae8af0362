"""Further fit, from a fitted recommender: what it knows of other catalogs or older logs is not learned anew.

Semantic IDs, item tokenizer and encoder stay; the language model trains further on the recommender's log,
and what pointer and memory weigh is chosen again. After `genrec.recommender.transfer.transfer` this is
few-shot learning.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from genrec.common.config import load_settings
from genrec.common.errors import ConfigError
from genrec.data.facts import data_facts
from genrec.fitting.retraining import Retraining, plain_settings, training_split
from genrec.fitting.steps import objective
from genrec.language_model.weights import hash_weights, require_plain
from genrec.recommender.components import KINDS, with_weights
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.settings import FitSettings

__all__ = ["fit_further", "further_settings"]

_STAYS = (
    "template",
    "encoder",
    "vectors",
    "collaborative",
    "item_tokenizer",
    "collisions",
    "gate",
    "language_model",
)


def fit_further(
    recommender: AnyRecommender,
    settings: FitSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> AnyRecommender:
    """Train a recommender's language model further on its log, and save the result in `out`.

    All weights train, in float32, and stay as they were where validation finds no clearly better ones, as it
    may well do on a log of a few users. A call that was interrupted goes on where it stood when it is given
    again with the same arguments.

    Args:
        recommender: fitted or transferred, its adapter merged if it had one; its weights are changed.
        settings: see `further_settings`.
        out: recommender folder to make.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished run is discarded instead of continued.

    Raises:
        InputError: an adapter is not merged, the model is quantized, the log leaves nothing to learn, or a
            folder is in the way.
    """
    require_plain(recommender.language_model, "learn further")
    record = {"of": hash_weights(recommender.language_model)}
    recommender.language_model.to(settings.torch_device())
    recommender.language_model.model.float().requires_grad_(True)
    chosen = plain_settings(settings, settings.training)
    # The log may be another than that of the first fit: a run on another one is another run.
    data = recommender.data | data_facts(recommender.catalog, recommender.log)
    trained = recommender.changed(settings=chosen, metrics={}, data=data)
    split = training_split(trained)
    run = Retraining(
        trained,
        "further",
        record,
        settings.seed,
        chooses_weights=True,
        prior=recommender.settings,
    )
    return run.run(
        lambda: objective(trained, split.train), out, overwrite=overwrite, restart=restart
    )


def further_settings(
    recommender: FittedRecommender, path: Path | None = None, words: Iterable[str] = ()
) -> FitSettings:
    """The settings of a recommender with changes, where what it is made of stays.

    The weights of pointer and memory are chosen anew unless the changes state them.

    Args:
        recommender: to fit on from.
        path: YAML file of settings.
        words: ``key=value`` words over it.

    Raises:
        ConfigError: a setting is unknown or not allowed, or one that cannot change does.
    """
    fitted = recommender.settings
    unchosen = {kind.name: None for kind in KINDS if kind.weight_of(fitted) is not None}
    start = with_weights(fitted, unchosen).replace(
        language_model=fitted.language_model.replace(pointer_weight=None),
    )
    changed = load_settings(FitSettings, path, words, start=start.model_dump(mode="json"))
    unweighed = changed.language_model.replace(pointer_weight=None)
    compared = changed.replace(language_model=unweighed)
    for name in _STAYS:
        if getattr(compared, name) != getattr(start, name):
            raise ConfigError(
                f"{name} cannot change when a fit goes on from a recommender: its codes and language model "
                "belong to what they were made with. Leave it out, or fit anew"
            )
    return changed
