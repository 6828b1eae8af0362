"""Gathering of concurrent requests into shared searches, which run one after another in one thread.

A search for sixteen histories takes little longer than one for a single history, so requests that are there
at the same time are answered together: the first waits a little for others to come (`max_wait_ms`), and
whoever arrives while a search runs joins the next one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from genrec.serving.refusals import Refusal
from genrec.serving.settings import ServeSettings

__all__ = ["Batcher", "Work"]


@dataclass(frozen=True)
class Work:
    """What a request wants done.

    Attributes:
        rows: of the request, such as histories; at least one.
        answer: gives each of some rows its answer, in their order.
        key: works of equal keys may be done in one call of `answer`; None is done alone.
        each: what one row costs, in rows of a plain search: it takes as many places in batch and queue.
    """

    rows: tuple[Any, ...]
    answer: Callable[[list[Any]], list[Any]]
    key: Hashable | None = None
    each: int = 1

    @property
    def cost(self) -> int:
        """Places that it takes."""
        return len(self.rows) * self.each


@dataclass(eq=False)
class _Job:
    """A work that waits, since when (`time.monotonic`), and where its answers go."""

    work: Work
    since: float
    answers: asyncio.Future[list[Any]]


@dataclass(eq=False)
class Batcher:
    """Does works in batches, first come, first served.

    Attributes:
        settings: batch, waiting time, queue and timeout.
        observe: called with the number of rows and the seconds of every shared call.
    """

    settings: ServeSettings
    observe: Callable[[int, float], None] = lambda rows, seconds: None
    unanswered: int = 0
    """Rows that wait or are worked on, each as often as it costs."""
    _waiting: deque[_Job] = field(default_factory=deque)
    _row_seconds: float = 0.0

    async def start(self) -> None:
        """Begin to work, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._arrival = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="genrec-search")
        self._dispatcher = self._loop.create_task(self._dispatch())

    async def close(self) -> None:
        """Finish the call that runs, and turn away what still waits."""
        self._dispatcher.cancel()
        with suppress(asyncio.CancelledError):
            await self._dispatcher
        for job in self._waiting:
            _settle(job, Refusal(503, "the server stops: ask another one, or again later"))
        await asyncio.to_thread(self._thread.shutdown)

    async def submit(self, work: Work) -> list[Any]:
        """Wait for the answers to a work's rows.

        Raises:
            Refusal: the queue is full (429, with ``Retry-After``), or the time is up (504).
        """
        cost = work.cost
        if self.unanswered and self.unanswered + cost > self.settings.queue:
            wait = max(1, math.ceil(self.unanswered * self._row_seconds))
            raise Refusal(
                429,
                f"{self.unanswered} histories wait and {self.settings.queue} may: ask again in {wait} s",
                {"Retry-After": str(wait)},
            )
        job = _Job(work, time.monotonic(), self._loop.create_future())
        self._waiting.append(job)
        self.unanswered += cost
        self._arrival.set()
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await job.answers
        except TimeoutError:
            raise Refusal(
                504,
                f"no answer within {self.settings.timeout:g} s: ask for fewer histories or items, "
                "or again later",
            ) from None
        finally:
            self.unanswered -= cost
            if job in self._waiting:
                self._waiting.remove(job)

    async def _dispatch(self) -> None:
        while True:
            await self._arrival.wait()
            await self._wait_for_others()
            batch = self._take()
            if batch:
                await self._loop.run_in_executor(self._thread, self._work_on, batch)

    async def _wait_for_others(self) -> None:
        """Wait until the batch is full or the first of it has waited long enough."""
        while self._waiting and self._rows_waiting() < self.settings.max_batch:
            left = self._waiting[0].since + self.settings.max_wait_ms / 1000 - time.monotonic()
            if left <= 0:
                return
            self._arrival.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._arrival.wait()

    def _rows_waiting(self) -> int:
        return sum(job.work.cost for job in self._waiting)

    def _take(self) -> list[_Job]:
        """Take what fits into a batch, one job at least."""
        batch: list[_Job] = []
        room = self.settings.max_batch
        while self._waiting and (not batch or self._waiting[0].work.cost <= room):
            job = self._waiting.popleft()
            room -= job.work.cost
            batch.append(job)
        if not self._waiting:
            self._arrival.clear()
        return batch

    def _work_on(self, batch: list[_Job]) -> None:
        """In the thread: one call for every group of works that may be done together."""
        for group in _groups(batch):
            self._answer([job for job in group if not job.answers.done()])

    def _answer(self, group: list[_Job]) -> None:
        if not group:
            return
        rows = [row for job in group for row in job.work.rows]
        start = time.monotonic()
        try:
            answers = group[0].work.answer(rows)
        except Exception as error:
            if len(group) == 1:
                self._send(group[0], error)
                return
            for job in group:  # what is wrong with one is no matter of the others
                self._answer([job])
            return
        seconds = time.monotonic() - start
        cost = sum(job.work.cost for job in group)
        self._row_seconds = 0.8 * self._row_seconds + 0.2 * seconds / cost
        self.observe(len(rows), seconds)
        for job in group:
            own, answers = answers[: len(job.work.rows)], answers[len(job.work.rows) :]
            self._send(job, own)

    def _send(self, job: _Job, outcome: list[Any] | Exception) -> None:
        self._loop.call_soon_threadsafe(_settle, job, outcome)


def _groups(batch: Iterable[_Job]) -> list[list[_Job]]:
    """The jobs by the key of their work, in the order in which each key first came."""
    groups: dict[Hashable, list[_Job]] = {}
    for job in batch:
        key = id(job) if job.work.key is None else (job.work.key,)
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def _settle(job: _Job, outcome: list[Any] | Exception) -> None:
    if job.answers.done():  # its request gave up
        return
    if isinstance(outcome, Exception):
        job.answers.set_exception(outcome)
    else:
        job.answers.set_result(outcome)
