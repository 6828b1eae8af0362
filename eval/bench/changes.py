"""Changes to a catalog while it is served, and whether any answer mixed two catalogs.

One thread replaces the recommender folder, reloads, adds items and removes them, over HTTP, without a pause.
It notes which items every catalog had, by the hash that the server gives it; every answer names a hash, so
each can be held against what that very catalog held.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.load import Served, ask, request
from genrec.common.artifacts import atomic_folder
from genrec.common.errors import GenrecError

__all__ = ["Changer", "Seen", "Version", "replace_folder"]


@dataclass(frozen=True)
class Version:
    """A recommender folder that takes its turn, and the ids of its items."""

    folder: Path
    items: frozenset[str]


@dataclass
class Seen:
    """What answers named.

    Attributes:
        items: for every hash of a catalog, the items that were recommended under it.
        answers: how many answers named each hash.
    """

    items: dict[str, set[str]] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)

    def look(self, body: bytes) -> None:
        """Note the answer to a request for recommendations of one history."""
        document = json.loads(body)
        name = document["catalog"]
        self.answers[name] += 1
        found = [item["item_id"] for item in document["recommendations"]]
        self.items.setdefault(name, set()).update(found)

    def mixed(self, catalogs: dict[str, frozenset[str]]) -> list[str]:
        """The hashes that no catalog had, and those under which an item of another was recommended."""
        return [
            name
            for name, items in self.items.items()
            if name not in catalogs or not items <= catalogs[name]
        ]


@dataclass
class Changer:
    """Changes what a server serves, again and again.

    Attributes:
        server: what is changed. folder: the recommender folder that it serves.
        versions: what the folder holds in turn; it holds the first at the start.
        new: rows of items, which are added with ids of their own.
        token: that the server asks for.
        catalogs: for every hash that the server gave, the ids of that catalog's items.
        done: how often each kind of change was made.
    """

    server: Served
    folder: Path
    versions: Sequence[Version]
    new: Sequence[dict[str, Any]]
    token: str
    catalogs: dict[str, frozenset[str]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self._note(request("GET", "/health"), self.versions[0].items)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change without a pause until the block ends, and then finish the round; there is one at least.

        Raises:
            GenrecError: a change was refused, or made another catalog than it should.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._change, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if self.failure is not None:
            raise self.failure

    def _change(self, stop: threading.Event) -> None:
        try:
            self._round(1)
            while not stop.is_set():
                self._round(self.done["reloads"] + 1)
        except BaseException as error:
            self.failure = error

    def _round(self, number: int) -> None:
        """Replace the folder and reload, add the new items at once, remove them one by one."""
        version = self.versions[number % len(self.versions)]
        replace_folder(self.folder, version.folder)
        self._note(request("POST", "/reload", token=self.token), version.items)
        self.done["reloads"] += 1
        rows = [row | {"item_id": f"new-{number}-{place}"} for place, row in enumerate(self.new)]
        held = version.items | {row["item_id"] for row in rows}
        self._note(request("POST", "/items", {"items": rows}, self.token), held)
        self.done["adds"] += 1
        for row in rows:
            held -= {row["item_id"]}
            self._note(request("DELETE", f"/items/{row['item_id']}", token=self.token), held)
            self.done["removes"] += 1

    def _note(self, asked: bytes, items: frozenset[str]) -> None:
        status, facts = ask(self.server, asked)
        if status != 200 or facts["items"] != len(items):
            words = asked.split(b" HTTP", 1)[0].decode()
            raise GenrecError(f"{words}: {len(items):,} items expected, got {status} {facts}")
        self.catalogs[facts["catalog"]] = items


def replace_folder(folder: Path, source: Path) -> None:
    """Put a copy of `source` in the place of `folder`, in one step."""
    with atomic_folder(folder, overwrite=True) as building:
        shutil.copytree(source, building, dirs_exist_ok=True)
