"""Indexing: a tuple of codes for every item of a catalog, without any vector.

An item's tuple is a path and a number among the items on the same path (Hua et al. 2023, "How to
Index Item IDs for Recommendation Foundation Models"). Tuples are unique as they are made: there is no
collision to resolve, no reconstruction, and nothing to encode; so an indexing is no `ItemTokenizer`,
though it stands in its place.

An item that the training histories lack, or that comes after the fit, gets a code all the same:

    random, sequential    the next free number
    category, title       the next free number on its path; unknown names have code 0
    collaborative         the next free number among the items without co-occurrence

Where a path is full, the lowest free tuple that shares the most of it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from genrec.common.errors import InputError, RecommenderError
from genrec.data.catalog import Catalog
from genrec.data.histories import Split
from genrec.semantic_ids.base import as_codes
from genrec.semantic_ids.indexing.names import (
    codes_of,
    dominated_levels,
    fold,
    learn_names,
    name_paths,
)
from genrec.semantic_ids.indexing.numbering import FreeTuples, digit_sizes, digits, numbers
from genrec.semantic_ids.indexing.settings import (
    AnyIndexingSettings,
    AnyPathSettings,
    CollaborativePathSettings,
    IndexingSettings,
)
from genrec.semantic_ids.indexing.spectral import spectral_paths
from genrec.semantic_ids.semantic_ids import SemanticIds

__all__ = ["ItemIndexing"]

CONFIG, MODEL = "config.json", "model.safetensors"


class ItemIndexing:
    """Gives the items of a catalog their codes by the training histories, categories or titles.

    Attributes:
        settings: what it was made with.
        codes: `(N, L)` int32, unique rows, of the catalog as it was fitted; None before `fit`.
        codebook_sizes: how many codes each level has; empty before `fit`.
    """

    def __init__(self, settings: IndexingSettings) -> None:
        self.settings = settings
        self.codes: NDArray[np.int32] | None = None
        self.codebook_sizes: tuple[int, ...] = ()
        self._paths: list[_Path] = []

    @property
    def kind(self) -> str:
        """The name of this sort of indexing in settings and saved folders."""
        return str(getattr(self.settings, "kind", type(self.settings).__name__))

    def fit(self, catalog: Catalog, split: Split) -> Self:
        """Give every item of the catalog its codes.

        Only the training part of the split is read. A sequential index over a whole log would put
        each test item right behind its user's history, and a model would find it by counting: the
        known leak of this indexing.

        Raises:
            DataError: the catalog lacks the column of categories.
            InputError: the training part holds what a case of the split must predict.
        """
        _require_no_leak(split)
        self._paths = [_Path(settings) for settings in self.settings.path]
        parts = [path.fit(catalog, split) for path in self._paths]
        paths = np.concatenate([np.empty((len(catalog), 0), np.int32), *parts], axis=1)
        number = numbers(paths, self.settings.order, split.train, self.settings.seed)
        capacity = int(np.ceil((number.max(initial=0) + 1) * self.settings.spare))
        sizes = digit_sizes(capacity, self.settings.codes)
        self.codes = np.concatenate([paths, digits(number, sizes)], axis=1)
        self.codebook_sizes = (*(size for path in self._paths for size in path.sizes), *sizes)
        return self

    def semantic_ids(self, catalog: Catalog) -> SemanticIds:
        """Bind the codes to the items of the catalog that this was fitted on; none collides.

        Raises:
            InputError: before `fit`, or the catalog has another number of items.
        """
        return SemanticIds(catalog.item_ids, self._fitted(), self.codebook_sizes, "refuse")

    def add(self, semantic_ids: SemanticIds, new: Catalog) -> SemanticIds:
        """Return semantic IDs with new items at the end; nobody else's codes change.

        Raises:
            InputError: before `fit`, an item is there already, or no tuple is free.
        """
        self._fitted()
        free = FreeTuples(self.codebook_sizes, semantic_ids.codes)
        parts = [path.place(new) for path in self._paths]
        paths = np.concatenate([np.empty((len(new), 0), np.int32), *parts], axis=1)
        codes = np.array([free.take(path) for path in paths.tolist()], np.int32)
        return replace(
            semantic_ids,
            item_ids=[*semantic_ids.item_ids, *new.item_ids],
            codes=np.concatenate([semantic_ids.codes, codes.reshape(len(new), -1)]),
        )

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into `folder`, made if absent."""
        from safetensors.numpy import save_file

        codes, folder = self._fitted(), Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "kind": self.kind,
            "codebook_sizes": list(self.codebook_sizes),
            "settings": self.settings.model_dump(mode="json"),
            "paths": [path.state() for path in self._paths],
        }
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
        save_file({"codes": np.ascontiguousarray(codes)}, folder / MODEL)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what `save` wrote.

        Raises:
            RecommenderError: a file is missing, cannot be read, or does not fit the other.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)
        any_settings: TypeAdapter[AnyIndexingSettings] = TypeAdapter(
            Annotated[AnyIndexingSettings, Field(discriminator="kind")]
        )
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            found = cls(any_settings.validate_python(config["settings"]))
            pairs = zip(found.settings.path, config["paths"], strict=True)
            found._paths = [_Path.of(settings, state) for settings, state in pairs]
            found.codebook_sizes = tuple(config["codebook_sizes"])
            codes = load_file(folder / MODEL)["codes"]
            found.codes = as_codes(codes, found.codebook_sizes)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            ValidationError,
            InputError,
            SafetensorError,
        ) as error:
            reason = " ".join(str(error).split())
            raise RecommenderError(f"{folder}: not an item indexing ({reason})") from None
        return found

    def _fitted(self) -> NDArray[np.int32]:
        if self.codes is None:
            raise InputError("this ItemIndexing is not fitted yet: call fit(catalog, split) first")
        return self.codes


