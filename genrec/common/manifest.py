"""Manifest: the JSON document by which a folder that genrec made proves what it holds.

It records the format version, whatever the folder is about, and the SHA-256 of every file, its own content
included; a folder is opened only if all of them match. There is one for each kind of folder (`RECOMMENDER`,
`BASELINE`, `ADAPTER`, `TOGETHER`), and one reader for all.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.common.artifacts import REPLACED, genrec_version, hash_file, old_prefix
from genrec.common.errors import InputError, RecommenderError
from genrec.common.folder_safety import check_content, check_place
from genrec.common.strict_json import read_json

__all__ = [
    "ADAPTER",
    "BASELINE",
    "RECOMMENDER",
    "TOGETHER",
    "FolderKind",
    "read_manifest",
    "require_unchanged",
    "write_manifest",
]


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that genrec makes.

    Attributes:
        manifest: name of its document.
        noun: what the folder holds.
        making: how such a folder is made.
        using: what such a folder is for, where another kind was wanted; ``{folder}`` stands for it.
        version: of the format.
        unsealed: the format version whose manifests had no hash of their own content; None where all have.
        weights: the one file of a manifest that hashed nothing but it; None where all name their files.
    """

    manifest: str
    noun: str
    making: str
    using: str
    version: int = 1
    unsealed: int | None = None
    weights: str | None = None


RECOMMENDER = FolderKind(
    "recommender.json",
    "a recommender",
    "make one with 'genrec fit --out'",
    "a recommender: genrec recommend {folder} --history ID,ID",
)
BASELINE = FolderKind(
    "baseline.json",
    "a baseline",
    "make one with train/baseline.py",
    "a baseline, which is compared with a recommender: genrec evaluate RECOMMENDER {folder}",
    version=2,
    unsealed=1,
    weights="model.safetensors",
)
ADAPTER = FolderKind(
    "adapter.json",
    "a domain adapter",
    "make one with 'genrec adapters fit'",
    "a domain adapter, which a recommender is combined with: genrec adapters combine RECOMMENDER "
    "--adapter {folder}",
    version=2,
    unsealed=1,
)
TOGETHER = FolderKind(
    "recommenders.json",
    "recommenders that share a language model",
    "make them with 'genrec fit' of several catalogs",
    "a recommender for each of several catalogs: give one of them, such as {folder}/{first} ({inside})",
)
_KINDS = (BASELINE, ADAPTER, TOGETHER, RECOMMENDER)


def write_manifest(
    folder: Path,
    content: dict[str, Any],
    kind: FolderKind = RECOMMENDER,
    *,
    known: Mapping[str, str] | None = None,
) -> None:
    """Write the manifest over everything that stands in `folder`, and over itself.

    Args:
        folder: complete but for the manifest.
        content: what the manifest says beside version and hashes.
        kind: of the folder.
        known: hashes of files that need not be read again, by their name in `folder`.
    """
    known = known or {}
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    names.pop(kind.manifest, None)
    files = {name: known.get(name) or hash_file(path) for name, path in names.items()}
    document = {"format_version": kind.version} | content | {"files": files}
    files[kind.manifest] = _hash_document(document)
    text = json.dumps(document, indent=2) + "\n"
    (folder / kind.manifest).write_text(text, encoding="utf-8")


def read_manifest(
    folder: Path, parts: Mapping[str, type] | None = None, kind: FolderKind = RECOMMENDER
) -> dict[str, Any]:
    """Read and verify a folder.

    Args:
        folder: made by genrec.
        parts: names and types of what the manifest must say.
        kind: of the folder.

    Raises:
        RecommenderError: no such folder, one of another kind or format version, or a file that is missing,
            differs from what was saved, leads out of the folder, or could run (see
            `genrec.common.folder_safety`); each says which.
    """
    document = _parse(folder, kind)
    _check_version(folder, document, kind)
    for name, expected in _sealed_files(folder, document, kind).items():
        path = check_place(folder, name)
        if not path.is_file():
            raise RecommenderError(
                f"{path} is missing: restore the folder from a copy, or fit again"
            )
        if hash_file(path) != expected:
            raise _altered(path)
        check_content(path)
    needed = (parts or {}).items()
    if missing := [name for name, type_ in needed if not isinstance(document.get(name), type_)]:
        raise RecommenderError(
            f"{folder / kind.manifest} says nothing of {', '.join(missing)}: it is not of a whole folder; "
            "fit again"
        )
    return document


