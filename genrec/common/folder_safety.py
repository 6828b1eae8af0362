"""Safety checks of a folder from elsewhere: nothing in it leads out of it, or runs, or is other than named.

Hashes prove that a folder is what somebody saved, not that somebody means well. So nothing in it may lead out
of it, hold what runs when it is opened, or be other than its name says.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from genrec.common.errors import InputError, RecommenderError
from genrec.common.strict_json import read_json

__all__ = ["check_content", "check_place"]

_RUNNABLE = frozenset(
    {
        ".py",
        ".pyc",
        ".sh",
        ".so",
        ".dll",
        ".pkl",
        ".pickle",
        ".joblib",
        ".pt",
        ".pth",
        ".bin",
        ".ckpt",
    }
    | {".npy", ".npz", ".h5", ".msgpack"}
)
"""Endings of code, and of formats that can hold some; genrec writes none of them."""


def check_place(folder: Path, name: object) -> Path:
    """The path of a file that a manifest names, once it is known to lie in `folder`.

    Raises:
        RecommenderError: the name or a link leads out of the folder.
    """
    if not isinstance(name, str) or not _is_inside(name):
        raise RecommenderError(
            f"{folder}: its manifest names {name!r}, which is no file below the folder: do not trust it, and "
            "get another copy"
        )
    path = folder / name
    if not any(path.resolve().is_relative_to(own) for own in _own_places(folder)):
        raise RecommenderError(
            f"{path} is a link out of the folder, to {path.resolve()}: put the file itself there if you "
            "trust it (cp -L)"
        )
    return path


def check_content(path: Path) -> None:
    """Refuse a file that could run, or is not what its name says; no tensor is loaded.

    Raises:
        RecommenderError: says which, and why.
    """
    if path.suffix.lower() in _RUNNABLE:
        raise RecommenderError(
            f"{path} may hold code, and a recommender needs none: do not trust this folder, or take the file "
            "out of it and fit again"
        )
    if path.suffix == ".json":
        try:
            read_json(path)
        except InputError as error:
            raise RecommenderError(
                f"{error}: restore the folder from a copy, or fit again"
            ) from None
    if path.suffix == ".safetensors":
        _check_tensors(path)


def _own_places(folder: Path) -> list[Path]:
    """The folder; of a snapshot in the Hugging Face cache, whose files are links, the blobs beside it too."""
    place = folder.resolve()
    hub = place.parent.name == "snapshots"
    return [place, place.parent.parent / "blobs"] if hub else [place]


def _is_inside(name: str) -> bool:
    kinds = (PurePosixPath(name), PureWindowsPath(name))
    outside = any(path.is_absolute() or path.drive or ".." in path.parts for path in kinds)
    return bool(name) and not outside and "\x00" not in name


def _check_tensors(path: Path) -> None:
    """Read the header alone: every declared shape must be that of bytes which are there."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            file.keys()
    except (SafetensorError, OSError, ValueError) as error:
        raise RecommenderError(
            f"{path} is not a safetensors file ({error}): restore the folder from a copy, or fit again"
        ) from None
