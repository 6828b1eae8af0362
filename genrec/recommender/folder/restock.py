"""Restocking of a recommender folder: items added, removed and updated, the language model untouched.

The changed folder is built beside the old one: what other items change is written anew, every other file
is a second name of the old one (a hard link; a copy where the file system has none). In place, the two
change places in one step, so that the folder is the old one or the new one at any moment.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from genrec.common.artifacts import atomic_folder, provenance, require_free
from genrec.common.locks import only_writer
from genrec.common.manifest import read_manifest, require_unchanged, write_manifest
from genrec.data.catalog import Catalog
from genrec.recommender.catalog import FILES, FittedCatalog
from genrec.recommender.catalog_change import CatalogChange
from genrec.recommender.folder.card import CARD, write_card
from genrec.recommender.settings import read_settings

__all__ = ["add_to_folder", "remove_from_folder", "update_folder"]

Change: TypeAlias = Callable[[FittedCatalog], tuple[FittedCatalog, CatalogChange]]
_REWRITTEN = (*FILES, "collaborative/", "given_vectors.safetensors", CARD)


def add_to_folder(
    folder: Path, items: Catalog, vectors: Sequence[str | Path] = (), out: Path | None = None
) -> CatalogChange:
    """Add items to a recommender folder (see `GenerativeRecommender.add_items`).

    Args:
        folder: the recommender.
        items: the new ones.
        vectors: files of the new items' own vectors, where the fit read some.
        out: folder to make; None changes `folder` itself.

    Raises:
        InputError: the items cannot be added, or `out` cannot be made.
        RecommenderError: `folder` is no recommender, or was changed by somebody else meanwhile.
    """
    with _changing(folder, out) as opened:
        return opened.change(lambda fitted: fitted.add(items, vectors))


def remove_from_folder(
    folder: Path, read_ids: Callable[[Catalog], Sequence[str]], out: Path | None = None
) -> CatalogChange:
    """Remove items from a recommender folder (see `GenerativeRecommender.remove_items`).

    Args:
        folder: the recommender.
        read_ids: from its catalog to the ids of the items that go.
        out: folder to make; None changes `folder` itself.

    Raises:
        InputError: an id is not in the catalog, or `out` cannot be made.
        RecommenderError: `folder` is no recommender, or was changed by somebody else meanwhile.
    """
    with _changing(folder, out) as opened:
        return opened.change(lambda fitted: fitted.remove(read_ids(fitted.catalog)))


def update_folder(
    folder: Path,
    items: Catalog,
    vectors: Sequence[str | Path] = (),
    out: Path | None = None,
    *,
    remove_missing: bool = False,
    recode: bool = False,
    dry_run: bool = False,
) -> CatalogChange:
    """Let a recommender folder follow a feed (see `GenerativeRecommender.update_items`).

    Args:
        folder: the recommender.
        items: the feed.
        vectors: files of the new items' own vectors, where the fit read some.
        out: folder to make; None changes `folder` itself.
        remove_missing: whether items that the feed does not name are removed.
        recode: whether items whose text or image is another get semantic IDs anew.
        dry_run: only say what would change.

    Raises:
        InputError: the feed cannot be followed, or `out` cannot be made.
        RecommenderError: `folder` is no recommender, or was changed by somebody else meanwhile.
    """

    how = {"remove_missing": remove_missing, "recode": recode}
    if dry_run:
        return _Folder.open(folder, out).read().follow(items, vectors, **how)[1]
    with _changing(folder, out) as opened:
        return opened.change(lambda fitted: fitted.update(items, vectors, **how))


@contextmanager
def _changing(folder: Path, out: Path | None) -> Iterator[_Folder]:
    """The folder, for the only process that changes it or makes `out`."""
    with only_writer(out or folder) if out or folder.is_dir() else nullcontext():
        yield _Folder.open(folder, out)


@dataclass(frozen=True)
class _Folder:
    """A recommender folder that is to change.

    Attributes:
        path: where it stands. out: where the changed one will stand. manifest: what it says of itself.
    """

    path: Path
    out: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: Path, out: Path | None) -> _Folder:
        if out is not None:
            require_free(out, advice="choose another --out, or leave it out to change DIR itself")
        return cls(path, out or path, read_manifest(path))

    @property
    def in_place(self) -> bool:
        return self.out == self.path

    @property
    def _keeps_a_readme(self) -> bool:
        """Whether a person wrote one, in a folder that had no card."""
        return CARD not in self.manifest["files"] and (self.path / CARD).exists()

    def read(self) -> FittedCatalog:
        """Its catalog, and what follows it."""
        settings = read_settings(self.manifest["settings"], source=str(self.path))
        return FittedCatalog.read(self.path, self.manifest, settings)

    def change(self, change: Change) -> CatalogChange:
        """Read the catalog, change it, and write the folder; nothing where nothing changes."""
        before = self.read()
        after, report = change(before)
        if after is before and self.in_place:
            return report
        with atomic_folder(self.out, overwrite=self.in_place) as building:
            self._fill(building, after)
            require_unchanged(self.path, self.manifest)
        return report

    def _fill(self, building: Path, fitted: FittedCatalog) -> None:
        kept = {name: hashed for name, hashed in self.manifest["files"].items() if _is_kept(name)}
        for name in kept:
            _link(self.path / name, building / name)
        fitted.write(building)
        facts = {"provenance": provenance(), "data": fitted.data}
        facts["semantic_ids"] = fitted.semantic_ids.describe()
        content = {**self.manifest, **facts}
        if not (self.in_place and self._keeps_a_readme):
            write_card(building, content, fitted.settings)
        write_manifest(building, content, known=kept)
        if self.in_place:  # what else a person keeps there
            for path in self.path.rglob("*"):
                name = path.relative_to(self.path)
                if path.is_file() and not (building / name).exists() and _is_stray(self, name):
                    _link(path, building / name)


def _is_kept(name: str) -> bool:
    return not name.startswith(_REWRITTEN)


def _is_stray(folder: _Folder, name: Path) -> bool:
    return name.as_posix() not in folder.manifest["files"]


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
