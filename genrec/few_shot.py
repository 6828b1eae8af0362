"""What a transferred recommender is compared with: text alone, and fits on a share of the new log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from genrec.baseline_files import fit_baseline_folder
from genrec.baseline_fitting import BaselineSettings
from genrec.evaluation.baselines import Popularity, Recency, RepeatLast, TextNeighbors
from genrec.evaluation.baselines.text_neighbors import TextNeighborsConfig
from genrec.fitting import fit_folder
from genrec.further_fitting import fit_further, further_settings
from genrec.recommender import GenerativeRecommender
from genrec.settings import FitSettings

if TYPE_CHECKING:
    from genrec.data.split import Split
    from genrec.evaluation import Ranker

__all__ = ["FewShot", "fitted_on", "without_a_fit", "without_training"]

FUSED = 0.2
"""Share of likeness of texts in the row that shows what it would add."""


def without_training(moved: GenerativeRecommender, parts: Split) -> dict[str, Ranker]:
    """A transferred recommender and all that needs no training on its catalog either, by name."""
    mine: dict[str, Ranker] = {
        "genrec, zero-shot": moved,
        "language model alone, zero-shot": moved.alone(),
    }
    if moved.language_model.pointer is not None:
        mine["its codes alone, zero-shot"] = moved.alone(codes_only=True)
    if moved.settings.memory.silent and len(moved.catalog) <= moved.settings.memory.text_items:
        mine["with likeness of texts, zero-shot"] = _fused(moved)
    return mine | without_a_fit(moved, parts)


def _fused(moved: GenerativeRecommender) -> GenerativeRecommender:
    memory = moved.settings.memory.replace(text_weight=FUSED)
    settings = moved.settings.replace(memory=memory)
    return replace(moved, settings=settings, index=moved.trie)


def without_a_fit(moved: GenerativeRecommender, parts: Split) -> dict[str, Ranker]:
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
    recommender: GenerativeRecommender, share: float, further: Sequence[str], out: Path
) -> GenerativeRecommender:
    """Train a copy further on that share of its log's users, or open what was fitted before.

    Args:
        recommender: fitted or transferred, with a log.
        share: of the users.
        further: changes to its settings, as ``key=value`` words.
        out: where the fit is kept.
    """
    if out.exists():
        return GenerativeRecommender.from_pretrained(out)
    copy = replace(recommender, language_model=recommender.language_model.merged())
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

    moved: GenerativeRecommender
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

    def _further(self, share: float) -> GenerativeRecommender:
        return fitted_on(self.moved, share, self.further, self.folder / f"further_{share:g}")

    def _alone(self, share: float) -> GenerativeRecommender:
        out = self.folder / f"alone_{share:g}"
        if out.exists():
            return GenerativeRecommender.from_pretrained(out)
        return fit_folder(self.moved.catalog, self.moved.log, self._settings(share), out)

    def _network(self, share: float) -> Ranker:
        split = self._settings(share).split.apply(self.moved.log, self.alone.seed)
        out = self.folder / f"sasrec_{share:g}"
        return fit_baseline_folder(split, len(self.moved.catalog), self.baseline, out)

    def _settings(self, share: float) -> FitSettings:
        return self.alone.replace(split=self.alone.split.replace(train_share=share))
