"""The page of HTTP routes, from the OpenAPI document that the server itself gives."""

from __future__ import annotations

import json
from typing import Any

from genrec.serving.app import create_app

__all__ = ["http_page"]

_START = """# HTTP

The routes of `genrec serve`, as its `/openapi.json` describes them. How to run it: [Serving](serving.md).
Errors are JSON with an `error` that says what was given, what is allowed and what to do.
"""
Schema = dict[str, Any]


def http_page() -> str:
    """Markdown: a section for each route, with its fields and answers."""
    document = create_app(shelf=None).openapi()  # nothing is served, so nothing is needed
    known = document["components"]["schemas"]
    routes = [
        _route(method.upper(), path, route, known)
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    ]
    return "\n\n".join([_START, *routes]) + "\n"


def _route(method: str, path: str, route: Schema, known: dict[str, Schema]) -> str:
    asked = [
        (part["name"], part["schema"] | part, part["required"])
        for part in route.get("parameters", ())
    ]
    body = _named(route.get("requestBody", {}), known)
    required = body.get("required", ())
    asked += [(name, part, name in required) for name, part in body.get("properties", {}).items()]
    answer = _named(route["responses"].get("200", {}), known).get("properties", {})
    statuses = [(status, said["description"]) for status, said in route["responses"].items()]
    parts = [f"## {method} {path}", f"**{route['summary']}.** {route.get('description', '')}"]
    if asked:
        parts.append(_table("asked", [(name, _said(part, needed)) for name, part, needed in asked]))
    if answer:
        parts.append(
            _table("answered", [(name, _said(part, False)) for name, part in answer.items()])
        )
    return "\n\n".join([*parts, _table("status", statuses)])


def _named(part: Schema, known: dict[str, Schema]) -> Schema:
    """The class that a body is made of; empty for none."""
    schema = part.get("content", {}).get("application/json", {}).get("schema", {})
    return known.get(schema.get("$ref", "").rsplit("/", 1)[-1], {})


def _said(field: Schema, needed: bool) -> str:
    default = field.get("default")
    notes = [
        "required" if needed else None,
        None if default is None else f"default `{json.dumps(default)}`",
    ]
    return " ".join([field.get("description", ""), *(f"({note})" for note in notes if note)])


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {title} | |", "|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {' '.join(said.split())} |" for name, said in rows])
