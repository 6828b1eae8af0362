"""Refusal of a request: an HTTP status, and a message that says what to do."""

from __future__ import annotations

from starlette.exceptions import HTTPException

__all__ = ["Refusal"]


class Refusal(HTTPException):
    """A request that is turned away on purpose.

    Args:
        status: HTTP status, 400 or above.
        message: what was given, what is allowed, what to do.
        headers: more headers of the response, such as ``Retry-After``.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
