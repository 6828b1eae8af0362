"""Strict routes, which refuse bodies that are not strict JSON, and options nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from genrec.common.errors import InputError
from genrec.common.strict_json import parse_json
from genrec.serving.refusals import Refusal

__all__ = ["StrictRoute"]

_THREAD_FROM = 1 << 16
"""Bytes of a body from which on it is read beside the event loop."""


class _StrictRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        try:
            if len(body) < _THREAD_FROM:
                return parse_json(body)
            return await run_in_threadpool(parse_json, body)
        except InputError as error:
            raise Refusal(400, str(error)) from None


class StrictRoute(APIRoute):
    """A route whose bodies are strict JSON and whose query has each known name once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None
        names = _query_names(self)

        async def strict(request: Request) -> Response:
            _check_query(request, names)
            if takes_body:
                _check_type(request)
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


def _query_names(route: APIRoute) -> list[str]:
    found: list[str] = []
    for parameter in route.dependant.query_params:
        model = parameter.field_info.annotation
        fields = getattr(model, "model_fields", None)
        found += [parameter.alias] if fields is None else list(fields)
    return found


def _check_query(request: Request, names: list[str]) -> None:
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in names:
            known = f"known: {', '.join(names)}" if names else "this route takes none"
            raise Refusal(422, f"unknown option {name[:40]!r} after '?'; {known}")
        if given.count(name) > 1:
            raise Refusal(422, f"{name!r} stands twice after '?': keep one of the two")


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(
            415, f"content-type {given[:60]!r}: send JSON, with Content-Type: application/json"
        )
