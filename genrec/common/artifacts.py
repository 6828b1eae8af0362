"""Folders that are whole or absent, and that prove what they hold.

A recommender is written into a temporary folder beside its target and renamed when it is complete; one that
stands there already changes places with it in one step. Its manifest, `recommender.json`, records the
format version, settings, provenance and the SHA-256 of every file, its own included; a folder is opened
only if all of them match.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from genrec.common.errors import InputError, RecommenderError
from genrec.common.folder_safety import check_content, check_place
from genrec.common.strict_json import read_json

__all__ = [
    "ADAPTER_MANIFEST",
    "BASELINE_MANIFEST",
    "FORMAT_VERSION",
    "JOINT_MANIFEST",
    "MANIFEST",
    "atomic_file",
    "atomic_folder",
    "genrec_version",
    "hash_file",
    "provenance",
    "read_manifest",
    "require_file",
    "require_free",
    "require_unchanged",
    "write_manifest",
]

MANIFEST = "recommender.json"
BASELINE_MANIFEST = "baseline.json"
JOINT_MANIFEST = "recommenders.json"
ADAPTER_MANIFEST = "adapter.json"
FORMAT_VERSION = 1

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_REPLACED = "replaced"


def genrec_version() -> str:
    """The installed version of genrec."""
    try:
        return version("genrec")
    except PackageNotFoundError:
        return "unknown"


def provenance() -> dict[str, str]:
    """What made an artifact: versions, and the git commit when genrec runs from a checkout."""
    made = {name: version(name) for name in ("torch", "transformers", "numpy")}
    root = Path(__file__).resolve().parents[1]
    if (root / ".git").exists():
        git = ["git", "-C", str(root), "rev-parse", "HEAD"]
        done = subprocess.run(git, capture_output=True, text=True, check=False)  # noqa: S603 fixed words
        made["git_commit"] = done.stdout.strip()
    return {"genrec": genrec_version()} | made


def require_free(
    target: Path,
    *,
    overwrite: bool = False,
    advice: str = "choose another name, or overwrite it",
) -> None:
    """Refuse a target that exists, or that could not be written; nothing is made.

    Args:
        target: the folder or file to make.
        overwrite: a folder that genrec made may be replaced; nothing else ever is.
        advice: what to do about a target that exists.

    Raises:
        InputError: with what to do about it.
    """
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already: {advice}")
    if target.exists() and not _is_replaceable(target):
        raise InputError(
            f"{target} was not made by genrec, so it is not overwritten: move it, or choose another name"
        )
    _require_writable_parent(target)


def require_file(target: Path) -> None:
    """Refuse a path that no file can be written to; a file that stands there may be replaced.

    Raises:
        InputError: with what to do about it.
    """
    if target.is_dir():
        raise InputError(f"{target} is a folder: name a file in it")
    _require_writable_parent(target)


def _is_replaceable(target: Path) -> bool:
    manifests = (MANIFEST, BASELINE_MANIFEST, JOINT_MANIFEST, ADAPTER_MANIFEST)
    made_here = (
        any((target / m).is_file() for m in manifests) or (target / "item_tokenizer").is_dir()
    )
    return target.is_dir() and (made_here or not any(target.iterdir()))


def _require_writable_parent(target: Path) -> None:
    """Try the nearest folder above `target` that exists: the ones between can be made later."""
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise InputError(f"{target} cannot be written: {parent} is a file, not a folder")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror} ({parent})") from None


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a new folder that becomes `target` when the block ends, and vanishes if it fails.

    Where one is replaced, `target` is the old folder or the new one at any moment, on Linux. On a system
    that cannot exchange two folders, there is an instant at which the old one has another name; after a kill
    in it, `read_manifest` says that name. Where `target` is a link, what it points at is replaced.
    """
    target = target.resolve() if target.is_symlink() else target
    require_free(target, overwrite=overwrite)
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    building.chmod(0o755)
    try:
        yield building
        if target.exists():
            _replace(target, building)
        else:
            building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _replace(target: Path, building: Path) -> None:
    """Put `building` in the place of the folder `target`, and remove what stood there."""
    if _exchanged(building, target):
        shutil.rmtree(building)
        return
    old = Path(tempfile.mkdtemp(prefix=_old_prefix(target), dir=target.absolute().parent))
    target.rename(old / _REPLACED)
    try:
        building.rename(target)
    except OSError:
        (old / _REPLACED).rename(target)
        raise
    finally:
        shutil.rmtree(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot (see renameat2(2))."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = [os.fsencode(path.absolute()) for path in (one, other)]
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _old_prefix(target: Path) -> str:
    return f".{target.name}.old."


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path that becomes `target` when the block ends, and vanishes if it fails.

    Raises:
        InputError: the folder cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.writing")
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(
    folder: Path, content: dict[str, Any], known: Mapping[str, str] | None = None
) -> None:
    """Write the manifest over everything that stands in `folder`, and over itself.

    Args:
        folder: complete but for the manifest.
        content: what the manifest says beside versions and hashes.
        known: hashes of files that need not be read again, by their name in `folder`.
    """
    known = known or {}
    names = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    files = {name: known.get(name) or hash_file(path) for name, path in names.items()}
    document = {"format_version": FORMAT_VERSION} | content | {"files": files}
    files[MANIFEST] = _hash_document(document)
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path, parts: Sequence[str] = ()) -> dict[str, Any]:
    """Read and verify a recommender folder.

    Args:
        folder: the recommender.
        parts: of the manifest that are needed, each an object.

    Raises:
        RecommenderError: no such folder, not a recommender, another format version, or a file that is
            missing, differs from what was saved, leads out of the folder, or could run (see
            `genrec.common.folder_safety`); each says which.
    """
    document = _parse(folder)
    _check_version(folder, document)
    files = document.get("files")
    expected = files.pop(MANIFEST, None) if isinstance(files, dict) else None
    if not isinstance(files, dict) or expected != _hash_document(document):
        raise _altered(folder / MANIFEST)
    for name, expected in files.items():
        path = check_place(folder, name)
        if not path.is_file():
            raise RecommenderError(
                f"{path} is missing: restore the folder from a copy, or fit again"
            )
        if hash_file(path) != expected:
            raise _altered(path)
        check_content(path)
    if missing := [part for part in parts if not isinstance(document.get(part), dict)]:
        raise RecommenderError(
            f"{folder / MANIFEST} says nothing of {', '.join(missing)}: it is not of a whole recommender"
        )
    return document


