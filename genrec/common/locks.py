"""Lock of a folder or file that is being made or changed: one process at a time writes it.

The lock is the operating system's, on a file beside the target, so a process that is killed gives it back.
The file says who holds it, and goes when the lock does.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genrec.common.errors import InputError
from genrec.common.program import is_main
from genrec.common.writing_errors import writing_error

__all__ = ["lock_path", "only_writer", "require_unlocked"]

_held: dict[Path, int] = {}
"""Lock file -> the process that took it: this one, or one that it was forked from."""
_PATIENCE = 0.3
"""Seconds that another process has to finish giving its lock back."""


def lock_path(target: Path) -> Path:
    """The file whose lock stands for a target that is being written."""
    whole = target.resolve()
    return whole.with_name(f".lock.{whole.name}")


@contextmanager
def only_writer(target: Path) -> Iterator[None]:
    """Let no other process make or change `target` while the block runs; a block within such a block may.

    Of several launched processes the first one holds the lock for all.

    Raises:
        InputError: another process is at it, or the lock cannot be written.
    """
    path = lock_path(target)
    if not is_main() or path in _held:
        yield
        return
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        lock = _acquired(path, target)
        _held[path] = os.getpid()
        try:
            yield
        finally:
            del _held[path]
            with suppress(OSError):  # while it is held: who waits for this file looks for a new one
                path.unlink()
            lock.release()
    finally:
        for folder in missing:  # what was made for the lock alone
            with suppress(OSError):
                folder.rmdir()


def require_unlocked(target: Path) -> None:
    """Refuse a target that another process is writing right now.

    Raises:
        InputError: says which process.
    """
    if lock_path(target).exists():
        with only_writer(target):
            pass


def _acquired(path: Path, target: Path) -> Any:
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=_PATIENCE, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(poll_interval=0.05)
    except Timeout:
        raise InputError(
            f"{target} is being written by {_holder(path)}: wait until it is done, or write to another place"
        ) from None
    except OSError as error:
        raise writing_error(error, target) or error from None
    facts = {"pid": os.getpid(), "host": socket.gethostname()}
    with suppress(OSError):  # what it says is for people
        path.write_text(json.dumps(facts | {"since": time.strftime("%Y-%m-%d %H:%M:%S")}))
    return lock


def _holder(path: Path) -> str:
    """Who holds a lock, in words."""
    try:
        facts = json.loads(path.read_text())
        place = "" if facts["host"] == socket.gethostname() else f" on {facts['host']}"
        return f"another process ({facts['pid']}{place}, since {facts['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
