"""Artifacts: files and folders that are whole or absent, and what made them.

A folder is written under a temporary name beside its target and renamed when it is complete; one that stands
there already changes places with it in one step. What it proves of itself is in `genrec.common.manifest`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from genrec.common.errors import InputError
from genrec.common.locks import only_writer, require_unlocked
from genrec.common.writing_errors import writing_error

__all__ = [
    "REPLACED",
    "atomic_file",
    "atomic_folder",
    "genrec_version",
    "hash_file",
    "old_prefix",
    "provenance",
    "require_file",
    "require_free",
    "reserved",
]

_MADE_HERE = ("recommender.json", "baseline.json", "recommenders.json", "adapter.json")
"""Manifests of what genrec makes (see `genrec.common.manifest`)."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
REPLACED = "replaced"
"""Name of the old folder, while a new one takes its place."""


def genrec_version() -> str:
    """The installed version of genrec."""
    try:
        return version("genrec")
    except PackageNotFoundError:
        return "unknown"


def provenance() -> dict[str, str]:
    """What made an artifact: versions, and the git commit when genrec runs from a checkout."""
    made = {name: version(name) for name in ("torch", "transformers", "numpy")}
    root = Path(__file__).resolve().parents[2]
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
        InputError: with what to do about it; also where another process is making the target.
    """
    require_unlocked(target)
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already: {advice}")
    if target.exists() and not _is_replaceable(target):
        raise InputError(
            f"{target} was not made by genrec, so it is not overwritten: move it, or choose another name"
        )
    _require_writable_parent(target)


@contextmanager
def reserved(
    target: Path,
    *,
    overwrite: bool = False,
    advice: str = "choose another name, or overwrite it",
) -> Iterator[None]:
    """Keep a target that is free, as `require_free` says, for this process while the block runs.

    Raises:
        InputError: it is not free, or another process is making it.
    """
    require_free(target, overwrite=overwrite, advice=advice)
    with only_writer(target):
        require_free(target, overwrite=overwrite, advice=advice)  # it may just have been made
        yield


def require_file(target: Path) -> None:
    """Refuse a path that no file can be written to; a file that stands there may be replaced.

    Raises:
        InputError: with what to do about it.
    """
    if target.is_dir():
        raise InputError(f"{target} is a folder: name a file in it")
    _require_writable_parent(target)


def _is_replaceable(target: Path) -> bool:
    made_here = any((target / name).is_file() for name in _MADE_HERE)
    made_here = made_here or (target / "item_tokenizer").is_dir()
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
        found = writing_error(error, target)
        raise found or InputError(f"{target} cannot be written: {error.strerror}") from None


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a new folder that becomes `target` when the block ends, and vanishes if it fails.

    Where one is replaced, `target` is the old folder or the new one at any moment, on Linux. On a system
    that cannot exchange two folders, there is an instant at which the old one has another name; after a kill
    in it, `read_manifest` says that name. Where `target` is a link, what it points at is replaced.
    """
    target = target.resolve() if target.is_symlink() else target
    with only_writer(target):
        require_free(target, overwrite=overwrite)
        with _building(target) as building:
            yield building


@contextmanager
def _building(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place at the end."""
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    building.chmod(0o755)
    try:
        yield building
        if target.exists():
            _replace(target, building)
        else:
            building.rename(target)
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        if _is_of(error, building) and (found := writing_error(error, target)):
            raise found from error
        raise


def _is_of(error: BaseException, building: Path) -> bool:
    """Whether an error is about a file in that folder, as far as it says."""
    named = getattr(error, "filename", None)
    return named is None or Path(os.fsdecode(named)).is_relative_to(building)


def _replace(target: Path, building: Path) -> None:
    """Put `building` in the place of the folder `target`, and remove what stood there."""
    if _exchanged(building, target):
        shutil.rmtree(building)
        return
    old = Path(tempfile.mkdtemp(prefix=old_prefix(target), dir=target.absolute().parent))
    target.rename(old / REPLACED)
    try:
        building.rename(target)
    except OSError:
        (old / REPLACED).rename(target)
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


def old_prefix(target: Path) -> str:
    """What the temporary folder's name begins with in which the old `target` stands meanwhile."""
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
        found = writing_error(error, target)
        raise found or InputError(
            f"{target} cannot be written: {error.strerror or error}"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
