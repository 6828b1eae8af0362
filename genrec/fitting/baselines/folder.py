"""Folder of a fitted baseline: one safetensors file and one JSON document that rebuild it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrec.common.artifacts import (
    BASELINE_MANIFEST,
    atomic_folder,
    hash_file,
    provenance,
)
from genrec.common.config import validate
from genrec.common.errors import InputError
from genrec.data.histories import Split
from genrec.evaluation.baselines.ease import Ease, EaseConfig
from genrec.evaluation.baselines.item_knn import ItemKNN, ItemKNNConfig
from genrec.evaluation.baselines.sequence_model import SequenceRanker
from genrec.fitting.baselines.fit import (
    Baseline,
    BaselineSettings,
    Fitted,
    fit_baseline,
    network,
    split_facts,
)
from genrec.fitting.work_folder import WorkFolder
from genrec.training.settings import without_retired

__all__ = ["fit_baseline_folder", "load_baseline", "save_baseline"]

log = logging.getLogger(__name__)
_WEIGHTS = "model.safetensors"
_FORMAT = 1


def fit_baseline_folder(
    split: Split,
    n_items: int,
    settings: BaselineSettings,
    out: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
) -> Baseline:
    """Open the baseline in `out` if it was fitted with these settings on this split, or fit it there.

    A fit that was interrupted goes on in a work folder beside `out`.

    Args:
        split: what to learn from, and the cases to choose by.
        n_items: catalog size N.
        settings: which baseline, and how.
        out: its folder.
        overwrite: whether a baseline that is there is fitted anew.
        restart: whether an unfinished fit is discarded instead of continued.

    Raises:
        InputError: `out` is something else, or the fit is refused (see `fit_baseline`).
    """
    if (out / BASELINE_MANIFEST).is_file() and not overwrite:
        found = load_baseline(out, settings.device)
        data = split_facts(split.train, split.valid, n_items)
        if found.data == data and found.settings == settings:
            log.info("opening the baseline in %s", out)
            return found
        raise InputError(
            f"{out} holds a baseline of other data or settings: choose another out, or set overwrite=true"
        )
    advice = "choose another out, or set overwrite=true"
    with WorkFolder.beside(out, overwrite=overwrite, restart=restart, advice=advice) as work:
        baseline = fit_baseline(split.train, split.valid, n_items, settings, work)
        with atomic_folder(out, overwrite=overwrite) as building:
            save_baseline(baseline, building)
    return baseline


def save_baseline(baseline: Baseline, folder: Path) -> None:
    """Write a baseline into an existing folder."""
    from safetensors.numpy import save_file

    state = {key: np.ascontiguousarray(value) for key, value in baseline.ranker.state().items()}
    save_file(state, folder / _WEIGHTS)
    document = {
        "format_version": _FORMAT,
        "settings": baseline.settings.model_dump(mode="json"),
        "n_items": baseline.n_items,
        "data": baseline.data,
        "facts": baseline.facts,
        "provenance": provenance(),
        "sha256": hash_file(folder / _WEIGHTS),
    }
    (folder / BASELINE_MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def load_baseline(folder: Path, device: str = "auto") -> Baseline:
    """Read back what `save_baseline` wrote; its rankings are the same.

    Raises:
        InputError: the folder holds no baseline, one of another format version, or an altered one.
    """
    from safetensors.numpy import load_file

    document = _read(folder)
    source = str(folder / BASELINE_MANIFEST)
    settings = validate(BaselineSettings, without_retired(document["settings"]), source=source)
    settings = settings.replace(device=device)
    ranker = _restore(load_file(folder / _WEIGHTS), settings, document["n_items"])
    return Baseline(settings, ranker, document["n_items"], document["data"], document["facts"])


def _restore(state: dict[str, Any], settings: BaselineSettings, n_items: int) -> Fitted:
    config = settings.model
    if isinstance(config, EaseConfig):
        return Ease.restore(state, config)
    if isinstance(config, ItemKNNConfig):
        return ItemKNN.restore(state, config)
    model = network(settings, n_items).to(settings.torch_device())
    with torch.no_grad():
        return SequenceRanker.restore(state, model, config.kind)


def _read(folder: Path) -> dict[str, Any]:
    """The folder's document, checked against its weights."""
    manifest, weights = folder / BASELINE_MANIFEST, folder / _WEIGHTS
    if not (manifest.is_file() and weights.is_file()):
        raise InputError(
            f"{folder} holds no baseline ({BASELINE_MANIFEST} and {_WEIGHTS}): make one with "
            "train/baseline.py"
        )
    try:
        document = json.loads(manifest.read_text(encoding="utf-8"))
        version, digest = document["format_version"], document["sha256"]
        missing = {"settings", "n_items", "data", "facts"} - document.keys()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{manifest} cannot be read ({error}): fit the baseline again") from None
    if version != _FORMAT:
        raise InputError(f"{manifest} has format version {version}, this genrec reads {_FORMAT}")
    if missing:
        raise InputError(f"{manifest} lacks {', '.join(sorted(missing))}: fit the baseline again")
    if digest != hash_file(weights):
        raise InputError(f"{weights} is not what was saved: fit the baseline again")
    result: dict[str, Any] = document
    return result
