"""Snapshots: the recommender that is being served, and how another takes its place without a request lost.

A request takes the snapshot that is current when it comes in and keeps it to the end. A new one is opened and
warmed up in a thread of its own, beside the searches, and becomes current in one assignment.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from genrec.common.errors import GenrecError, InputError
from genrec.common.manifest import RECOMMENDER
from genrec.recommender.recommend import recommend
from genrec.recommender.request import Request
from genrec.serving.refusals import Refusal

if TYPE_CHECKING:
    from genrec.data import Catalog
    from genrec.recommender.fitted_recommender import FittedRecommender

__all__ = ["Shelf", "Snapshot", "catalog_hash"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A recommender that is ready to be asked, and what to call it.

    Attributes:
        recommender: nothing in it changes any more.
        catalog: hash of its items and their semantic IDs (see `catalog_hash`).
        number: 1 for the first, one more for each that took its place.
    """

    recommender: FittedRecommender
    catalog: str
    number: int

    @classmethod
    def of(cls, recommender: FittedRecommender, number: int) -> Snapshot:
        """Do what the first request would have to wait for: count the log, index the titles."""
        recommend(recommender, [[]], Request(k=1))
        assert recommender.query_words  # made when they are first looked at
        with suppress(InputError):  # no title holds a word
            recommender.nearest_items.search([recommender.catalog.titles[0]], 1)
        return cls(recommender, catalog_hash(recommender), number)

    def facts(self) -> dict[str, str | int]:
        """What is served, for answers and the log."""
        items = len(self.recommender.catalog)
        return {"catalog": self.catalog, "items": items, "snapshot": self.number}


def catalog_hash(recommender: FittedRecommender) -> str:
    """Hash of the catalog, 16 hexadecimal digits: all that is known of the items, and their codes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Parquet forgets what does not matter, such as how the elements of a list are called in memory.
    sink = pa.BufferOutputStream()
    table = recommender.catalog.table
    pq.write_table(table, sink, compression="none", store_schema=False)
    digest = hashlib.sha256(sink.getvalue())
    digest.update(recommender.semantic_ids.codes.astype("<i4").tobytes())
    return digest.hexdigest()[:16]


@dataclass(eq=False)
class Shelf:
    """Holds the current snapshot; the changes to it happen one after another.

    Attributes:
        current: what new requests are answered from.
        reopen: opens the recommender folder anew.
        folder: the recommender folder, where there is one to be watched.
        settled: called when another recommender has taken its place.
    """

    current: Snapshot
    reopen: Callable[[], FittedRecommender]
    folder: Path | None = None
    settled: Callable[[], None] = lambda: None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="genrec-open")
    )

    @classmethod
    def open(cls, reopen: Callable[[], FittedRecommender], folder: Path | None = None) -> Shelf:
        """Open the first recommender."""
        return cls(Snapshot.of(reopen(), 1), reopen, folder)

    async def reload(self) -> Snapshot:
        """Put the folder's recommender, as it is now, in the place of the current one.

        Raises:
            Refusal: it cannot be opened (409); the current one goes on.
        """
        try:
            return await self._replace(lambda _: self._open_whole())
        except GenrecError as error:
            raise Refusal(409, f"{error}; the recommender that was open goes on") from None

    async def try_reload(self) -> None:
        """Reload; what goes wrong is told to the log only, and the current one goes on."""
        try:
            await self.reload()
        except Exception:
            log.exception("reload failed")

    async def add_items(self, items: Catalog) -> Snapshot:
        """Add items to the catalog being served, not to the folder.

        Raises:
            InputError: they cannot be added.
        """
        return await self._replace(lambda old: old.add_items(items))

    async def update_items(self, feeds: Sequence[Catalog], recode: bool) -> Snapshot:
        """Let the catalog being served follow feeds, one after the other; the folder does not.

        Raises:
            InputError: one of them cannot be followed; then none is.
        """

        def follow(old: FittedRecommender) -> FittedRecommender:
            for feed in feeds:
                old = old.update_items(feed, recode=recode)
            return old

        return await self._replace(follow)

    async def remove_items(self, item_ids: Sequence[str]) -> Snapshot:
        """Remove items from the catalog being served, not from the folder.

        Raises:
            InputError: an id is not in the catalog, or nothing would be left.
        """
        return await self._replace(lambda old: old.remove_items(item_ids))

    async def watch(self, seconds: float) -> None:
        """Reload whenever the folder was replaced, until cancelled."""
        seen = self._stamp()
        while True:
            await asyncio.sleep(seconds)
            now = self._stamp()
            if now in (None, seen):  # None: it is being replaced this very moment
                continue
            seen = now
            await self.try_reload()

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown()

    async def _replace(self, make: Callable[[FittedRecommender], FittedRecommender]) -> Snapshot:
        async with self._lock:
            start, old = time.monotonic(), self.current

            def ready() -> Snapshot:
                return Snapshot.of(make(old.recommender), old.number + 1)

            new = await asyncio.get_running_loop().run_in_executor(self._thread, ready)
            self.current = new
            self.settled()
        seconds = round(time.monotonic() - start, 3)
        log.info("recommender replaced", extra={"facts": new.facts() | {"seconds": seconds}})
        return new

    def _open_whole(self) -> FittedRecommender:
        """Open the folder; once more if it was replaced meanwhile."""
        while True:
            before = self._stamp()
            try:
                found = self.reopen()
            except GenrecError:
                if self._stamp() == before:
                    raise
            else:
                if self._stamp() == before:
                    return found

    def _stamp(self) -> tuple[int, int, int] | None:
        """What changes whenever the folder is replaced; None while it is not there."""
        if self.folder is None:
            return None
        try:
            facts = (self.folder / RECOMMENDER.manifest).stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino, facts.st_size
