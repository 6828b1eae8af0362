"""Folder of a domain adapter: what peft saves, what it belongs to, and what its items are like.

adapter_config.json, adapter_model.safetensors   the update, as peft writes adapters
centres.safetensors                              `(K, D)` centres of the domain's item vectors
adapter.json                                     the base model's hash, what was learned from, file hashes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.common.artifacts import atomic_folder, provenance
from genrec.common.errors import InputError, RecommenderError
from genrec.common.manifest import ADAPTER, read_manifest, write_manifest
from genrec.language_model import LanguageModel
from genrec.language_model.domain_adapters import save_lora

__all__ = ["DomainAdapter", "open_adapters", "save_adapter_folder"]

_WEIGHTS, _CENTRES = "adapter_model.safetensors", "centres.safetensors"
_PARTS = {"base": str, "facts": dict}


@dataclass(frozen=True)
class DomainAdapter:
    """A saved adapter.

    Attributes:
        folder: where it lies.
        base: hash of the weights that it was trained beside (`genrec.language_model.weights.hash_weights`).
        sha256: of the file with its weights.
        centres: `(K, D)` of the item vectors of the catalogs that it learned.
        facts: what it was made from and how, and its metrics.
    """

    folder: Path
    base: str
    sha256: str
    centres: NDArray[np.float32]
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @classmethod
    def open(cls, folder: Path) -> DomainAdapter:
        """Read the folder of an adapter; its weights stay where they are.

        Raises:
            RecommenderError: it is no adapter's, of another format version, incomplete or altered.
        """
        from safetensors.numpy import load_file

        document = read_manifest(folder, _PARTS, ADAPTER)
        files = document["files"]
        for name in (_WEIGHTS, _CENTRES):
            if name not in files:
                raise RecommenderError(
                    f"{folder / ADAPTER.manifest} names no {name}: fit the adapter again"
                )
        centres = load_file(folder / _CENTRES).get("centres")
        if centres is None:
            raise RecommenderError(f"{folder / _CENTRES} holds no centres: fit the adapter again")
        return cls(folder, document["base"], files[_WEIGHTS], centres, document["facts"])


def save_adapter_folder(
    adapted: LanguageModel,
    base: str,
    centres: NDArray[np.float32],
    facts: dict[str, Any],
    out: Path,
    *,
    overwrite: bool = False,
) -> None:
    """Write an adapter's folder: whole, or not at all.

    Args:
        adapted: a model with one update beside it.
        base: hash of the model without it.
        centres: `(K, D)` of the item vectors.
        facts: what it was made from, as plain values.
        out: folder to make.
        overwrite: whether an existing one is replaced.
    """
    from safetensors.numpy import save_file

    with atomic_folder(out, overwrite=overwrite) as building:
        save_lora(adapted, building)
        save_file({"centres": np.ascontiguousarray(centres)}, building / _CENTRES)
        content = {"base": base, "facts": facts, "provenance": provenance()}
        write_manifest(building, content, ADAPTER)


def open_adapters(folders: Sequence[str | Path]) -> list[DomainAdapter]:
    """Open several adapters that were trained beside the same base.

    Raises:
        InputError: there is none, two belong to different bases, or one cannot be read.
    """
    adapters = [DomainAdapter.open(Path(folder)) for folder in folders]
    if not adapters:
        raise InputError("there is no adapter to combine: give at least one")
    for other in adapters[1:]:
        if other.base != adapters[0].base:
            raise InputError(
                f"{adapters[0].folder} and {other.folder} were trained beside different language models, so "
                "their updates do not add up: take adapters of one base"
            )
    return adapters
