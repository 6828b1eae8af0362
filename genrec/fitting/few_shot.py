"""Few-shot comparison: a transferred recommender beside text alone, and fits on a share of the new log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genrec.evaluation.baselines import Popularity, Recency, RepeatLast, TextNeighbors
from genrec.evaluation.baselines.text_neighbors import TextNeighborsConfig
from genrec.fitting.baselines.fit import BaselineSettings
from genrec.fitting.baselines.folder import fit_baseline_folder
from genrec.fitting.fit import fit_folder
from genrec.fitting.further import fit_further, further_settings
from genrec.recommender.components import weights_of
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.folder.whole import open_folder
from genrec.recommender.settings import FitSettings

if TYPE_CHECKING:
    from genrec.data.histories import Split
    from genrec.evaluation import Ranker

__all__ = ["FewShot", "fitted_on", "without_a_fit", "without_training"]

FUSED = 0.2
"""Share of likeness of texts in the row that shows what it would add."""


def without_training(moved: FittedRecommender, parts: Split) -> dict[str, Ranker]:
    """A transferred recommender and all that needs no training on its catalog either, by name."""
    mine: dict[str, Ranker] = {
        "genrec, zero-shot": moved,
        "language model alone, zero-shot": moved.alone(),
    }
    if moved.language_model.pointer is not None:
        mine["its codes alone, zero-shot"] = moved.codes_alone()
    if (
        not any(weights_of(moved.settings).values())
        and len(moved.catalog) <= moved.settings.memory.text_items
    ):
        mine["with likeness of texts, zero-shot"] = _fused(moved)
    return mine | without_a_fit(moved, parts)


def _fused(moved: FittedRecommender) -> FittedRecommender:
    memory = moved.settings.memory.replace(text_weight=FUSED)
    settings = moved.settings.replace(memory=memory)
    return moved.changed(settings=settings)


def without_a_fit(moved: FittedRecommender, parts: Split) -> dict[str, Ranker]:
    """Rankers of its catalog that nothing was fitted for, by name.

    Popularity does read the training part of the log, and is there to be told apart.
    """
    settings = moved.settings
    vectors = moved.vectorizer.vectors(moved.catalog, settings)
    last = TextNeighborsConfig(recency=Recency(max_history=1))
    return {
        "text vectors, last item": TextNeighbors(vectors, last),
        "text vectors, weighted history": TextNeighbors(vectors),
        "TF-IDF neighbours": TextNeighbors.from_texts(moved.catalog.texts(settings.template)),
        "repeat last": RepeatLast(),
        "popularity (reads the log)": Popularity.fit(parts.train, len(moved.catalog)),
    }


def fitted_on(
    recommender: AnyRecommender, share: float, further: Sequence[str], out: Path
) -> AnyRecommender:
    """Train a copy further on that share of its log's users, or open what was fitted before.

    Args:
        recommender: fitted or transferred, with a log.
        share: of the users.
        further: changes to its settings, as ``key=value`` words.
        out: where the fit is kept.
    """
    if out.exists():
        return open_folder(type(recommender), out)
    copy = recommender.changed(language_model=recommender.language_model.merged())
    words = [*further, f"split.train_share={share}"]
    return fit_further(copy, further_settings(copy, words=words), out)


@dataclass(frozen=True)
class FewShot:
    """Fits on a share of a catalog's log.

    Attributes:
        moved: a transferred recommender with that log; it is trained further, a copy for each share.
        alone: how genrec is fitted on that log from nothing.
        further: changes to the settings of `moved`, as ``key=value`` words.
        baseline: how SASRec is fitted.
        folder: where the fits are kept.
    """

    moved: FittedRecommender
    alone: FitSettings
    further: Sequence[str]
    baseline: BaselineSettings
    folder: Path

    def fitted(self, share: float) -> dict[str, Ranker]:
        """Fit on that share of the users, or open what was fitted before."""
        of_the_log = f"{100 * share:g} % of the log"
        return {
            f"genrec, transferred, {of_the_log}": self._further(share),
            f"genrec, {of_the_log}": self._alone(share),
            f"SASRec, {of_the_log}": self._network(share),
        }

    def _further(self, share: float) -> FittedRecommender:
        return fitted_on(self.moved, share, self.further, self.folder / f"further_{share:g}")

    def _alone(self, share: float) -> FittedRecommender:
        out = self.folder / f"alone_{share:g}"
        if out.exists():
            return open_folder(type(self.moved), out)
        return fit_folder(
            type(self.moved), self.moved.catalog, self.moved.log, self._settings(share), out
        )

    def _network(self, share: float) -> Ranker:
        split = self._settings(share).split.apply(self.moved.log, self.alone.seed)
        out = self.folder / f"sasrec_{share:g}"
        return fit_baseline_folder(split, len(self.moved.catalog), self.baseline, out)

    def _settings(self, share: float) -> FitSettings:
        return self.alone.replace(split=self.alone.split.replace(train_share=share))
