"""The judge of answers during changes, and the changer, against a server that is wrong in a known way."""

import json

import pytest

from bench import changes
from bench.changes import Changer, Seen, Version
from genrec.common.errors import GenrecError

CATALOGS = {"a": frozenset({"P1", "P2"}), "b": frozenset({"P2", "P3"})}


def answer(catalog, *items):
    found = [{"item_id": item, "score": -1.0} for item in items]
    return json.dumps({"catalog": catalog, "recommendations": found}).encode()


def seen(*answers):
    found = Seen()
    for one in answers:
        found.look(one)
    return found


def test_answers_of_one_catalog_each_are_not_mixed():
    found = seen(answer("a", "P1", "P2"), answer("b", "P3"), answer("a"), answer("b", "P2"))
    assert found.mixed(CATALOGS) == []
    assert found.answers == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    "wrong", [answer("a", "P1", "P3"), answer("c", "P1")], ids=["an item of another", "no catalog"]
)
def test_an_answer_that_is_wrong_is_found_among_right_ones(wrong):
    found = seen(answer("a", "P1"), wrong, answer("b", "P2"))
    assert found.mixed(CATALOGS) == [json.loads(wrong)["catalog"]]


class Server:
    """Answers changes as a server does, over two folders; forgets to remove where told to."""

    def __init__(self, folders, forgets=False):
        self.folders, self.forgets, self.items, self.asked = folders, forgets, set(folders["a"]), []

    def ask(self, _, request):
        head, _, body = request.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].decode().split()
        self.asked.append(f"{method} {path}")
        if path == "/reload":
            self.items = set(self.folders[self.folder])
        elif path == "/items":
            self.items |= {row["item_id"] for row in json.loads(body)["items"]}
        elif method == "DELETE" and not self.forgets:
            self.items -= {path.removeprefix("/items/")}
        return 200, {"catalog": " ".join(sorted(self.items)), "items": len(self.items)}

    def replace(self, _, source):
        self.folder = source


def changer(monkeypatch, **options):
    folders = {"a": frozenset({"P1", "P2"}), "b": frozenset({"P2"})}
    server = Server(folders, **options)
    monkeypatch.setattr(changes, "ask", server.ask)
    monkeypatch.setattr(changes, "replace_folder", server.replace)
    versions = [Version(name, items) for name, items in folders.items()]
    return server, Changer(server, "served", versions, [{"title": "x"}] * 2, "token")


def test_a_round_notes_what_every_catalog_held(monkeypatch):
    server, changing = changer(monkeypatch)
    changing._round(1)
    assert server.asked == [
        "GET /health",
        "POST /reload",
        "POST /items",
        "DELETE /items/new-1-0",
        "DELETE /items/new-1-1",
    ]
    assert changing.done == {"reloads": 1, "adds": 1, "removes": 2}
    # The hash of this server is what it holds.
    assert {name: " ".join(sorted(items)) for name, items in changing.catalogs.items()} == {
        name: name for name in ("P1 P2", "P2", "P2 new-1-0 new-1-1", "P2 new-1-1")
    }


def test_a_change_that_was_not_made_ends_the_measurement(monkeypatch):
    _, changing = changer(monkeypatch, forgets=True)
    with (
        pytest.raises(GenrecError, match=r"DELETE /items/new-1-0: 2 items expected"),
        changing.changing(),
    ):
        pass
