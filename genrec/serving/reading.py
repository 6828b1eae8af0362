"""Reading routes, which answer from the recommender and change nothing."""

from __future__ import annotations

from asyncio import to_thread
from dataclasses import asdict
from typing import Annotated, Any

import pydantic_core
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from genrec.common.artifacts import genrec_version
from genrec.recommender.answer import unmatched_query
from genrec.recommender.query import clean_query
from genrec.serving.bodies import (
    Found,
    Health,
    OneItem,
    Problem,
    Recommend,
    Recommended,
    Search,
    Titled,
    Titles,
    Tree,
    TreePlace,
)
from genrec.serving.refusals import Refusal
from genrec.serving.service import Service, service_of, tell
from genrec.serving.snapshots import Snapshot
from genrec.serving.strict_routes import StrictRoute
from genrec.serving.tree import below, parse_prefix
from genrec.serving.works import known_histories, recommend_work, search_work, titles_work

__all__ = ["ItemPath", "problems", "reading"]

_REASONS = {
    400: "The body is not strict JSON.",
    401: "No token, or none that is known.",
    403: "The server has no tokens, so nothing can be changed.",
    404: "No such item, or no such route.",
    408: "The body did not come in time.",
    409: "The folder cannot be opened; the recommender that was open goes on.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "A field is wrong: unknown, missing, out of range, or about items that are not there.",
    429: "Too many requests wait: come again after the seconds of `Retry-After`.",
    500: "A failure of the server; its log has it.",
    503: "The server stops.",
    504: "No answer in time.",
}

ItemPath = Annotated[str, Path(description="Id of an item.", examples=["P0001"], min_length=1)]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of some statuses."""
    return {
        status: {"model": Problem, "description": _REASONS[status]} for status in sorted(statuses)
    }


_ANY = (401, 422, 500)
_BODY = (*_ANY, 400, 408, 413, 415)
_SEARCH = (429, 503, 504)

reading = APIRouter(route_class=StrictRoute)


@reading.post(
    "/recommend",
    response_model=Recommended,
    responses=problems(*_BODY, *_SEARCH),
    summary="Recommend items for one history, or for many",
)
async def recommend(body: Recommend, request: Request) -> Response:
    """The `k` most likely next items, best first; every one is in the catalog and passes the filters."""
    service, snapshot = _now(request)
    histories, dropped = known_histories(body, snapshot)
    tell(request, catalog=snapshot.catalog, histories=len(histories))
    found = await service.batcher.submit(recommend_work(body, histories, snapshot))
    # `asdict` copies deeply, which takes longer than the search's share of a request.
    lists = [[item.facts() for item in items] for items in found]
    facts = {"dropped": dropped} | await _note(body, lists, snapshot)
    return _answer("recommendations", lists, body.history is not None, facts, snapshot)


@reading.post(
    "/titles",
    response_model=Titled,
    responses=problems(*_BODY, *_SEARCH),
    summary="Write titles of the next product",
)
async def titles(body: Titles, request: Request) -> Response:
    """Titles that the language model writes, each with the real items nearest to it.

    Needs a recommender that has learned to write titles.
    """
    service, snapshot = _now(request)
    histories, dropped = known_histories(body, snapshot)
    tell(request, catalog=snapshot.catalog, histories=len(histories))
    found = await service.batcher.submit(titles_work(body, histories, snapshot))
    lists = [[asdict(title) for title in written] for written in found]
    return _answer("titles", lists, body.history is not None, {"dropped": dropped}, snapshot)


@reading.get(
    "/search",
    response_model=Found,
    responses=problems(*_ANY, *_SEARCH),
    summary="Find items by words",
)
async def search(query: Annotated[Search, Query()], request: Request) -> Response:
    """Items whose titles are nearest to the words, nearest first."""
    service, snapshot = _now(request)
    tell(request, catalog=snapshot.catalog)
    [found] = await service.batcher.submit(search_work(query, snapshot))
    return JSONResponse({"catalog": snapshot.catalog, "items": [vars(item) for item in found]})


@reading.get(
    "/items/{item_id:path}",
    response_model=OneItem,
    responses=problems(*_ANY, 404),
    summary="Show an item",
)
async def item(item_id: ItemPath, request: Request) -> Response:
    """All that the catalog holds of an item, and its semantic ID."""
    snapshot = _now(request)[1]
    tell(request, catalog=snapshot.catalog)
    catalog = snapshot.recommender.catalog
    if item_id not in catalog:
        raise Refusal(404, f"item {item_id[:100]!r} is not in the catalog")
    place = int(catalog.index_of([item_id])[0])
    [row] = catalog.table.slice(place, 1).to_pylist()
    codes = snapshot.recommender.semantic_ids.codes[place].tolist()
    document = {"catalog": snapshot.catalog, "item": row, "semantic_id": codes}
    # A column may hold dates, bytes or NaN, for which JSON has no words.
    words = pydantic_core.to_json(
        document, inf_nan_mode="null", bytes_mode="base64", fallback=str, by_alias=False
    )
    return Response(words, media_type="application/json")


@reading.get(
    "/tree",
    response_model=Tree,
    responses=problems(*_ANY, 404),
    summary="Show a place in the tree of semantic IDs",
)
async def tree(place: Annotated[TreePlace, Query()], request: Request) -> Response:
    """The next codes below a prefix of semantic IDs, with how many items each holds and some titles."""
    snapshot = _now(request)[1]
    tell(request, catalog=snapshot.catalog)
    prefix = parse_prefix(place.prefix)
    found = below(snapshot.recommender, prefix, place.k, place.skip)
    return JSONResponse({"catalog": snapshot.catalog, "prefix": prefix, **found})


@reading.get(
    "/health", response_model=Health, responses=problems(500), summary="Whether it answers"
)
async def health(request: Request) -> Response:
    """What is served; needs no token."""
    service, snapshot = _now(request)
    state = {"status": "ok", "version": genrec_version()} | snapshot.facts()
    return JSONResponse(state | {"unanswered": service.batcher.unanswered})


@reading.get(
    "/metrics",
    response_class=Response,
    responses=problems(401, 500)
    | {200: {"content": {"text/plain": {"example": "genrec_snapshot 1.0\n"}}}},
    summary="Counters for Prometheus",
)
async def metrics(request: Request) -> Response:
    """Requests, searches, queue and memory in Prometheus's text format."""
    service, snapshot = _now(request)
    service.metrics.unanswered.set(service.batcher.unanswered)
    service.metrics.items.set(len(snapshot.recommender.catalog))
    service.metrics.snapshot.set(snapshot.number)
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _now(request: Request) -> tuple[Service, Snapshot]:
    service = service_of(request)
    return service, service.shelf.current


async def _note(
    body: Recommend, lists: list[list[dict[str, Any]]], snapshot: Snapshot
) -> dict[str, str]:
    """Say that a query changed nothing; what an item came from tells most that did."""
    told = any("query" in item["basis"] for items in lists for item in items)
    if body.query is None or told:
        return {}
    query = clean_query(body.query)
    note = await to_thread(unmatched_query, snapshot.recommender, query)
    return {"note": note} if note else {}


def _answer(
    name: str,
    lists: list[list[dict[str, Any]]],
    one: bool,
    facts: dict[str, Any],
    snapshot: Snapshot,
) -> Response:
    """One user's list under its name, or those of many under ``results``; and facts of them all."""
    answer = {name: lists[0]} if one else {"results": [{name: entries} for entries in lists]}
    return JSONResponse({"catalog": snapshot.catalog, **answer, **facts})
