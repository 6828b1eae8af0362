"""Requests that come together are searched together, and get what each would have got alone."""

import asyncio
import threading
import time

import numpy as np
import pytest

from genrec.recommender.recommend import recommend
from genrec.serving.gathering import Batcher, Work
from genrec.serving.refusals import Refusal
from genrec.serving.settings import ServeSettings

from .conftest import Stand, ask_all, plain, running

TOGETHER = {"max_wait_ms": 500, "max_batch": 8}


def same(found, expected):
    """The same items with scores within rounding, in the same order but for scores that close."""
    scores = [[item["score"] for item in items] for items in (found, expected)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    score = {item["item_id"]: item["score"] for item in expected}
    for item, other in zip(found, expected, strict=True):
        if item["item_id"] != other["item_id"]:
            assert score[item["item_id"]] == pytest.approx(other["score"], abs=1e-5)


def test_concurrent_requests_share_a_search_and_its_answers(recommender, make_app, histories):
    stand = Stand(recommender)
    bodies = [{"history": history, "k": 5} for history in histories[:8]]

    async def run():
        async with running(make_app(stand, **TOGETHER)) as client:
            return await ask_all(client, bodies)

    answers = [answer.json()["recommendations"] for answer in asyncio.run(run())]
    [(batch, request)] = stand.calls
    assert sorted(batch) == sorted(body["history"] for body in bodies)
    # Bit for bit what the recommender says of this batch,
    found = dict(zip(map(tuple, batch), recommend(recommender, batch, request), strict=True))
    assert answers == [plain(found[tuple(body["history"])]) for body in bodies]
    # and up to rounding what it says of each alone.
    for body, answer in zip(bodies, answers, strict=True):
        same(answer, plain(recommender.recommend([body["history"]], k=5)[0]))


@pytest.mark.parametrize("alone", [False, True], ids=["with memory", "language model alone"])
def test_requests_for_more_and_for_fewer_items_share_a_search(
    recommender, make_app, histories, alone
):
    stand = Stand(recommender.alone() if alone else recommender)
    beams = recommender.settings.search.beams
    counts = [1, 3, beams, 7, beams + 1, beams + 9, 2, 5]
    bodies = [{"history": h, "k": k} for h, k in zip(histories, counts, strict=False)]

    async def run():
        async with running(make_app(stand, **TOGETHER)) as client:
            return await ask_all(client, bodies)

    answers = [answer.json()["recommendations"] for answer in asyncio.run(run())]
    assert sorted(request.k for _, request in stand.calls) == [beams, beams + 1, beams + 9]
    for body, answer in zip(bodies, answers, strict=True):
        expected = stand.recommender.recommend([body["history"]], k=body["k"])[0]
        same(answer, plain(expected))


def test_filters_are_searches_of_their_own(recommender, make_app, histories):
    filters = [
        {},
        {"exclude_seen": False},
        {"deny": ["P0003"]},
        {"deny": ["P0003", "P0004"]},
        {"allow": ["P0003"]},
        {"allow": []},
        {"where": ["price<20"]},
        {"where": ["price<20", "price>5"]},
        {"query": "tent"},
        {"query": "lantern"},
    ]
    stand = Stand(recommender)
    bodies = [{"history": histories[5]} | each for each in filters for _ in range(2)]

    async def run():
        async with running(make_app(stand, max_wait_ms=500, max_batch=20)) as client:
            return await ask_all(client, bodies)

    answers = asyncio.run(run())
    assert len(stand.calls) == len(filters)
    for body, answer in zip(bodies, answers, strict=True):
        options = {name: value for name, value in body.items() if name != "history"}
        expected = recommender.recommend([body["history"]], **options)[0]
        same(answer.json()["recommendations"], plain(expected))


def test_reasons_come_to_who_asked_for_them(recommender, make_app, histories):
    """Requests with two reasons, with one and with none are three searches, and each gets its own."""
    stand, history = Stand(recommender), histories[5]
    bodies = [{"history": history, "k": k, "explain": n} for n in (0, 1, 2) for k in (3, 5)]

    async def run():
        async with running(make_app(stand, max_wait_ms=500, max_batch=18)) as client:
            return await ask_all(client, bodies)

    answers = [answer.json()["recommendations"] for answer in asyncio.run(run())]
    assert sorted(request.explain for _, request in stand.calls) == [0, 1, 2]
    told = set()
    for body, answer in zip(bodies, answers, strict=True):
        expected = plain(recommender.recommend([history], body["k"], explain=body["explain"])[0])
        same(answer, expected)
        for item, other in zip(answer, expected, strict=True):
            assert ("reasons" in item) == bool(body["explain"])
            ids = [[r["item_id"] for r in one.get("reasons", [])] for one in (item, other)]
            assert ids[0] == ids[1]
            told.add(len(ids[0]))
    assert told == {0, 1, 2}


def test_a_history_with_reasons_takes_the_places_of_four(recommender, make_app, histories):
    """Two plain ones and one with reasons do not fit into a batch of five, nor two more into the queue."""
    stand, gate = Stand(recommender), Gate()
    stand.before = gate
    explained = {"history": histories[5], "explain": 1}
    app = make_app(stand, max_wait_ms=0, max_batch=5, queue=9)

    async def run():
        async with running(app) as client:
            post = lambda body: asyncio.create_task(client.post("/recommend", json=body))  # noqa: E731
            first = post(explained)
            await reached(gate.reached)
            assert app.state.service.batcher.unanswered == 4
            others = [post({"history": histories[6]}), post(explained)]
            while app.state.service.batcher.unanswered < 9:
                await asyncio.sleep(0.01)
            refused = await client.post("/recommend", json=explained)
            gate.open.set()
            return refused, await asyncio.gather(first, *others)

    refused, answered = asyncio.run(run())
    assert refused.status_code == 429
    assert [answer.status_code for answer in answered] == [200] * 3
    assert app.state.service.batcher.unanswered == 0


class Gate:
    """Holds searches back until it is opened."""

    def __init__(self):
        self.open, self.reached = threading.Event(), threading.Event()

    def __call__(self, histories):
        if histories != [[]]:
            self.reached.set()
            assert self.open.wait(20)


async def reached(event):
    assert await asyncio.to_thread(event.wait, 20)


def test_more_than_the_queue_holds_is_told_to_come_back(recommender, make_app):
    gate = Gate()
    app = make_app(Stand(recommender, gate), max_batch=1, queue=3)
    body = {"history": ["P0001"]}

    async def run():
        async with running(app) as client:
            waiting = [asyncio.create_task(client.post("/recommend", json=body)) for _ in range(3)]
            await reached(gate.reached)
            while app.state.service.batcher.unanswered < 3:
                await asyncio.sleep(0.01)
            refused = await ask_all(client, [body, body])
            healthy = await client.get("/health")
            gate.open.set()
            answered = await asyncio.gather(*waiting)
            return refused, healthy, answered, await client.post("/recommend", json=body)

    refused, healthy, answered, after = asyncio.run(run())
    for answer in refused:
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert "3 histories wait" in answer.json()["error"]
    assert healthy.json()["unanswered"] == 3, "the event loop is free while a search runs"
    assert [answer.status_code for answer in (*answered, after)] == [200] * 4


def test_a_request_larger_than_the_queue_is_answered_when_nothing_waits(
    client, histories, make_app
):
    app = make_app(client.app.state.service.shelf.current.recommender, queue=2, max_batch=2)

    async def run():
        async with running(app) as asking:
            return await asking.post("/recommend", json={"histories": histories[:7]})

    assert len(asyncio.run(run()).json()["results"]) == 7


def test_a_search_that_takes_too_long_is_given_up(recommender, make_app):
    gate = Gate()
    stand = Stand(recommender, gate)
    app = make_app(stand, timeout=0.2, max_batch=1)

    async def run():
        async with running(app) as client:
            late = await ask_all(client, [{"history": ["P0001"]}, {"history": ["P0002"]}])
            left = app.state.service.batcher.unanswered
            gate.open.set()
            return late, left, await client.post("/recommend", json={"history": ["P0003"]})

    late, left, after = asyncio.run(run())
    assert [answer.status_code for answer in late] == [504, 504]
    assert "within 0.2 s" in late[0].json()["error"]
    assert left == 0
    assert after.status_code == 200
    asked = [histories for histories, _ in stand.calls]
    assert [["P0002"]] not in asked, "nobody waits for it any more"


def test_a_failure_is_told_without_its_words_and_the_next_request_is_answered(
    recommender, make_app, caplog
):
    def fail(histories):
        if histories == [["P0001"]]:
            raise RuntimeError("about P0001")

    async def run():
        async with running(make_app(Stand(recommender, fail))) as client:
            return await client.post("/recommend", json={"history": ["P0001"]}), await client.post(
                "/recommend", json={"history": ["P0002"]}
            )

    failed, answered = asyncio.run(run())
    assert failed.status_code == 500
    assert failed.headers["x-request-id"] in failed.json()["error"]
    assert "P0001" not in failed.text
    assert answered.status_code == 200


def double(rows):
    """Twice every number; 13 cannot be doubled."""
    if 13 in rows:
        raise ValueError("13")
    return [2 * row for row in rows]


def batched(*works, **settings):
    """Give a batcher some works at once; the outcomes, and the rows of each shared call."""
    calls = []

    async def run():
        values = {"max_wait_ms": 200, "max_batch": 100} | settings
        batcher = Batcher(ServeSettings(**values), lambda rows, _: calls.append(rows))
        await batcher.start()
        outcomes = await asyncio.gather(*map(batcher.submit, works), return_exceptions=True)
        await batcher.close()
        return outcomes

    return asyncio.run(run()), calls


def test_rows_find_their_way_back():
    works = [Work(tuple(range(n, n + n % 3 + 1)), double, n % 2) for n in range(20, 30)]
    outcomes, calls = batched(*works)
    assert outcomes == [[2 * row for row in work.rows] for work in works]
    assert len(calls) == 2
    assert sum(calls) == sum(len(work.rows) for work in works)


def test_works_without_a_key_are_done_alone():
    assert sorted(batched(Work((1,), double), Work((2,), double), Work((3,), double, "a"))[1]) == [
        1,
        1,
        1,
    ]


def test_one_that_fails_spoils_no_other():
    outcomes, _ = batched(
        Work((1,), double, "a"), Work((13,), double, "a"), Work((3,), double, "a")
    )
    assert outcomes[0] == [2]
    assert isinstance(outcomes[1], ValueError)
    assert outcomes[2] == [6]


def test_batches_are_as_large_as_allowed():
    works = [Work((1, 2, 3), double, "a") for _ in range(5)]
    assert batched(*works, max_batch=7)[1] == [6, 6, 3]
    assert batched(*works, max_batch=1)[1] == [3] * 5


def test_what_nobody_waits_for_any_more_is_not_done():
    done = []

    def slow(rows):
        done.append(rows)
        time.sleep(0.3)
        return rows

    outcomes, _ = batched(Work((1,), slow, "a"), Work((2,), slow, "b"), max_wait_ms=1, timeout=0.1)
    assert [outcome.status_code for outcome in outcomes] == [504, 504]
    assert done == [[1]]


def test_closing_turns_away_what_waits():
    begun, end = threading.Event(), threading.Event()

    def slow(rows):
        begun.set()
        assert end.wait(20)
        return rows

    async def run():
        batcher = Batcher(ServeSettings(max_wait_ms=0))
        await batcher.start()
        first = asyncio.create_task(batcher.submit(Work((1,), slow)))
        await reached(begun)
        second = asyncio.create_task(batcher.submit(Work((2,), slow)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        with pytest.raises(Refusal) as refusal:
            await second
        end.set()
        await closing
        return refusal.value.status_code, await first

    assert asyncio.run(run()) == (503, [1])
