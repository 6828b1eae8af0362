"""Strict JSON, as RFC 8259 has it and no more: one value a key, finite numbers, real text, bounded depth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from genrec.common.errors import InputError

__all__ = ["MAX_DEPTH", "parse_json", "read_json"]

MAX_DEPTH = 8
"""Brackets within brackets; the deepest request has four."""

MAX_FILE_DEPTH = 64
"""The same in a file; the deepest that is written has some ten."""


def read_json(path: Path) -> Any:
    """Read a file of one JSON document, as strictly.

    Raises:
        InputError: as `parse_json`, with the file's name.
        OSError: it cannot be read.
    """
    return parse_json(path.read_bytes(), what=str(path), max_depth=MAX_FILE_DEPTH)


def parse_json(body: bytes, *, what: str = "the body", max_depth: int = MAX_DEPTH) -> Any:
    """Read one JSON document.

    Args:
        body: the document.
        what: to call it in messages.
        max_depth: most brackets within brackets.

    Raises:
        InputError: it is not UTF-8 or not JSON, a key stands twice, a number is not finite or too long, text
            holds half a character (a lone surrogate), or brackets are nested deeper than that.
    """
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{what} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise _too_deep(what, max_depth) from None
    except InputError as error:
        raise _placed(error, what) from None
    except ValueError:  # Python refuses to read integers of thousands of digits
        raise InputError(f"{what} holds a number with too many digits") from None
    _check(document, what, max_depth)
    return document


def _placed(error: InputError, what: str) -> InputError:
    """Of a request, the message alone says enough; of many files, which one it is."""
    return error if what == "the body" else InputError(f"{what}: {error}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"the key {twice!r} stands twice in one object: keep one of the two")
    return found


def _no_number(word: str) -> float:
    raise InputError(f"{word} is not a number in JSON: write a finite number, or null")


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise InputError(f"the number {word[:40]} is too large")
    return number


def _check(document: Any, what: str, max_depth: int) -> None:
    """Look through the document level by level, which no nesting can exhaust."""
    level, depth = [document], 0
    while level:
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                _check_text(value)
        depth += any(isinstance(value, dict | list) for value in level)
        if depth > max_depth:
            raise _too_deep(what, max_depth)
        level = below


def _check_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the text {value[:40]!r} holds half a character (a lone surrogate): send whole ones"
        ) from None


def _too_deep(what: str, max_depth: int) -> InputError:
    return InputError(f"{what} nests brackets deeper than {max_depth}")
