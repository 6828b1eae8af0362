"""Encoder settings, and the encoder that they or a saved folder choose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from genrec.common.config import Settings
from genrec.common.errors import RecommenderError
from genrec.common.ray_workers import RaySettings
from genrec.encoders.base import CONFIG, TextEncoder, read_config
from genrec.encoders.on_workers import RayEncoder
from genrec.encoders.pretrained import SentenceTransformerEncoder, SentenceTransformerSettings
from genrec.encoders.tfidf import TfidfEncoder, TfidfSettings

__all__ = ["EncoderSettings", "image_vectors", "load_encoder", "make_encoder"]


class EncoderSettings(Settings):
    """Which encoder turns items' texts into vectors, and which their images."""

    name: str = "tfidf"
    """``tfidf``; ``minilm``, from the extra offline; a Hugging Face model name; or a folder."""
    revision: str | None = None
    """Commit or tag of a Hugging Face model; None is the newest."""
    dimension: int = Field(default=256, ge=1)
    """Size of TF-IDF vectors; pretrained models have their own."""
    batch_size: int = Field(default=64, ge=1)
    """Texts that a pretrained model encodes at once."""
    max_tokens: int = Field(default=128, ge=1)
    """A pretrained model cuts longer texts."""
    engine: Literal["local", "ray"] = "local"
    """``ray`` spreads a pretrained model's reading of the texts over Ray workers (extra ray) in a fit; images
    and items added later are read in one process."""
    ray: RaySettings = RaySettings()
    """Which machines these are: ``encoder.ray.address``, ``encoder.ray.workers``."""
    seed: int = 0
    """Fixes TF-IDF's randomized SVD."""
    weight: float = Field(default=1.0, ge=0)
    """Length of the text part where items have other vectors too; 0 leaves the text out."""
    image_column: str | None = None
    """Column of paths to items' images; None uses no images."""
    image_folder: Path = Path()
    """Folder that these paths are relative to; by default the current one."""
    image_model: str | None = None
    """A CLIP model of sentence-transformers, by name or folder; None takes `name`."""
    image_weight: float = Field(default=1.0, gt=0)
    """Length of the image part."""

    @model_validator(mode="after")
    def _work_for_workers(self) -> EncoderSettings:
        if self.engine == "ray" and self.name == TfidfEncoder.kind:
            raise ValueError(
                "tfidf is fitted in this process and has no work for encoder.engine=ray: name a pretrained "
                "model, such as minilm, as encoder.name"
            )
        return self

    @model_validator(mode="after")
    def _a_model_for_images(self) -> EncoderSettings:
        if self.image_column is not None and (self.image_model or self.name) == TfidfEncoder.kind:
            raise ValueError(
                "tfidf reads no images: name a model that does, such as clip-ViT-B-32, as "
                "encoder.image_model"
            )
        return self


def make_encoder(settings: EncoderSettings | None = None, device: str = "auto") -> TextEncoder:
    """Return the encoder that `settings` describe, not fitted yet."""
    settings = EncoderSettings() if settings is None else settings
    if settings.name == TfidfEncoder.kind:
        return TfidfEncoder(TfidfSettings(dimension=settings.dimension, seed=settings.seed))
    pretrained = SentenceTransformerSettings(
        name=settings.name,
        revision=settings.revision,
        batch_size=settings.batch_size,
        max_tokens=settings.max_tokens,
    )
    encoder = SentenceTransformerEncoder(pretrained, device)
    return RayEncoder(encoder, settings.ray) if settings.engine == "ray" else encoder


def image_vectors(
    settings: EncoderSettings,
    paths: Sequence[object],
    device: str = "auto",
    cache_folder: str | Path | None = None,
) -> NDArray[np.float32]:
    """Return vectors `(N, D)` of the images at N paths, 0 where a path is missing or blank.

    With a `cache_folder`, only images whose content the model has not seen before are encoded.

    Raises:
        InputError: the model cannot be loaded or reads no images, or an image cannot be read.
    """
    from genrec.encoders.images import encode_images

    words = ["" if path is None else str(path).strip() for path in paths]
    files = [settings.image_folder / word if word else None for word in words]
    model = SentenceTransformerSettings(
        name=settings.image_model or settings.name,
        revision=None if settings.image_model else settings.revision,
        batch_size=settings.batch_size,
        max_tokens=settings.max_tokens,
    )
    return encode_images(files, model, device, cache_folder)


def load_encoder(folder: str | Path, device: str = "auto") -> TextEncoder:
    """Read an encoder of whichever kind `folder` holds.

    Raises:
        RecommenderError: the folder is incomplete or names a kind that does not exist.
    """
    kind = read_config(Path(folder)).get("kind")
    match kind:
        case TfidfEncoder.kind:
            return TfidfEncoder.load(folder)
        case SentenceTransformerEncoder.kind:
            encoder = SentenceTransformerEncoder.load(folder)
            encoder.device = device
            return encoder
    raise RecommenderError(f"{Path(folder) / CONFIG}: unknown encoder {kind!r}")
