"""File systems behind URLs: pyarrow's own for S3, Google Cloud and Azure, fsspec's for all others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from genrec.common.errors import DataError

__all__ = ["is_url", "open_url", "shown", "url_of"]

_ARROW = {"s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file"}
_PACKAGES = {  # where the module's name does not tell
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "smb": "smbprotocol",
}


def url_of(source: str | Path) -> str:
    """Return a path or URL as text; a URL that a `Path` has taken a slash from gets it back."""
    text = str(source)
    cut = re.fullmatch(r"([a-z][a-z0-9+.-]+):/([^/].*)", text)
    if isinstance(source, Path) and cut and not source.exists():
        return f"{cut[1]}://{cut[2]}"
    return text


def is_url(text: str) -> bool:
    """Tell whether a text is a URL, such as ``s3://bucket/clicks.parquet``."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text))


def shown(url: str) -> str:
    """Return a URL without user, password and query, which may be secrets."""
    return re.sub(r"://[^/@]*@", "://", url.partition("?")[0])


def open_url(url: str) -> tuple[Any, str, tuple[str, ...]]:
    """Open the file system of a URL.

    Returns:
        The `pyarrow.fs.FileSystem`; the path in it, or of a glob the folder; and the glob's components.

    Raises:
        DataError: nothing can open it; names the package that would.
    """
    scheme = url.partition("://")[0].lower()
    place, mark, options = url.partition("?")
    names = place.split("/")
    first = next((i for i, name in enumerate(names) if re.search(r"[*\[]", name)), len(names))
    base = "/".join(names[:first]) + mark + options
    try:
        files, path = _arrow(base) if scheme in _ARROW else _fsspec(base)
    except ImportError as error:
        package = _PACKAGES.get(scheme) or _driver(scheme) or error.name
        message = f"{scheme}:// needs a package that is not installed: pip install {package}"
        raise DataError(message, source=shown(url)) from None
    except (ValueError, OSError) as error:
        reason = str(error).replace(url, shown(url)).replace(base, shown(base))
        raise DataError(f"the URL cannot be opened ({reason})", source=shown(url)) from None
    return files, path, tuple(names[first:])


def _arrow(url: str) -> tuple[Any, str]:
    import pyarrow as pa
    import pyarrow.fs

    try:
        files, path = pyarrow.fs.FileSystem.from_uri(url)
    except pa.ArrowNotImplementedError:  # built without it
        return _fsspec(url)
    return files, path


def _fsspec(url: str) -> tuple[Any, str]:
    import fsspec
    import pyarrow.fs

    files, path = fsspec.core.url_to_fs(url)
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(files)), path


def _driver(scheme: str) -> str | None:
    """The package of fsspec's driver."""
    from fsspec.registry import known_implementations

    module = known_implementations.get(scheme, {}).get("class", "").partition(".")[0]
    return module if module != "fsspec" else None
