"""JSON as RFC 8259 has it, and no more: one value a key, finite numbers, real text, bounded depth."""

from __future__ import annotations

import json
import math
from typing import Any

from genrec.errors import InputError

__all__ = ["MAX_DEPTH", "parse_json"]

MAX_DEPTH = 8
"""Brackets within brackets; the deepest request has four."""


def parse_json(body: bytes) -> Any:
    """Read one JSON document.

    Raises:
        InputError: it is not UTF-8 or not JSON, a key stands twice, a number is not finite or too long, text
            holds half a character (a lone surrogate), or brackets are nested deeper than `MAX_DEPTH`.
    """
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except InputError:
        raise
    except ValueError:  # Python refuses to read integers of thousands of digits
        raise InputError("the body holds a number with too many digits") from None
    _check(document)
    return document


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


def _check(document: Any) -> None:
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
        if depth > MAX_DEPTH:
            raise _too_deep()
        level = below


def _check_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the text {value[:40]!r} holds half a character (a lone surrogate): send whole ones"
        ) from None


def _too_deep() -> InputError:
    return InputError(f"the body nests brackets deeper than {MAX_DEPTH}")
