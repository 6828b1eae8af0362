"""An application around the shop's recommender, and ways to ask it."""

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager

import httpx2
import pytest
import uvicorn
from starlette.testclient import TestClient

from genrec.recommender.recommend import recommend
from genrec.recommender.titles import write_titles
from genrec.serving import snapshots, works
from genrec.serving.app import create_app
from genrec.serving.settings import ServeSettings
from genrec.serving.snapshots import Shelf
from genrec.serving.tokens import Tokens

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Stand:
    """Stands in for a recommender: notes every request that it answers, and may be slow or fail.

    Attributes:
        calls: the histories and the request of each call.
        before: called before each call.
    """

    def __init__(self, recommender, before=lambda histories: None):
        self.recommender, self.before, self.calls = recommender, before, []

    def __getattr__(self, name):
        return getattr(self.recommender, name)

    def answer(self, histories, request):
        self.before(histories)
        self.calls.append((histories, request))
        return recommend(self.recommender, histories, request)


class Change(Stand):
    """The same with the three changes of a catalog, which are only noted."""

    def add_items(self, items):
        return Change(self.recommender, lambda _: self.calls.append(items.table.to_pylist()))

    def update_items(self, items, *, recode):
        return Change(self.recommender, lambda _: self.calls.append(items.table.to_pylist()))

    def remove_items(self, item_ids):
        return Change(self.recommender, lambda _: self.calls.append(item_ids))


def answered(recommender, histories, request):
    """What the server asks in place of `recommend`: a stand answers for itself."""
    if isinstance(recommender, Stand):
        return recommender.answer(histories, request)
    return recommend(recommender, histories, request)


def written(recommender, histories, n, settings):
    """What it asks in place of `write_titles`, likewise."""
    write = getattr(type(recommender), "write", None)
    if write is not None:
        return write(recommender, histories, n, settings)
    return write_titles(recommender, histories, n, settings)


@pytest.fixture(scope="session", autouse=True)
def _stands_answer():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(works, "recommend", answered)
        patch.setattr(works, "write_titles", written)
        patch.setattr(snapshots, "recommend", answered)
        yield


@pytest.fixture(scope="session")
def make_app():
    """Make an application: ``make_app(recommender, tokens=..., queue=...)``; searches do not wait."""

    def make(recommender, *, tokens=(), reopen=None, **settings):
        shelf = Shelf.open(lambda: recommender)
        shelf.reopen = reopen or (lambda: recommender)
        if isinstance(recommender, Stand):
            recommender.calls.clear()
        values = {"max_wait_ms": 0} | settings
        return create_app(shelf, ServeSettings.model_validate(values), Tokens.of(*tokens))

    return make


@pytest.fixture(scope="session")
def client(recommender):
    """A client of the shop's recommender, whose server has no tokens."""
    settings = ServeSettings(max_wait_ms=0)
    with TestClient(create_app(Shelf.open(lambda: recommender), settings)) as client:
        yield client


@pytest.fixture(scope="session")
def histories(recommender):
    """Histories of many lengths, an empty one among them."""
    ids = recommender.catalog.item_ids
    found = [[ids[item] for item in history] for history in list(recommender.log.histories)[:40]]
    return [found[place][: place % 9] for place in range(40)]


@asynccontextmanager
async def running(app):
    """A client of a running application that many tasks may use at once."""
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
            yield client


@contextmanager
def listening(app):
    """The address of a real server of an application, which runs in a thread."""
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False)
    server, started = uvicorn.Server(config), threading.Event()
    startup = server.startup

    async def tell(sockets=None):
        await startup(sockets)
        started.set()

    server.startup = tell
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(20)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


async def ask_all(client, bodies, path="/recommend"):
    """Send all bodies at once."""
    return await asyncio.gather(*(client.post(path, json=body) for body in bodies))


def plain(found):
    """Recommendations as JSON has them."""
    return [item.facts() for item in found]
