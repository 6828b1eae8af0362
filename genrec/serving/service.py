"""Service: the parts of a running server, as its routes find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from genrec.serving.gathering import Batcher
from genrec.serving.metrics import Metrics
from genrec.serving.settings import ServeSettings
from genrec.serving.snapshots import Shelf
from genrec.serving.tokens import Tokens

if TYPE_CHECKING:
    from fastapi import Request

__all__ = ["Service", "service_of", "tell"]


@dataclass(frozen=True, eq=False)
class Service:
    """A server's parts.

    Attributes:
        shelf: what is served. batcher: how it is asked. metrics: what is counted.
        settings: bounds. tokens: who may ask.
    """

    shelf: Shelf
    batcher: Batcher
    metrics: Metrics
    settings: ServeSettings
    tokens: Tokens


def service_of(request: Request) -> Service:
    """The parts of the server that a request came to."""
    return cast(Service, request.app.state.service)


def tell(request: Request, **facts: Any) -> None:
    """Add to the request's line in the log; nothing that a user sent."""
    request.state.facts = facts
