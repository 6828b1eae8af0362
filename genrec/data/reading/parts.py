"""Parts of a table: the files that a path, a folder, a glob or a URL names, in the order of their names.

Folders are read as Spark and Hive write them: to the bottom, ``_SUCCESS`` and hidden files left out, and a
folder called ``date=2024-01-01`` gives all rows below it a column ``date``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from genrec.common.errors import DataError
from genrec.data.reading.file_systems import is_url, open_url, shown, url_of
from genrec.data.reading.names import nearest

__all__ = ["Part", "find_parts"]

_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSED = (".gz", ".zst")
_VERSIONED = {"_delta_log": "Delta", ".hoodie": "Hudi"}
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """One file of a table.

    Attributes:
        path: where it is in its file system.
        name: what messages call it.
        kind: ``csv``, ``tsv``, ``json`` or ``parquet``.
        files: a `pyarrow.fs.FileSystem`; None for the machine's own.
        values: the columns that its folders' names give, one value each.
    """

    path: str
    name: str
    kind: str
    files: Any = None
    values: dict[str, str | None] = field(default_factory=dict)


def find_parts(source: str | Path, *, text: bool = False) -> tuple[str, list[Part]]:
    """Find the files of a table.

    Args:
        source: a file; a folder; a glob (``*``, ``?``, ``[…]``, ``**``); or a URL of any of these.
        text: whether a file whose name tells no format is delimited text.

    Returns:
        The name of the table for messages, and its files.

    Raises:
        DataError: nothing is there, a file is of no format that can be read, or formats are mixed.
    """
    import pyarrow.fs

    address = url_of(source)
    if is_url(address):
        files, path, pattern = open_url(address)
        name = shown(address)
        root = "/".join(name.split("/")[: -len(pattern) or None])
        place = _Place(files, path, name, root, text=text)
    else:
        path, pattern = _split(address)
        place = _Place(
            pyarrow.fs.LocalFileSystem(), path, str(Path(address)), path, own=True, text=text
        )
    if pattern:
        parts = place.inside(pattern)
    elif place.is_folder():
        parts = place.inside(("**",))
    else:
        return place.name, [place.only_file()]
    _require_one_format(parts, place.name)
    files_word = "1 file" if len(parts) == 1 else f"{len(parts):,} files"
    return f"{place.name} ({files_word})", parts


@dataclass(frozen=True)
class _Place:
    """A path in a file system.

    Attributes:
        files: the file system. path: in it, of a glob the folder that it starts in.
        name: what messages call it. root: what they call `path`.
        own: whether the file system is the machine's.
        text: whether a file whose name tells no format is delimited text.
    """

    files: Any
    path: str
    name: str
    root: str
    own: bool = False
    text: bool = False

    def is_folder(self) -> bool:
        import pyarrow.fs

        return bool(self._info().type == pyarrow.fs.FileType.Directory)

    def only_file(self) -> Part:
        """The file that this path is."""
        import pyarrow.fs

        if self._info().type == pyarrow.fs.FileType.NotFound:
            raise DataError(f"no such file{self._near()}", source=self.name)
        return self._part(self.path, self.name, ())

    def inside(self, pattern: Sequence[str]) -> list[Part]:
        """The files of this folder that a glob finds, those of folders that it finds among them."""
        found = []
        for path in self._listed():
            names = path.strip("/")[len(self.path.strip("/")) :].strip("/").split("/")
            versioned = next((_VERSIONED[name] for name in names if name in _VERSIONED), None)
            if versioned is not None:
                raise DataError(
                    f"a {versioned} table, whose files also hold rows that were changed or deleted since; "
                    "write the rows of today as plain Parquet",
                    source=self.name,
                )
            wanted = any(_matches(names[:end], pattern) for end in range(1, len(names) + 1))
            if wanted and not any(_is_hidden(name, pattern) for name in names):
                found.append((names, path))
        if not found:
            raise DataError("no files there to read", source=self.name)
        found.sort(key=lambda pair: [_order(name) for name in pair[0]])
        root = self.root.rstrip("/")
        return [self._part(path, f"{root}/{'/'.join(names)}", names[:-1]) for names, path in found]

    def _part(self, path: str, name: str, folders: Sequence[str]) -> Part:
        values = dict(_value(folder) for folder in folders if "=" in folder)
        kind = _kind(path, name, self.text)
        return Part(path, name, kind, None if self.own else self.files, values)

    def _info(self) -> Any:
        try:
            return self.files.get_file_info(self.path)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be reached ({error})", source=self.name) from None

    def _listed(self) -> list[str]:
        import pyarrow.fs

        chooser = pyarrow.fs.FileSelector(self.path or ".", recursive=True)
        try:
            infos = self.files.get_file_info(chooser)
        except FileNotFoundError:
            raise DataError(f"no such folder{self._near()}", source=self.path) from None
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be listed ({error})", source=self.name) from None
        return [info.path for info in infos if info.type != pyarrow.fs.FileType.Directory]

    def _near(self) -> str:
        if not self.own:
            return ""
        path = Path(self.path)
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        return nearest(path.name, siblings)


def _split(text: str) -> tuple[str, tuple[str, ...]]:
    """The folder of a glob, and the glob's components in it; no components where it is none."""
    if not re.search(r"[*?\[]", text) or os.path.exists(text):
        return str(PurePosixPath(text)), ()
    names = PurePosixPath(text).parts
    first = next(i for i, name in enumerate(names) if re.search(r"[*?\[]", name))
    return str(PurePosixPath(*names[:first])), names[first:]


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(_matches(names[start:], pattern[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def _is_hidden(name: str, pattern: Sequence[str]) -> bool:
    """Whether a name is a writer's own note, such as ``_SUCCESS``, that the glob does not ask for."""
    asked_for = any(part.startswith(name[0]) for part in pattern)
    return name[0] in "._" and "=" not in name and not asked_for


def _order(name: str) -> list[tuple[int, str]]:
    """Names in their order, numbers in them by value: part.2 before part.10."""
    pieces = re.split(r"([0-9]+)", name)
    return [(int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)]


def _value(folder: str) -> tuple[str, str | None]:
    name, _, value = folder.partition("=")
    return unquote(name), None if value == _NO_VALUE else unquote(value)


def _kind(path: str, name: str, text: bool) -> str:
    suffixes = [suffix.lower() for suffix in PurePosixPath(path.partition("?")[0]).suffixes[-2:]]
    compressed = bool(suffixes) and suffixes[-1] in _COMPRESSED
    suffix = suffixes[-2] if compressed and len(suffixes) > 1 else (suffixes or [""])[-1]
    kind = _FORMATS.get(suffix, "csv" if text else None)
    if kind is None or (compressed and kind == "parquet"):
        raise DataError(
            "the extension does not name a format that can be read; use .csv, .tsv, .jsonl, "
            ".ndjson or .json (each also with .gz or .zst after it), or .parquet; a text file of any name "
            "is read with --separator",
            source=name,
        )
    return kind


def _require_one_format(parts: Sequence[Part], source: str) -> None:
    first = parts[0]
    for part in parts:
        if part.kind != first.kind:
            raise DataError(
                f"files of several formats: {Path(first.name).name}, {Path(part.name).name}; name one of "
                "them, or those of one table by a glob (folder/*.parquet)",
                source=source,
            )
