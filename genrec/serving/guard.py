"""Guard, the outermost layer of the server: tokens, sizes, slow bodies, failures, one log line a request."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from genrec.serving.page_files import PAGE_PATHS
from genrec.serving.refusals import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from genrec.serving.metrics import Metrics
    from genrec.serving.settings import ServeSettings
    from genrec.serving.tokens import Tokens

__all__ = ["Guard", "problem"]

log = logging.getLogger(__name__)

_OPEN_TO_ALL = PAGE_PATHS | {"/health"}


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response of every request that is not answered."""
    return JSONResponse({"error": message}, status, headers)


@dataclass(frozen=True, eq=False)
class Guard:
    """ASGI middleware around the whole application.

    Attributes:
        app: the application.
        settings: largest body, and how long it may take to come.
        tokens: one of which every request needs, where there are any, but those for ``/health`` and the page.
        metrics: count every request.
    """

    app: ASGIApp
    settings: ServeSettings
    tokens: Tokens
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            self._admit(scope)
            await self.app(scope, self._bounded(receive), exchange.send)
        except Refusal as refusal:
            await exchange.refuse(refusal.status_code, refusal.detail, refusal.headers)
        except Exception:
            log.exception("failure", extra={"facts": {"request": exchange.name}})
            message = f"a failure of the server; its log has it under request {exchange.name}"
            await exchange.refuse(500, message)
        finally:
            exchange.tell(self.metrics)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        admitted = not self.tokens or self.tokens.admit(headers.get("authorization"))
        if not admitted and scope["path"] not in _OPEN_TO_ALL:
            raise Refusal(
                401,
                "send one of the server's tokens: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )
        stated = headers.get("content-length", "0")
        if stated.isdigit() and int(stated) > self.settings.max_body:
            raise self._too_large()

    def _bounded(self, receive: Receive) -> Receive:
        """Receive a body of bounded size, in bounded time."""
        size, end = 0, time.monotonic() + self.settings.timeout
        whole = False

        async def bounded() -> Message:
            nonlocal size, whole
            if whole:  # what is waited for now is that the client leaves
                return await receive()
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                limit = f"{self.settings.timeout:g} s"
                raise Refusal(408, f"the body did not come within {limit}: send it again") from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > self.settings.max_body:
                raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> Refusal:
        most = self.settings.max_body
        return Refusal(413, f"the body has more than {most:,} bytes: send fewer histories or ids")


class _Exchange:
    """One request and its response: what is known of them for the log."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.name, self.start, self.status = uuid.uuid4().hex[:16], time.monotonic(), 0

    async def send(self, message: Message) -> None:
        """Send on, with the request's name in a header."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.name
        await self._send(message)

    async def refuse(
        self, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Say why there is no answer, unless one has begun."""
        if not self.status:
            await problem(status, message, headers)(self.scope, _nothing, self.send)

    def tell(self, metrics: Metrics) -> None:
        """Log and count: the route's template in place of the path, which may name items."""
        found = self.scope.get("route")
        route = getattr(found, "path_format", None) or getattr(found, "path", "no route")
        seconds = time.monotonic() - self.start
        facts = {"request": self.name, "method": self.scope["method"], "route": route}
        facts |= {"status": self.status, "milliseconds": round(seconds * 1000, 2)}
        facts |= self.scope.get("state", {}).get("facts", {})
        log.info("request", extra={"facts": facts})
        metrics.requests.labels(route, self.status).inc()
        metrics.seconds.labels(route).observe(seconds)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
