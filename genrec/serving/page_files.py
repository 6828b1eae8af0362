"""Files of the page at ``/``, sent as they are.

They hold nothing of the catalog, so they need no token; what the page shows comes from the other routes,
which do. The page loads nothing from elsewhere, runs no script but its files, and never makes HTML of text.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from genrec.serving.strict_routes import StrictRoute

__all__ = ["PAGE_PATHS", "page_routes"]

FOLDER = Path(__file__).parent / "page"

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_FILES = (
    "style.css",
    "blocks.css",
    "icon.svg",
    "main.js",
    "server.js",
    "dom.js",
    "history.js",
    "search.js",
    "recommend.js",
    "titles.js",
    "codes.js",
    "tree.js",
    "squares.js",
    "rove.js",
)

PAGE_PATHS = frozenset({"/", *(f"/page/{name}" for name in _FILES)})
"""Paths that are open to all."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes() -> APIRouter:
    """Make the routes of the page; its files are read once, now."""
    routes = APIRouter(route_class=StrictRoute, include_in_schema=False)
    routes.get("/")(_sender(FOLDER / "index.html"))
    for name in _FILES:
        routes.get(f"/page/{name}")(_sender(FOLDER / name))
    return routes


def _sender(path: Path) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    content, headers = path.read_bytes(), _HEADERS | {"Content-Type": _KINDS[path.suffix]}

    async def send(_: Request) -> Response:
        return Response(content, headers=headers)

    return send
