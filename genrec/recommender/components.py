"""Components of the mixture beside the language model: which there are, and what each is made of.

A new one is a module with a `Component`, and one line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from genrec.recommender.memory import Counts, TextLikeness, compare_texts
from genrec.recommender.mixture import Component, Share, join

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from genrec.data.catalog import Catalog
    from genrec.data.histories import Split
    from genrec.recommender.settings import FitSettings
    from genrec.recommender.text_model.model import TextModel

__all__ = ["KINDS", "Fitted", "Kind", "joined", "weights_of", "with_weights"]


class Fitted(Protocol):
    """What components are made of: the parts of a fitted recommender that they read."""

    catalog: Catalog
    settings: FitSettings
    likeness: csr_matrix | None
    text_model: TextModel | None

    @property
    def split(self) -> Split:
        """The log as it was cut for the fit."""


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    Attributes:
        name: of the component.
        title: for tables.
        part: settings that its weight is one of. weight: which one of them.
        make: makes it of what was fitted; None where that cannot be.
    """

    name: str
    title: str
    part: str
    weight: str
    make: Callable[[Fitted], Component | None]

    def weight_of(self, settings: FitSettings) -> float | None:
        """Its weight in the mixture; None is not chosen yet."""
        found: float | None = getattr(getattr(settings, self.part), self.weight)
        return found


def weights_of(settings: FitSettings) -> dict[str, float | None]:
    """The weight of every kind of component; None is not chosen yet."""
    return {kind.name: kind.weight_of(settings) for kind in KINDS}


def with_weights(settings: FitSettings, weights: Mapping[str, float | None]) -> FitSettings:
    """The settings with other weights of some components."""
    parts: dict[str, dict[str, float | None]] = {}
    for kind in KINDS:
        if kind.name in weights:
            parts.setdefault(kind.part, {})[kind.weight] = weights[kind.name]
    changed = {part: getattr(settings, part).replace(**values) for part, values in parts.items()}
    return settings.replace(**changed)


def joined(parts: Mapping[str, csr_matrix], settings: FitSettings) -> list[Share]:
    """What components say, `(C, N)` each, as one share of the mixture; none where there are none."""
    weights = weights_of(settings)
    return [join(list(parts.values()), [weights[name] or 0.0 for name in parts])] if parts else []


def _counts(fitted: Fitted) -> Component:
    return Counts.of(fitted.split.train, len(fitted.catalog), fitted.settings.memory)


def _texts(fitted: Fitted) -> Component | None:
    settings = fitted.settings.memory
    likeness = fitted.likeness
    if likeness is None:
        likeness = compare_texts(fitted.catalog.texts(fitted.settings.template), settings)
    return None if likeness is None else TextLikeness.of(likeness, settings)


def _text_model(fitted: Fitted) -> Component | None:
    return fitted.text_model


KINDS = (
    Kind("counts", "counts of the log", "memory", "weight", _counts),
    Kind("texts", "likeness of texts", "memory", "text_weight", _texts),
    Kind("text_model", "text model", "text_model", "weight", _text_model),
)
"""Every kind, in the order of tables."""
