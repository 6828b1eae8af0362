"""Refit: the same fit once more, on validation events too, once everything is chosen.

A fit holds the newest events back to choose by. When it has chosen, they are worth more as something to learn
from: one more event of every user, the newest. A refit trains anew on training and validation events together
for as many passes as the fit found best, and takes over weights and reranker. Test stays held out.
"""

from __future__ import annotations

import math
from pathlib import Path

from genrec.common.errors import InputError
from genrec.fitting.fit import fit_in
from genrec.fitting.work_folder import WorkFolder
from genrec.recommender.components import weights_of
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.folder.card_words import RETRAINED
from genrec.recommender.folder.whole import save_folder
from genrec.recommender.settings import FitSettings

__all__ = ["refit_folder", "refit_settings"]


def refit_folder(
    recommender: AnyRecommender, out: Path, *, overwrite: bool = False, restart: bool = False
) -> AnyRecommender:
    """Fit a recommender's catalog and log anew, validation events among those that are trained on.

    A refit that was interrupted goes on where it stood when it is asked for again.

    Args:
        recommender: of a fit; it stays as it is.
        out: recommender folder to make.
        overwrite: whether an existing one is replaced.
        restart: whether an unfinished refit is discarded instead of continued.

    Raises:
        InputError: it is not of a fit that chose on validation, or a folder is in the way.
    """
    settings = refit_settings(recommender)
    record = {"refit": {"validation": recommender.metrics["validation"]}}
    with WorkFolder.beside(out, overwrite=overwrite, restart=restart) as work:
        fitted = fit_in(work, type(recommender), recommender.catalog, recommender.log, settings)
        whole = fitted.changed(reranker=recommender.reranking, metrics=fitted.metrics | record)
        work.save(lambda: save_folder(whole, out, overwrite=overwrite))
    return whole


def refit_settings(recommender: FittedRecommender) -> FitSettings:
    """The settings of a fit, with what it chose stated and nothing but the test held out.

    Raises:
        InputError: see `refit_folder`.
    """
    settings, metrics = recommender.settings, recommender.metrics
    if not metrics.get("validation") or not len(recommender.split.valid):
        raise InputError(
            "only what was fitted with a validation part can be refitted on it: this recommender has none"
        )
    if done := sorted({*metrics} & {*RETRAINED, "together_with"}):
        raise InputError(
            f"only a plain fit can be refitted, and this recommender was made otherwise ({done[0]}): refit "
            "what it was made from"
        )
    if recommender.log.kept_split is not None:
        raise InputError(
            "items were removed since the fit, so that its log is no longer the one that was fitted: fit anew"
        )
    assert None not in weights_of(settings).values(), "a fit states what it chose"
    split = settings.split.replace(hold_out="test")
    growth = len(split.apply(recommender.log, settings.seed).train.items) / max(
        1, len(recommender.split.train.items)
    )
    training = settings.training.replace(**_as_long(metrics["training"], growth))
    own = settings.text_model
    if known := metrics.get("text_model"):
        own = own.replace(training=own.training.replace(**_as_long(known, growth)))
    return settings.replace(split=split, training=training, text_model=own)


def _as_long(training: dict[str, int], growth: float) -> dict[str, int]:
    """As many passes as were best, over a log that has grown."""
    steps = math.ceil(training["best_step"] * growth)
    return {"min_steps": steps, "max_steps": steps}