def require_unchanged(folder: Path, document: dict[str, Any]) -> None:
    """Refuse a folder that was replaced since `read_manifest` gave `document`: half would be of another.

    Raises:
        RecommenderError: says so.
    """
    if _parse(folder).get("files", {}).get(MANIFEST) != _hash_document(document):
        raise RecommenderError(f"{folder} was changed by another program meanwhile: try again")


def _check_version(folder: Path, document: dict[str, Any]) -> None:
    if document.get("format_version") == FORMAT_VERSION:
        return
    made = document.get("provenance")
    made_with = made.get("genrec", "unknown") if isinstance(made, dict) else "unknown"
    raise RecommenderError(
        f"{folder} has format version {document.get('format_version')!r}, this genrec "
        f"({genrec_version()}) reads version {FORMAT_VERSION}: fit it again, or use the genrec it was "
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


def _parse(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        left = sorted(
            folder.absolute().parent.glob(f"{glob.escape(_old_prefix(folder))}*/{_REPLACED}")
        )
        if left:
            raise RecommenderError(
                f"{folder} was being replaced when the program was stopped; the folder as it was before is "
                f"{left[-1]}: move it back to {folder}"
            )
        raise RecommenderError(
            f"{folder} is not a folder: give the folder that 'genrec fit --out' made"
        )
    try:
        document = read_json(folder / MANIFEST)
    except FileNotFoundError:
        if (folder / BASELINE_MANIFEST).is_file():
            raise RecommenderError(
                f"{folder} holds a baseline, which is compared with a recommender: genrec evaluate "
                f"RECOMMENDER {folder}"
            ) from None
        if (folder / ADAPTER_MANIFEST).is_file():
            raise RecommenderError(
                f"{folder} holds a domain adapter, which a recommender is combined with: genrec adapters "
                f"combine RECOMMENDER --adapter {folder}"
            ) from None
        if (folder / JOINT_MANIFEST).is_file():
            inside = ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}")))
            raise RecommenderError(
                f"{folder} holds a recommender for each of several catalogs: give one of them, such as "
                f"{folder / inside.split(', ')[0]} ({inside})"
            ) from None
        raise RecommenderError(
            f"{folder} is not a recommender: it has no {MANIFEST}; make one with 'genrec fit --out'"
        ) from None
    except OSError as error:
        raise RecommenderError(f"{folder / MANIFEST} cannot be read ({error})") from None
    except InputError as error:
        raise RecommenderError(f"{folder / MANIFEST} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise RecommenderError(f"{folder / MANIFEST} is not a manifest: it was altered")
    return document


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