def require_unchanged(folder: Path, document: dict[str, Any]) -> None:
    """Refuse a recommender folder that was replaced since `read_manifest` gave `document`.

    Half of what is read would be of another.

    Raises:
        RecommenderError: says so.
    """
    now = _parse(folder, RECOMMENDER).get("files", {}).get(RECOMMENDER.manifest)
    if now != _hash_document(document):
        raise RecommenderError(f"{folder} was changed by another program meanwhile: try again")


def _sealed_files(folder: Path, document: dict[str, Any], kind: FolderKind) -> dict[str, str]:
    """The hashes of a folder's files, once the manifest's own content is what was saved."""
    files = document.get("files")
    if kind.unsealed is not None and document["format_version"] == kind.unsealed:
        if kind.weights is not None:
            files = {kind.weights: document.get("sha256")}
        if isinstance(files, dict):
            return files
        raise _altered(folder / kind.manifest)
    expected = files.pop(kind.manifest, None) if isinstance(files, dict) else None
    if not isinstance(files, dict) or expected != _hash_document(document):
        raise _altered(folder / kind.manifest)
    return files


def _check_version(folder: Path, document: dict[str, Any], kind: FolderKind) -> None:
    if document.get("format_version") in {kind.version, kind.unsealed or kind.version}:
        return
    made = document.get("provenance")
    made_with = made.get("genrec", "unknown") if isinstance(made, dict) else "unknown"
    raise RecommenderError(
        f"{folder} has format version {document.get('format_version')!r}, this genrec "
        f"({genrec_version()}) reads version {kind.version}: fit it again, or use the genrec it was "
        f"made with ({made_with})"
    )


def _altered(path: Path) -> RecommenderError:
    return RecommenderError(
        f"{path} is not the file that was saved (its SHA-256 differs): restore the folder from a copy, or "
        "fit again"
    )


def _hash_document(document: dict[str, Any]) -> str:
    """SHA-256 of a manifest's content, which has no hash of itself yet."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _parse(folder: Path, kind: FolderKind) -> dict[str, Any]:
    if not folder.is_dir():
        raise _no_folder(folder, kind)
    path = folder / kind.manifest
    try:
        document = read_json(path)
    except FileNotFoundError:
        raise _another_kind(folder, kind) from None
    except OSError as error:
        raise RecommenderError(f"{path} cannot be read ({error})") from None
    except InputError as error:
        raise RecommenderError(f"{path} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise RecommenderError(f"{path} is not a manifest: it was altered")
    return document


def _no_folder(folder: Path, wanted: FolderKind) -> RecommenderError:
    parent, pattern = folder.absolute().parent, glob.escape(old_prefix(folder))
    if left := sorted(parent.glob(f"{pattern}*/{REPLACED}")):
        return RecommenderError(
            f"{folder} was being replaced when the program was stopped; the folder as it was before is "
            f"{left[-1]}: move it back to {folder}"
        )
    return RecommenderError(
        f"{folder} is not a folder, and so it is not {wanted.noun}: {wanted.making}"
    )


def _another_kind(folder: Path, wanted: FolderKind) -> RecommenderError:
    """What a folder without the wanted manifest is, and what to do with it."""
    for kind in _KINDS:
        if (folder / kind.manifest).is_file():
            inside = sorted(path.parent.name for path in folder.glob(f"*/{RECOMMENDER.manifest}"))
            first = inside[0] if inside else ""
            using = kind.using.format(folder=folder, first=first, inside=", ".join(inside))
            return RecommenderError(f"{folder} is not {wanted.noun}: it holds {using}")
    return RecommenderError(
        f"{folder} is not {wanted.noun}: it has no {wanted.manifest}; {wanted.making}"
    )
