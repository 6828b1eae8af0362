"""Who may ask, and who may change what is served."""

import hmac

import pytest
from starlette.testclient import TestClient

from genrec.common.errors import InputError
from genrec.serving import tokens as module
from genrec.serving.tokens import Tokens, check_address

from .conftest import BEARER, TOKEN, Change

READS = [
    ("POST", "/recommend"),
    ("POST", "/titles"),
    ("GET", "/search?q=tent"),
    ("GET", "/items/P0001"),
    ("GET", "/tree"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/no-such-route"),
]
WRITES = [
    ("POST", "/items"),
    ("PATCH", "/items"),
    ("DELETE", "/items/P0001"),
    ("POST", "/reload"),
]
WRONG = {
    "none": {},
    "another": {"Authorization": "Bearer another"},
    "a part": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "no scheme": {"Authorization": TOKEN},
    "another scheme": {"Authorization": f"Basic {TOKEN}"},
    "empty": {"Authorization": "Bearer "},
    "both": {"Authorization": f"Bearer {TOKEN},second"},
    "not ASCII": {"Authorization": "Bearer é".encode("latin-1")},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_with_tokens_every_route_but_health_needs_one(recommender, make_app, headers):
    app = make_app(Change(recommender), tokens=[TOKEN, "second"])
    with TestClient(app, headers=headers) as client:
        for method, path in READS + WRITES:
            answer = client.request(method, path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "Authorization: Bearer TOKEN" in answer.json()["error"]
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/health").json()["snapshot"] == 1


@pytest.mark.parametrize("token", [TOKEN, "second"])
def test_each_of_the_tokens_opens_every_route(recommender, make_app, token):
    headers = {"authorization": f"bearer  {token} "}
    app = make_app(Change(recommender), tokens=[TOKEN, "second"])
    with TestClient(app, headers=headers) as client:
        for method, path in READS + WRITES:
            assert client.request(method, path).status_code not in (401, 403), path


def test_without_tokens_everybody_reads_and_nobody_writes(recommender, make_app):
    with TestClient(make_app(Change(recommender)), headers=BEARER) as client:
        for method, path in READS:
            assert client.request(method, path).status_code not in (401, 403), path
        for method, path in WRITES:
            body = {"items": [{"item_id": "N1"}]} if path == "/items" else None
            answer = client.request(method, path, json=body)
            assert answer.status_code == 403
            assert "GENREC_TOKENS" in answer.json()["error"]
        assert client.get("/health").json()["snapshot"] == 1


def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared, genuine = [], hmac.compare_digest

    def compare(*pair):
        compared.append(pair)
        return genuine(*pair)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    assert Tokens.of("first", "second").admit("Bearer first")
    assert [len(given) for given, _ in compared] == [32, 32], "all of them, as digests"


def test_tokens_do_not_show():
    assert "secret" not in repr(Tokens.of("secret"))
    assert Tokens.of("secret").digests[0].hex() not in repr(Tokens.of("secret"))


@pytest.mark.parametrize("words", ["", None])
def test_no_variable_means_no_tokens(words):
    assert not Tokens.from_environment({} if words is None else {"GENREC_TOKENS": words})


def test_tokens_of_the_environment():
    tokens = Tokens.from_environment({"GENREC_TOKENS": " one , two"})
    assert [
        tokens.admit(f"Bearer {word}") for word in ("one", "two", "one , two", "three", "")
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("words", [",", "one,", "one,,two", " ", "one,tw o", "é"])
def test_tokens_nobody_could_send_are_refused(words):
    with pytest.raises(InputError, match="GENREC_TOKENS"):
        Tokens.from_environment({"GENREC_TOKENS": words})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_may_ask_without_tokens(host):
    check_address(host, Tokens(), no_auth=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example.com", ""])
def test_other_machines_need_tokens_or_the_word(host):
    with pytest.raises(InputError, match="--no-auth"):
        check_address(host, Tokens(), no_auth=False)
    check_address(host, Tokens(), no_auth=True)
    check_address(host, Tokens.of(TOKEN), no_auth=False)


def test_tokens_and_no_auth_contradict_each_other():
    with pytest.raises(InputError, match="drop one"):
        check_address("127.0.0.1", Tokens.of(TOKEN), no_auth=True)
