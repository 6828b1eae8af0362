"""Comparison of ways to bring domain adapters to a new catalog: with nothing of its log, and with a share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from genrec.common.errors import InputError
from genrec.fitting.adapters.combine import combine, equal_weights, similar_weights
from genrec.fitting.adapters.fit import AdapterSettings, fit_adapter, plain_base
from genrec.fitting.adapters.folder import DomainAdapter
from genrec.fitting.adapters.learn import WeightSettings, learn_weights
from genrec.fitting.few_shot import fitted_on
from genrec.recommender.fitted_recommender import FittedRecommender
from genrec.recommender.folder.whole import open_folder

__all__ = ["AdapterComparison"]


@dataclass(frozen=True)
class AdapterComparison:
    """A transferred recommender, and the domains whose adapters it may have.

    Attributes:
        moved: a recommender transferred to the new catalog, with its log.
        domains: recommenders of the same language model, by name; each gets an adapter.
        adapter: how adapters are made.
        weights: how their weights are learned.
        further: changes to the settings of `moved` where all of it trains on, as ``key=value`` words.
        folder: where adapters and fits are kept; those that are there are opened.
    """

    moved: FittedRecommender
    domains: Mapping[str, FittedRecommender]
    adapter: AdapterSettings
    weights: WeightSettings
    further: Sequence[str]
    folder: Path

    @cached_property
    def adapters(self) -> list[DomainAdapter]:
        """One adapter a domain, in order."""
        return [self._adapter(name, {name: each}) for name, each in self.domains.items()]

    @cached_property
    def single(self) -> DomainAdapter:
        """One adapter of all domains together."""
        return self._adapter("of all domains", self.domains)

    def zero_shot(self) -> dict[str, FittedRecommender]:
        """The base, and every combination that needs nothing of the new log, by name."""
        similar = similar_weights(self.moved, self.adapters)
        shown = " ".join(f"{weight:.2f}" for weight in similar)
        one = {
            f"adapter {name}": combine(self.moved, self.adapters, row)
            for name, row in zip(self.domains, np.eye(len(self.adapters)), strict=True)
        }
        return {
            "base": self.moved,
            "single adapter of all domains": combine(self.moved, [self.single], [1]),
            **one,
            "equal weights": combine(self.moved, self.adapters, equal_weights(self.adapters)),
            f"similar ({shown})": combine(self.moved, self.adapters, similar),
        }

    def few_shot(self, share: float) -> dict[str, FittedRecommender]:
        """What a share of the users of the new log makes of the same, by name."""
        starts = {
            "base": self.moved,
            "single adapter": combine(self.moved, [self.single], [1]),
            "equal weights": combine(self.moved, self.adapters, equal_weights(self.adapters)),
        }
        learned = self._learned(share)
        on = f"on {100 * share:g} % of the log"
        trained = {
            f"{name}, all weights trained {on}": self._further(name, start, share)
            for name, start in starts.items()
        }
        return {
            f"weights learned {on}": learned,
            f"adapter of its own {on}": self._own(share),
            **trained,
            f"weights learned, then all trained {on}": self._further("learned", learned, share),
        }

    def _shared(self, share: float) -> FittedRecommender:
        split = self.moved.settings.split.replace(train_share=share)
        settings = self.moved.settings.replace(split=split)
        return self.moved.changed(settings=settings)

    def _learned(self, share: float) -> FittedRecommender:
        out = self.folder / f"learned_{share:g}"
        if out.exists():
            return open_folder(type(self.moved), out)
        return learn_weights(self._shared(share), self.adapters, self.weights, out)

    def _own(self, share: float) -> FittedRecommender:
        own = self._adapter(f"own {share:g}", {"new": self._shared(share)})
        return combine(self.moved, [own], [1])

    def _further(self, name: str, start: FittedRecommender, share: float) -> FittedRecommender:
        out = self.folder / f"further_{name.replace(' ', '_')}_{share:g}"
        return fitted_on(start, share, self.further, out)

    def _adapter(self, name: str, domains: Mapping[str, FittedRecommender]) -> DomainAdapter:
        """Make an adapter, or open what was made before of the same base with the same settings."""
        out = self.folder / "adapters" / name.replace(" ", "_")
        if not out.exists():
            return fit_adapter(domains, self.adapter, out)
        found = DomainAdapter.open(out)
        base = plain_base(self.moved, "get a domain adapter")[0]
        if (found.base, found.facts["settings"]) != (base, self.adapter.model_dump(mode="json")):
            raise InputError(
                f"{out} holds an adapter of another base or other settings: choose another out, or remove it"
            )
        return found
