"""Vectorizer: items to vectors, of text, images and the user's own, joined with co-occurrence.

Every source is scaled to length 1 an item, weighted, and put beside the others. What cannot be made
again from the catalog alone (image vectors, the user's own) is kept with the recommender, in the half
precision that the fit read too: a later look at its semantic IDs sees the very vectors behind them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from genrec.common.artifacts import hash_file
from genrec.common.errors import DataError, InputError, RecommenderError
from genrec.data.catalog import Catalog
from genrec.data.histories import Histories
from genrec.data.reading.readers import nearest
from genrec.data.vectors import VectorFile, read_vectors, unit_rows
from genrec.encoders import (
    TextEncoder,
    TfidfEncoder,
    encode_cached,
    image_vectors,
    load_encoder,
    make_encoder,
)
from genrec.encoders.settings import EncoderSettings
from genrec.recommender.settings import FitSettings
from genrec.semantic_ids.collaborative import CollaborativeSignal

__all__ = ["Vectorizer", "encode_texts", "vector_facts"]

log = logging.getLogger(__name__)
_GIVEN = "given_vectors.safetensors"


@dataclass(frozen=True)
class Vectorizer:
    """What turns items into the vectors that the item tokenizer reads.

    Attributes:
        encoder: text to vectors; None where text has no weight.
        given: `(N, D_i)` float16 of each other source, rows of length 1 (0 where an item has none),
            images first.
        signal: joins them with co-occurrence learned in training; None for content alone.
    """

    encoder: TextEncoder | None
    given: tuple[NDArray[np.float16], ...]
    signal: CollaborativeSignal | None

    @classmethod
    def fit(cls, catalog: Catalog, train: Histories, settings: FitSettings) -> Vectorizer:
        """Fit the encoder, read the other vectors, and learn the signal from training histories.

        Raises:
            InputError: a file of vectors or an image cannot be used, or no text holds a word.
        """
        encoder = None
        if settings.encoder.weight:
            encoder = make_encoder(settings.encoder).fit(_texts(catalog, settings))
        given = [*_of_images(settings.encoder, catalog), *_of_files(settings.vectors, catalog)]
        content = cls(encoder, tuple(given), None)
        if not settings.collaborative.weight:
            return content
        signal = CollaborativeSignal(settings.collaborative)
        signal.fit(train, content.vectors(catalog, settings))
        return cls(encoder, content.given, signal)

    def vectors(self, catalog: Catalog, settings: FitSettings) -> NDArray[np.float32]:
        """Vectors `(N, D)` of the catalog that this was fitted on, row by row."""
        parts: list[NDArray[Any]] = []
        if self.encoder is not None:
            text = encode_texts(self.encoder, _texts(catalog, settings))
            weight = settings.encoder.weight
            parts.append(text if weight == 1 else text * np.float32(weight))
        weights = [settings.encoder.image_weight] if settings.encoder.image_column else []
        weights += [file.weight for file in settings.vectors]
        for table, weight in zip(self.given, weights, strict=True):
            parts.append(table.astype(np.float32) * np.float32(weight))
        content = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        if self.signal is None:
            return content
        return self.signal.transform(content, np.arange(len(catalog)))

    def grown(
        self, items: Catalog, settings: FitSettings, vectors: Sequence[str | Path] = ()
    ) -> tuple[Vectorizer, NDArray[np.float32]]:
        """The same vectorizer for a catalog with new items at its end, and their vectors `(M, D)`.

        Nothing is fitted: texts and images go through the encoders as they are, and the collaborative part is
        that of the nearest items by text.

        Args:
            items: the M new ones.
            settings: of the fit.
            vectors: a file of the new items' vectors for each of `settings.vectors`, in their order.

        Raises:
            InputError: too many or too few files, or one of another dimension.
        """
        files = _files_of(settings.vectors, vectors)
        tables = [*_of_images(settings.encoder, items), *_of_files(files, items)]
        for table, before in zip(tables, self.given, strict=True):
            _require_dimension(table.shape[1], before.shape[1], files)
        content = Vectorizer(self.encoder, tuple(tables), None).vectors(items, settings)
        given = tuple(np.concatenate(pair) for pair in zip(self.given, tables, strict=True))
        if self.signal is None:
            return Vectorizer(self.encoder, given, None), content
        known = np.arange(self.signal.items)
        signal = self.signal.following(np.append(known, np.full(len(items), -1)))
        return Vectorizer(self.encoder, given, signal), self.signal.transform(content)

    def renewed(
        self, catalog: Catalog, items: NDArray[np.int64], settings: FitSettings
    ) -> tuple[Vectorizer, NDArray[np.float32]]:
        """The same vectorizer once the texts or images of some items are others, and their vectors `(M, D)`.

        Nothing is fitted, the collaborative part stays, and so do vectors of your own.

        Args:
            catalog: all N items, as they are now.
            items: `(M,)` catalog indices of those that are others.
            settings: of the fit.
        """
        some, given = catalog.take(items), [table.copy() for table in self.given]
        for table, images in zip(given, _of_images(settings.encoder, some), strict=False):
            table[items] = images
        tables = tuple(table[items] for table in given)
        content = Vectorizer(self.encoder, tables, None).vectors(some, settings)
        found = Vectorizer(self.encoder, tuple(given), self.signal)
        return found, content if self.signal is None else self.signal.transform(content, items)

    def reduced(self, kept: NDArray[np.int64]) -> Vectorizer:
        """The same vectorizer for the items `(N',)` of its catalog that stay."""
        signal = None if self.signal is None else self.signal.following(kept)
        return Vectorizer(self.encoder, tuple(table[kept] for table in self.given), signal)

    def save(self, folder: Path) -> None:
        """Write the parts into `folder`, made if absent."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.encoder is not None:
            self.encoder.save(folder / "encoder")
        self.save_items(folder)

    def save_items(self, folder: Path) -> None:
        """Write what other items change: all but the encoder."""
        from safetensors.numpy import save_file

        if self.given:
            named = {f"source.{i}": np.ascontiguousarray(t) for i, t in enumerate(self.given)}
            save_file(named, folder / _GIVEN)
        if self.signal is not None:
            self.signal.save(folder / "collaborative")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote.

        Raises:
            RecommenderError: a file cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = folder / _GIVEN
        try:
            state = load_file(path) if path.exists() else {}
            given = tuple(state[f"source.{i}"] for i in range(len(state)))
        except (OSError, KeyError, SafetensorError) as error:
            raise RecommenderError(f"{path}: cannot be read ({error})") from None
        encoder, signal = folder / "encoder", folder / "collaborative"
        return cls(
            load_encoder(encoder) if encoder.is_dir() else None,
            given,
            CollaborativeSignal.load(signal) if signal.is_dir() else None,
        )


