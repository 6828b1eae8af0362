"""Writing routes, which change what is served; each needs a token, also where reading needs none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from genrec.common.errors import DataError
from genrec.data import Catalog
from genrec.data.values import is_text
from genrec.serving.bodies import CatalogChange, Items, ItemValues
from genrec.serving.reading import ItemPath, problems
from genrec.serving.refusals import Refusal
from genrec.serving.service import service_of, tell
from genrec.serving.snapshots import Snapshot
from genrec.serving.strict_routes import StrictRoute
from genrec.serving.tokens import VARIABLE

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["writing"]


def _require_token(request: Request) -> None:
    if not service_of(request).tokens:  # where there are some, the guard has seen one
        raise Refusal(
            403, f"changes need a token and this server has none: start it with {VARIABLE}"
        )


writing = APIRouter(route_class=StrictRoute, dependencies=[Depends(_require_token)])

_ANY = (401, 403, 422, 500)


@writing.post(
    "/items",
    response_model=CatalogChange,
    responses=problems(*_ANY, 400, 408, 413, 415),
    summary="Add items to the catalog being served",
)
async def add_items(body: Items, request: Request) -> Response:
    """Nothing is trained, and the items there are keep their semantic IDs.

    The recommender folder is left as it is, and a reload or a restart serves what it holds:
    `genrec items` changes it for good.
    """
    shelf = service_of(request).shelf
    rows = [item.model_dump() for item in body.items]
    snapshot = await shelf.add_items(_catalog(rows, shelf.current))
    return _changed(request, snapshot)


@writing.patch(
    "/items",
    response_model=CatalogChange,
    responses=problems(*_ANY, 400, 408, 413, 415),
    summary="Update items of the catalog being served",
)
async def update_items(body: ItemValues, request: Request) -> Response:
    """Prices, stocks, titles: what is given of an item is taken over, and what is not stays as it is.

    Items keep their semantic IDs and events, and those that the catalog lacks are added. The recommender
    folder is left as it is: `genrec items update` changes it for good.
    """
    shelf = service_of(request).shelf
    given: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for item in body.items:  # a column that one item lacks must not be emptied for another's sake
        row = item.model_dump(exclude_unset=True)
        given.setdefault(tuple(sorted(row)), []).append(row)
    feeds = [_catalog(rows, shelf.current) for rows in given.values()]
    return _changed(request, await shelf.update_items(feeds, body.recode))


@writing.delete(
    "/items/{item_id:path}",
    response_model=CatalogChange,
    responses=problems(*_ANY, 404),
    summary="Remove an item from the catalog being served",
)
async def remove_item(item_id: ItemPath, request: Request) -> Response:
    """It is never recommended again, and histories that name it are refused or stripped of it.

    The recommender folder is left as it is, and a reload or a restart serves what it holds:
    `genrec items` changes it for good.
    """
    shelf = service_of(request).shelf
    if item_id not in shelf.current.recommender.catalog:
        raise Refusal(404, f"item {item_id[:100]!r} is not in the catalog")
    return _changed(request, await shelf.remove_items([item_id]))


@writing.post(
    "/reload",
    response_model=CatalogChange,
    responses=problems(*_ANY, 409),
    summary="Open the recommender folder anew",
)
async def reload(request: Request) -> Response:
    """Requests in flight finish on the old recommender; if the new one cannot be opened, it goes on."""
    return _changed(request, await service_of(request).shelf.reload())


def _changed(request: Request, snapshot: Snapshot) -> Response:
    tell(request, catalog=snapshot.catalog)
    return JSONResponse(snapshot.facts())


def _catalog(rows: list[dict[str, Any]], snapshot: Snapshot) -> Catalog:
    """The items as a catalog, in the types of the columns that are there already.

    Raises:
        DataError: a value does not fit its column, or the items are no catalog.
    """
    import pyarrow as pa

    schema = snapshot.recommender.catalog.table.schema
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        kind = schema.field(name).type if name in schema.names else None
        columns[name] = _column(name, rows, kind)
    return Catalog.from_table(pa.table(columns), source="items")


def _column(name: str, rows: list[dict[str, Any]], kind: pa.DataType | None) -> pa.Array:
    import pyarrow as pa

    values = [row.get(name) for row in rows]
    if kind is not None and is_text(kind):  # as a text file would have them
        values = [_text(value) for value in values]
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError, TypeError):
        wanted = "one type for all items" if kind is None else str(kind)
        place = next((i for i, value in enumerate(values) if not _fits(value, kind)), None)
        item = "" if place is None else f" of item {rows[place]['item_id']!r}"
        raise DataError(
            f"a value{item} does not fit the column: it takes {wanted}",
            source="items",
            column=name,
            value=None if place is None else values[place],
        ) from None


def _text(value: Any) -> str | None:
    """A JSON value as text: numbers, truth values and lists as JSON writes them."""
    return (
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    )


def _fits(value: Any, kind: pa.DataType | None) -> bool:
    import pyarrow as pa

    try:
        pa.array([value], kind)
    except (pa.ArrowException, OverflowError, TypeError):
        return False
    return True
