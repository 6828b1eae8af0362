"""Vectors of images by a pretrained model that reads them, such as CLIP.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"; any
sentence-transformers model whose modalities name images will do. Images are opened a batch at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.encoders.pretrained import SentenceTransformerEncoder, SentenceTransformerSettings
from genrec.errors import DataError, InputError
from genrec.progress import progress

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["encode_images"]


def encode_images(
    files: Sequence[Path | None],
    settings: SentenceTransformerSettings,
    device: str = "auto",
) -> NDArray[np.float32]:
    """Return vectors `(N, D)` of length 1 of images, 0 where there is none.

    Args:
        files: N image files in any format that Pillow reads.
        settings: which model, and how many images at once.
        device: ``cpu``, ``cuda``, …; ``auto`` takes an accelerator where there is one.

    Raises:
        InputError: the model cannot be loaded, or reads no images.
        DataError: a file is missing or not an image; names it and its row.
    """
    model = SentenceTransformerEncoder(settings, device).model()
    modalities = getattr(model, "modalities", ["text"])
    if "image" not in modalities:
        raise InputError(
            f"the model {settings.name!r} reads {', '.join(modalities)} but no images: name one that "
            "does, such as clip-ViT-B-32, as encoder.image_model"
        )
    rows = [row for row, file in enumerate(files) if file is not None]
    blank = model.encode([_blank()], show_progress_bar=False)
    vectors = np.zeros((len(files), blank.shape[1]), np.float32)
    with progress("Encoding images", len(rows)) as advance:
        for start in range(0, len(rows), settings.batch_size):
            batch = rows[start : start + settings.batch_size]
            vectors[batch] = model.encode(
                [_opened(files[row], row) for row in batch],
                batch_size=settings.batch_size,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            advance(len(batch))
    return vectors


def _opened(file: Path | None, row: int) -> Image:
    from PIL import Image, UnidentifiedImageError

    assert file is not None
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        reason = "no such image; paths are relative to encoder.image_folder"
    except UnidentifiedImageError:
        reason = "not an image that can be read"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = f"the image cannot be read ({error})"
    raise DataError(reason, source=file, row=row + 1) from None


def _blank() -> Image:
    from PIL import Image

    return Image.new("RGB", (32, 32))