def _files_of(
    fitted: tuple[VectorFile, ...], paths: Sequence[str | Path]
) -> tuple[VectorFile, ...]:
    """The fit's files of vectors with others in their place, weights and columns alike."""
    if len(fitted) == len(paths):
        pairs = zip(fitted, paths, strict=True)
        return tuple(file.replace(path=Path(path), ids=None) for file, path in pairs)
    if not fitted:
        raise InputError(
            "the recommender was fitted without vectors of your own, and so can use none of new items: leave "
            "--vectors out"
        )
    names = ", ".join(file.path.name for file in fitted)
    raise InputError(
        f"the recommender was fitted with vectors of your own ({names}); give those of the new items in the "
        f"same order, one --vectors FILE for each: {len(fitted)} wanted, {len(paths)} given"
    )


def _require_dimension(found: int, wanted: int, files: tuple[VectorFile, ...]) -> None:
    if found != wanted:
        names = ", ".join(str(file.path) for file in files) or "encoder.image_model"
        raise InputError(
            f"{names}: vectors of {found} dimensions where the recommender was fitted on {wanted}; make "
            "them with the same model"
        )


def vector_facts(files: tuple[VectorFile, ...]) -> list[dict[str, str]]:
    """Name and hash of each file of vectors, so that results can be traced to it.

    Raises:
        DataError: a file is missing.
    """
    facts = []
    for file in files:
        try:
            facts.append({"source": file.path.name, "sha256": hash_file(file.path)})
        except OSError as error:
            siblings = [path.name for path in file.path.parent.glob("*")]
            hint = nearest(file.path.name, siblings)
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            raise DataError(f"{reason}{hint}", source=file.path) from None
    return facts


def _texts(catalog: Catalog, settings: FitSettings) -> list[str]:
    """The items' texts; where the template takes every column, the paths of images are none."""
    template, images = settings.template, settings.encoder.image_column
    if template.fields is None and images is not None:
        fields = template.choose(catalog.table)
        template = template.replace(fields=[name for name in fields if name != images])
    return catalog.texts(template)


def _of_files(files: tuple[VectorFile, ...], catalog: Catalog) -> list[NDArray[np.float16]]:
    tables = []
    for file in files:
        table, report = read_vectors(file, catalog)
        for line in report.lines():
            log.info("%s", line)
        tables.append(table)
    return tables


def _of_images(settings: EncoderSettings, catalog: Catalog) -> list[NDArray[np.float16]]:
    if settings.image_column is None:
        return []
    paths = catalog.column(settings.image_column, "encoder.image_column").to_pylist()
    vectors = image_vectors(settings, paths, cache_folder=_cache_folder())
    if missing := int((~vectors.any(axis=1)).sum()):
        log.info("%s of %s items have no image: zeros there", f"{missing:,}", f"{len(catalog):,}")
    return [unit_rows(vectors).astype(np.float16)]


def encode_texts(encoder: TextEncoder, texts: list[str]) -> NDArray[np.float32]:
    """Vectors of texts; those of a pretrained encoder are kept for other fits and grown catalogs."""
    if isinstance(encoder, TfidfEncoder):
        return encoder.encode(texts)
    return encode_cached(encoder, texts, _cache_folder())


def _cache_folder() -> Path:
    """Where vectors of pretrained models are kept by content."""
    home = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("GENREC_CACHE", Path(home) / "genrec"))
