"""HTTP application: its parts put together, and every error in one form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from genrec.common.artifacts import genrec_version
from genrec.common.errors import InputError
from genrec.serving.gathering import Batcher
from genrec.serving.guard import Guard, problem
from genrec.serving.metrics import Metrics
from genrec.serving.page_files import page_routes
from genrec.serving.reading import reading
from genrec.serving.service import Service
from genrec.serving.settings import ServeSettings
from genrec.serving.snapshots import Shelf
from genrec.serving.tokens import Tokens
from genrec.serving.writing import writing

__all__ = ["create_app"]


def create_app(
    shelf: Shelf, settings: ServeSettings | None = None, tokens: Tokens | None = None
) -> FastAPI:
    """Make the ASGI application of a recommender.

    Args:
        shelf: what is served.
        settings: batches, queue, bounds.
        tokens: who may ask; none: everybody, and nobody may change anything.
    """
    settings, tokens, metrics = settings or ServeSettings(), tokens or Tokens(), Metrics()
    batcher = Batcher(settings, metrics.observe_batch)
    service = Service(shelf, batcher, metrics, settings, tokens)
    # Pages that load scripts from elsewhere stay out: /openapi.json opens in any viewer.
    app = FastAPI(
        title="genrec",
        version=genrec_version(),
        description="Recommendations from a catalog, and nothing that is not in it.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(reading)
    app.include_router(writing)
    app.include_router(page_routes())
    app.add_middleware(Guard, settings=settings, tokens=tokens, metrics=metrics)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InputError, _wrong_input)
    return app


_MESSAGES = {
    "Not Found": "no such route: /openapi.json has them all",
    "Method Not Allowed": "this route does not take that method: see the header Allow",
}
"""What to say in place of the words of Starlette."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await service.batcher.start()
    watching: list[asyncio.Task[None]] = []
    if service.settings.watch is not None:
        watching = [asyncio.create_task(service.shelf.watch(service.settings.watch))]
    try:
        yield
    finally:
        for task in watching:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await service.batcher.close()
        service.shelf.close()


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = _MESSAGES.get(str(error.detail), str(error.detail))
    return problem(error.status_code, message, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(422, "; ".join(_explain(found) for found in error.errors()[:5]))


async def _wrong_input(_: Request, error: Exception) -> Response:
    return problem(422, str(error))


def _explain(found: dict[str, Any]) -> str:
    """One problem of a body as ``field = value: what is allowed``."""
    place = _place(found["loc"][1:])
    words = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if found["type"] == "extra_forbidden":
        return f"unknown field {place!r}"
    if found["type"] == "missing":
        return f"{place or 'the body'} is missing"
    value = repr(found["input"])
    shown = value if len(value) <= 60 else f"{value[:60]}…"
    return f"{place or 'the body'} = {shown}: {words[:1].lower()}{words[1:]}"


def _place(location: Sequence[int | str]) -> str:
    """``histories[0][2]`` for ("histories", 0, 2)."""
    words = ""
    for part in location:
        words += f"[{part}]" if isinstance(part, int) else f".{part[:60]}" if words else part[:60]
    return words
