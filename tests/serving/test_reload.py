"""Another recommender takes the place of the one being served, and no request notices."""

import asyncio
import shutil
import threading

import pytest

from genrec import FitSettings, GenerativeRecommender
from genrec.common.errors import RecommenderError
from genrec.data import SyntheticShop, generate
from genrec.serving.app import create_app
from genrec.serving.settings import ServeSettings
from genrec.serving.snapshots import Shelf, catalog_hash
from genrec.serving.tokens import Tokens

from .conftest import BEARER, TOKEN, Stand, plain, running


@pytest.fixture(scope="module")
def other(quick_settings):
    """A recommender of another shop, some of whose ids are the same."""
    shop = generate(SyntheticShop(items=90, users=150, seed=9))
    settings = FitSettings.model_validate(quick_settings | {"validation_users": 50})
    return GenerativeRecommender.fit(shop.catalog, shop.log, settings)


def both(recommender, other):
    """What each says of one history, by the hash of its catalog."""
    return {
        catalog_hash(each): plain(each.recommend([["P0001", "P0002"]], k=5)[0])
        for each in (recommender, other)
    }


BODY = {"history": ["P0001", "P0002"], "k": 5}


def by_items(found):
    return [item["item_id"] for item in found]


def test_reloads_under_load_lose_no_request_and_mix_nothing(recommender, other, make_app):
    order = [other, recommender] * 6
    app = make_app(recommender, tokens=[TOKEN], reopen=lambda: order.pop(), max_wait_ms=2)
    expected = both(recommender, other)
    answers = []

    async def load(client, done):
        while not done.is_set():
            answers.append(await client.post("/recommend", json=BODY, headers=BEARER))

    async def run():
        async with running(app) as client:
            done = asyncio.Event()
            tasks = [asyncio.create_task(load(client, done)) for _ in range(8)]
            while order:
                answer = await client.post("/reload", headers=BEARER)
                assert answer.status_code == 200
                await asyncio.sleep(0.02)
            done.set()
            await asyncio.gather(*tasks)

    asyncio.run(run())
    assert {answer.status_code for answer in answers} == {200}
    found = [answer.json() for answer in answers]
    assert {each["catalog"] for each in found} == set(expected)
    for each in found:
        wanted = expected[each["catalog"]]
        assert by_items(each["recommendations"]) == by_items(wanted)
        assert {i["title"] for i in each["recommendations"]} == {i["title"] for i in wanted}


def test_a_request_in_flight_finishes_on_the_old_one(recommender, other, make_app):
    begun, end = threading.Event(), threading.Event()

    def hold(histories):
        if histories != [[]]:
            begun.set()
            assert end.wait(20)

    app = make_app(Stand(recommender, hold), tokens=[TOKEN], reopen=lambda: other, max_batch=8)
    expected = both(recommender, other)

    async def run():
        async with running(app) as client:

            async def ask():
                return (await client.post("/recommend", json=BODY, headers=BEARER)).json()

            first = asyncio.create_task(ask())
            assert await asyncio.to_thread(begun.wait, 20)
            second = asyncio.create_task(ask())  # waits, of the old snapshot
            while app.state.service.batcher.unanswered < 2:
                await asyncio.sleep(0.01)
            await client.post("/reload", headers=BEARER)
            third = asyncio.create_task(ask())  # waits beside it, of the new one
            while app.state.service.batcher.unanswered < 3:
                await asyncio.sleep(0.01)
            end.set()
            return await asyncio.gather(first, second, third)

    found = asyncio.run(run())
    old, new = catalog_hash(recommender), catalog_hash(other)
    assert [each["catalog"] for each in found] == [old, old, new]
    for each in found:
        assert by_items(each["recommendations"]) == by_items(expected[each["catalog"]])


@pytest.mark.parametrize("error", [RecommenderError("x is missing: fit again"), OSError("disk")])
def test_a_recommender_that_cannot_be_opened_leaves_the_old_one(recommender, make_app, error):
    def fail():
        raise error

    async def run():
        async with running(make_app(recommender, tokens=[TOKEN], reopen=fail)) as client:
            failed = await client.post("/reload", headers=BEARER)
            return failed, await client.post("/recommend", json=BODY, headers=BEARER)

    failed, answered = asyncio.run(run())
    if isinstance(error, RecommenderError):
        assert failed.status_code == 409
        assert failed.json()["error"] == (
            "x is missing: fit again; the recommender that was open goes on"
        )
    else:
        assert failed.status_code == 500
    assert answered.json()["catalog"] == catalog_hash(recommender)


@pytest.fixture
def folders(recommender_folder, other, tmp_path):
    """A folder of the shop's recommender that may be replaced, and one of the other's."""
    shutil.copytree(recommender_folder, tmp_path / "served")
    other.save_pretrained(tmp_path / "other")
    return tmp_path / "served", tmp_path / "other"


def replace(served, other):
    served.rename(served.with_name("old"))
    shutil.copytree(other, served)


def test_a_folder_that_is_watched_is_opened_anew_when_it_was_replaced(folders, other):
    served, new = folders
    shelf = Shelf.open(lambda: GenerativeRecommender.from_pretrained(served, device="cpu"), served)
    first = shelf.current
    app = create_app(shelf, ServeSettings(watch=0.02), Tokens())

    async def run():
        async with running(app) as client:
            await asyncio.sleep(0.1)
            assert shelf.current is first, "nothing was replaced"
            (served / "recommender.json").write_text("{}")
            await asyncio.sleep(0.2)
            assert shelf.current is first, "what cannot be opened is not served"
            replace(served, new)
            async with asyncio.timeout(20):
                while shelf.current is first:
                    await asyncio.sleep(0.02)
            return (await client.get("/health")).json()

    health = asyncio.run(run())
    assert health["catalog"] == catalog_hash(other)
    assert health["snapshot"] == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_folder_replaced_while_it_is_opened_is_opened_once_more(folders, fails):
    served, new = folders
    opened = []

    def reopen():
        found = GenerativeRecommender.from_pretrained(served, device="cpu")
        opened.append(len(found.catalog))
        if len(opened) == 2:  # the first is that of the start
            replace(served, new)
            if fails:
                raise RecommenderError("changed meanwhile")
        return found

    settled = []
    shelf = Shelf.open(reopen, served)
    shelf.settled = lambda: settled.append(len(shelf.current.recommender.catalog))
    asyncio.run(shelf.reload())
    assert settled == [90]
    assert opened == [120, 120, 90]
    assert len(shelf.current.recommender.catalog) == 90
