"""Image vectors by a pretrained model that reads them, such as CLIP.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"; any
sentence-transformers model whose modalities name images will do. Images are opened a batch at a time;
with a cache, the same file content through the same model is encoded once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError, InputError
from genrec.common.progress import progress
from genrec.encoders.cache import cached_vectors
from genrec.encoders.pretrained import SentenceTransformerEncoder, SentenceTransformerSettings

if TYPE_CHECKING:
    from PIL.Image import Image
    from sentence_transformers import SentenceTransformer

__all__ = ["encode_images"]


def encode_images(
    files: Sequence[Path | None],
    settings: SentenceTransformerSettings,
    device: str = "auto",
    cache_folder: str | Path | None = None,
) -> NDArray[np.float32]:
    """Return vectors `(N, D)` of length 1 of images, 0 where there is none.

    Args:
        files: N image files in any format that Pillow reads.
        settings: which model, and how many images at once.
        device: ``cpu``, ``cuda``, …; ``auto`` takes an accelerator where there is one.
        cache_folder: where vectors are kept by the content of the files; None keeps none.

    Raises:
        InputError: the model cannot be loaded, or reads no images.
        DataError: a file is missing or not an image; names it and its row.
    """
    encoder = SentenceTransformerEncoder(settings, device)
    given = [(row, file) for row, file in enumerate(files) if file is not None]

    def encode(parts: Iterable[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
        for places in parts:
            model = _reading_images(encoder)
            yield _encode(model, [given[place] for place in places], settings.batch_size)

    if cache_folder is None:
        found = next(encode([range(len(given))]))
    else:
        keys = _hashes(given)
        found = cached_vectors(f"images-{encoder.source()}", keys, encode, cache_folder)
    vectors = np.zeros((len(files), found.shape[1]), np.float32)
    vectors[[row for row, _ in given]] = found
    return vectors


def _reading_images(encoder: SentenceTransformerEncoder) -> SentenceTransformer:
    model = encoder.model()
    modalities = getattr(model, "modalities", ["text"])
    if "image" not in modalities:
        raise InputError(
            f"the model {encoder.settings.name!r} reads {', '.join(modalities)} but no images: name "
            "one that does, such as clip-ViT-B-32, as encoder.image_model"
        )
    return model


def _encode(
    model: SentenceTransformer, given: Sequence[tuple[int, Path]], batch_size: int
) -> NDArray[np.float32]:
    """Return the vectors `(M, D)` of images, of which M may be 0."""
    blank = model.encode([_blank()], show_progress_bar=False)
    vectors = np.empty((len(given), blank.shape[1]), np.float32)
    with progress("Encoding images", len(given)) as advance:
        for start in range(0, len(given), batch_size):
            batch = given[start : start + batch_size]
            vectors[start : start + len(batch)] = model.encode(
                [_opened(file, row) for row, file in batch],
                batch_size=batch_size,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            advance(len(batch))
    return vectors


def _hashes(given: Sequence[tuple[int, Path]]) -> list[str]:
    """Return a hash of each file's content; a file that many items share is read once."""
    known: dict[Path, str] = {}
    with progress("Reading images", len(given)) as advance:
        for row, path in given:
            if path not in known:
                known[path] = _hash(path, row)
            advance(1)
    return [known[path] for _, path in given]


def _hash(path: Path, row: int) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(error, path, row) from None


def _opened(file: Path, row: int) -> Image:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(error, file, row) from None


def _unreadable(error: Exception, file: Path, row: int) -> DataError:
    from PIL import UnidentifiedImageError

    if isinstance(error, FileNotFoundError):
        reason = "no such image; paths are relative to encoder.image_folder"
    elif isinstance(error, UnidentifiedImageError):
        reason = "not an image that can be read"
    else:
        reason = f"the image cannot be read ({error})"
    return DataError(reason, source=file, row=row + 1)


def _blank() -> Image:
    from PIL import Image

    return Image.new("RGB", (32, 32))
