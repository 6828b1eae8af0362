"""Folder of a recommender, whole: written in one step or not at all, opened if it is what was saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from genrec.common.artifacts import atomic_folder, provenance
from genrec.common.manifest import read_manifest, write_manifest
from genrec.decoding import Trie
from genrec.language_model import LanguageModel
from genrec.recommender.catalog import FittedCatalog
from genrec.recommender.fitted_recommender import AnyRecommender, FittedRecommender
from genrec.recommender.folder.card import write_card
from genrec.recommender.reranker import Reranker
from genrec.recommender.settings import read_settings

__all__ = ["open_folder", "save_folder"]


def save_folder(recommender: FittedRecommender, folder: Path, *, overwrite: bool = False) -> None:
    """Write a recommender (see `GenerativeRecommender.save_pretrained`)."""
    with atomic_folder(folder, overwrite=overwrite) as building:
        recommender.fitted_catalog().write(building, recommender.trie)
        recommender.item_tokenizer.save(building / "item_tokenizer")
        recommender.vectorizer.save(building)
        recommender.language_model.save(building / "language_model")
        if recommender.text_model is not None:
            recommender.text_model.save(building)
        if recommender.reranking is not None:
            recommender.reranking.save(building)
        (building / "metrics.json").write_text(json.dumps(recommender.metrics, indent=2) + "\n")
        content = {
            "provenance": provenance(),
            "data": recommender.data,
            "settings": recommender.settings.model_dump(mode="json"),
            "semantic_ids": recommender.semantic_ids.describe(),
        }
        write_card(building, content, recommender.settings)
        write_manifest(building, content)


def open_folder(
    kind: type[AnyRecommender],
    folder: Path,
    device: str = "auto",
    dtype: str | None = None,
    *,
    merged: bool = False,
    base: str | None = None,
) -> AnyRecommender:
    """Read what `save_folder` wrote, in that class (see `GenerativeRecommender.from_pretrained`)."""
    manifest = read_manifest(folder, {"settings": dict, "semantic_ids": dict, "data": dict})
    settings = read_settings(manifest["settings"], source=str(folder))
    if base is not None:
        moved = settings.language_model.replace(backbone=base)
        settings = settings.replace(language_model=moved)
    language_model = LanguageModel.load(
        folder / "language_model",
        settings.language_model,
        tuple(manifest["semantic_ids"]["codebook_sizes"]),
        merged=merged,
    )
    torch_device = settings.replace(device=device).torch_device()
    language_model.to(torch_device, dtype)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    index = Trie.load(path) if (path := folder / "trie.safetensors").exists() else None
    reranker = Reranker.load(folder)
    fitted = FittedCatalog.read(folder, manifest, settings)
    if fitted.text_model is not None:
        fitted = replace(fitted, text_model=fitted.text_model.to(torch_device))
    return kind(
        language_model=language_model,
        metrics=metrics,
        reranker=reranker,
        index=index,
        **vars(fitted),
    )