class _Path:
    """One part of the path: where the fit's items stand, and where new ones are put."""

    def __init__(self, settings: AnyPathSettings) -> None:
        self.settings = settings
        self.sizes: tuple[int, ...] = ()
        self.names: list[list[str]] = []
        self.folded = 0
        """First levels that share a code with the level below them."""

    @classmethod
    def of(cls, settings: AnyPathSettings, state: dict[str, Any]) -> Self:
        """Rebuild from what `state` gave."""
        path = cls(settings)
        path.sizes = tuple(state["sizes"])
        path.names, path.folded = state["names"], state["folded"]
        return path

    def state(self) -> dict[str, Any]:
        """Return what was learned as plain values."""
        return {"sizes": list(self.sizes), "names": self.names, "folded": self.folded}

    def fit(self, catalog: Catalog, split: Split) -> NDArray[np.int32]:
        """Learn the path, and return its codes `(N, P)` of the catalog's items."""
        if isinstance(self.settings, CollaborativePathSettings):
            paths, self.sizes = spectral_paths(split.train, len(catalog), self.settings)
            return paths
        names = name_paths(catalog, self.settings)
        self.folded = dominated_levels(names)
        names = fold(names, self.folded)
        self.names = learn_names(names, self.settings.levels, self.settings.names)
        self.sizes = tuple(len(known) + 1 for known in self.names)
        return codes_of(names, self.names)

    def place(self, new: Catalog) -> NDArray[np.int32]:
        """Return the codes `(M, P)` of items that the fit did not see."""
        if isinstance(self.settings, CollaborativePathSettings):
            paths = np.zeros((len(new), len(self.sizes)), np.int32)
            paths[:, 0] = self.sizes[0] - 1  # no co-occurrence
            return paths
        return codes_of(fold(name_paths(new, self.settings), self.folded), self.names)


def _require_no_leak(split: Split) -> None:
    """Refuse a training part in which a case's user goes on past the case's history."""
    for part, cases in (("validation", split.valid), ("test", split.test)):
        known = split.train.lengths[cases.users]
        if len(leaks := np.flatnonzero(known > cases.histories.lengths)):
            user = int(cases.users[leaks[0]])
            raise InputError(
                f"the training histories of {len(leaks)} users (the first is user {user}) hold what "
                f"their {part} cases must predict: neighbours in a history get neighbouring codes, so "
                "the answer would leak into them; give the split whose training part ends before"
            )
