"""Writing errors: a full disk, a missing permission, a folder that is gone, in one message everywhere.

Some libraries raise an `OSError`, others something of their own with the system's error in its words, so both
are read.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from genrec.common.errors import InputError

__all__ = ["WritingError", "writing_error"]

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_PERMISSION = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
_IN_WORDS = re.compile(r"(?:os error|errno) (\d+)\b", re.IGNORECASE)
_OWN_FILES = Path(__file__).resolve().parents[1]


class WritingError(InputError):
    """A file could not be written for want of room, permission or its folder; the input is sound."""


def writing_error(error: BaseException, target: Path | None = None) -> WritingError | None:
    """The error in words that say what to do, or None where it is of another kind.

    Args:
        error: what was raised.
        target: what was to be made; None takes the file that the error names.
    """
    if isinstance(error, WritingError):
        return error
    number = _number(error)
    named = error.filename if isinstance(error, OSError) else None
    name = target if target is not None else named
    if number in _NO_SPACE:
        advice = "make room on its disk, and run the same again"
    elif number in _NO_PERMISSION and name is not None:
        advice = "allow this user to write there, or choose another place"
    elif number in _GONE and name is not None and not _is_own(named):
        advice = "was its folder moved or removed meanwhile?"
    else:
        return None
    return WritingError(f"{name or 'a file'} cannot be written: {os.strerror(number)}; {advice}")


def _number(error: BaseException) -> int:
    """The system's number of the error; 0 where it has none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, InputError):
        return 0
    text = str(error)
    found = _IN_WORDS.search(text)
    if found:
        return int(found[1])
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in text else 0


def _is_own(name: object) -> bool:
    """Whether it is a file of genrec itself, whose absence is nobody's input."""
    return isinstance(name, str) and Path(name).is_relative_to(_OWN_FILES)
