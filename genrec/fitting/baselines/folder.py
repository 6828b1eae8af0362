"""Folder of a fitted baseline: one safetensors file and one JSON document that rebuild it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrec.common.artifacts import (
    atomic_folder,
    provenance,
)
from genrec.common.config import ANY, validate, without_retired
from genrec.common.errors import InputError
from genrec.common.manifest import BASELINE, read_manifest, write_manifest
from genrec.data.histories import Split
from genrec.evaluation.baselines.sequence_model import SequenceRanker
from genrec.fitting.baselines.fit import (
    UNTRAINED,
    Baseline,
    BaselineSettings,
    Fitted,
    fit_baseline,
    network,
    split_facts,
)
from genrec.fitting.work_folder import WorkFolder

__all__ = ["fit_baseline_folder", "load_baseline", "save_baseline"]

log = logging.getLogger(__name__)
_WEIGHTS = "model.safetensors"
_RETIRED = {"training.code_noise": ANY}
_PARTS = {"settings": dict, "n_items": int, "data": dict, "facts": dict}


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
    if (out / BASELINE.manifest).is_file() and not overwrite:
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
    """Write a baseline into an existing folder, which holds nothing else."""
    from safetensors.numpy import save_file

    state = {key: np.ascontiguousarray(value) for key, value in baseline.ranker.state().items()}
    save_file(state, folder / _WEIGHTS)
    content = {
        "settings": baseline.settings.model_dump(mode="json"),
        "n_items": baseline.n_items,
        "data": baseline.data,
        "facts": baseline.facts,
        "provenance": provenance(),
    }
    write_manifest(folder, content, BASELINE)


def load_baseline(folder: Path, device: str = "auto") -> Baseline:
    """Read back what `save_baseline` wrote; its rankings are the same.

    Raises:
        RecommenderError: the folder holds no baseline, one of another format version, or an altered one.
    """
    from safetensors.numpy import load_file

    document = read_manifest(folder, _PARTS, BASELINE)
    source = str(folder / BASELINE.manifest)
    settings = validate(
        BaselineSettings, without_retired(document["settings"], _RETIRED, source), source=source
    )
    settings = settings.replace(device=device)
    ranker = _restore(load_file(folder / _WEIGHTS), settings, document["n_items"])
    return Baseline(settings, ranker, document["n_items"], document["data"], document["facts"])


def _restore(state: dict[str, Any], settings: BaselineSettings, n_items: int) -> Fitted:
    config = settings.model
    if type(config) in UNTRAINED:
        fitted: Fitted = UNTRAINED[type(config)].restore(state, config)
        return fitted
    model = network(settings, n_items).to(settings.torch_device())
    with torch.no_grad():
        return SequenceRanker.restore(state, model, config.kind)
