"""What a client may get wrong: a message that says what, never a failure of the server."""

import asyncio
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from genrec.common.errors import InputError
from genrec.common.strict_json import MAX_DEPTH, parse_json

JSON = {"Content-Type": "application/json"}
RECOMMEND = {
    "empty": (b"", 422, "the body is missing"),
    "no JSON": (b"history=P0001", 400, "not JSON: Expecting value (line 1, column 1)"),
    "cut": (b'{"history": ["P0001"', 400, "not JSON"),
    "two documents": (b"{} {}", 400, "not JSON: Extra data"),
    "not UTF-8": (b'{"history": ["\xff"]}', 400, "not UTF-8 text (byte 14)"),
    "a BOM": (b"\xef\xbb\xbf{}", 400, "not JSON"),
    "UTF-16": ('{"history": []}'.encode("utf-16"), 400, "not UTF-8"),
    "NUL": (b'{"history": ["\x00"]}', 400, "not JSON: Invalid control character"),
    "a list": (b"[]", 422, "the body = []"),
    "a text": (b'"P0001"', 422, "the body = 'P0001'"),
    "null": (b"null", 422, "the body"),
    "nothing asked": (b"{}", 422, "give either history (one user) or histories (many)"),
    "both": (b'{"history": [], "histories": []}', 422, "histories = []"),
    "both, filled": (b'{"history": [], "histories": [[]]}', 422, "give either history"),
    "no histories": (b'{"histories": []}', 422, "at least 1"),
    "a text for a history": (b'{"history": "P0001"}', 422, "history = 'P0001'"),
    "numbers for ids": (b'{"history": [1]}', 422, "history[0] = 1: should be a valid string"),
    "null for an id": (b'{"histories": [["P0001"], [null]]}', 422, "histories[1][0] = None"),
    "an empty id": (b'{"history": [""]}', 422, "history[0] = ''"),
    "an unknown id": (b'{"history": ["P9999"]}', 422, "value 'P9999': item 1 of history 1"),
    "a traversal": (b'{"history": ["../../etc/passwd"]}', 422, "not in the catalog"),
    "another form of a letter": ('{"history": ["P00\uff101"]}'.encode(), 422, "not in the catalog"),
    "right to left": ('{"history": ["\u202eP0001"]}'.encode(), 422, r"'\u202eP0001'"),
    "half a character": (rb'{"history": ["\ud800"]}', 400, "half a character"),
    "half a character as a key": (rb'{"\udfff": 1}', 400, "half a character"),
    "NUL in an id": (rb'{"history": ["P0001\u0000"]}', 422, "not in the catalog"),
    "unknown field": (b'{"history": [], "K": 3}', 422, "unknown field 'K'"),
    "a field twice": (b'{"history": [], "k": 1, "k": 2}', 400, "the key 'k' stands twice"),
    "k 0": (b'{"history": [], "k": 0}', 422, "k = 0: should be greater than or equal to 1"),
    "k below 0": (b'{"history": [], "k": -1}', 422, "k = -1"),
    "huge k": (b'{"history": [], "k": 100000000}', 422, "less than or equal to 200"),
    "k past 64 bits": (b'{"history": [], "k": 1' + b"0" * 60 + b"}", 422, "k = 1000"),
    "k of 5000 digits": (b'{"history": [], "k": ' + b"9" * 5000 + b"}", 400, "too many digits"),
    "k a text": (b'{"history": [], "k": "5"}', 422, "k = '5': should be a valid integer"),
    "k with a fraction": (b'{"history": [], "k": 1.5}', 422, "k = 1.5"),
    "k true": (b'{"history": [], "k": true}', 422, "k = True"),
    "k NaN": (b'{"history": [], "k": NaN}', 400, "NaN is not a number in JSON"),
    "k Infinity": (b'{"history": [], "k": -Infinity}', 400, "-Infinity is not a number"),
    "k beyond floats": (b'{"history": [], "k": 1e999}', 400, "1e999 is too large"),
    "exclude_seen 1": (b'{"history": [], "exclude_seen": 1}', 422, "exclude_seen = 1"),
    "allow a text": (b'{"history": [], "allow": "P0001"}', 422, "allow = 'P0001'"),
    "allow unknown": (b'{"history": [], "allow": ["P9999"]}', 422, "'P9999'"),
    "deny unknown": (b'{"history": [], "deny": ["P9999"]}', 422, "'P9999'"),
    "deny null": (b'{"history": [], "deny": null}', 422, "deny = None"),
    "where a text": (b'{"history": [], "where": "price<20"}', 422, "where = 'price<20'"),
    "no condition": (b'{"history": [], "where": ["cheap"]}', 422, "'cheap' is not a condition"),
    "no such column": (b'{"history": [], "where": ["pric<2"]}', 422, "did you mean 'price'?"),
    "no such order": (b'{"history": [], "where": ["title<2"]}', 422, "compares numbers and dates"),
    "no number": (b'{"history": [], "where": ["price<cheap"]}', 422, "'cheap' cannot be compared"),
    "an empty value": (b'{"history": [], "where": ["price="]}', 422, "empty value"),
    "a long condition": (
        json.dumps({"history": [], "where": ["price<" + "9" * 2000]}).encode(),
        422,
        "at most 1000 characters",
    ),
    "a blank query": (b'{"history": [], "query": "  "}', 422, "query"),
    "an empty query": (b'{"history": [], "query": ""}', 422, "query = ''"),
    "queries": (b'{"history": [], "query": ["tent"]}', 422, "query = ['tent']"),
    "fewer than no reasons": (b'{"history": [], "explain": -1}', 422, "explain = -1"),
    "many reasons": (b'{"history": [], "explain": 11}', 422, "less than or equal to 10"),
    "reasons true": (b'{"history": [], "explain": true}', 422, "explain = True"),
    "many explained": (
        json.dumps({"histories": [[]] * 17, "explain": 1}).encode(),
        422,
        "explain goes with at most 16 histories",
    ),
    "deep": (b'{"history": ' + b"[" * 9 + b"]" * 9 + b"}", 400, "deeper than 8"),
    "very deep": (b"[" * 200_000, 400, "deeper than 8"),
    "very deep objects": (b'{"a":' * 100_000, 400, "deeper than 8"),
    "a long history": (
        json.dumps({"history": ["P0001"] * 5001}).encode(),
        422,
        "at most 5000 items",
    ),
    "many histories": (json.dumps({"histories": [[]] * 257}).encode(), 422, "at most 256 items"),
    "too large": (b'{"history": ["' + b"x" * (1 << 20) + b'"]}', 413, "more than 1,048,576 bytes"),
}


@pytest.mark.parametrize(("body", "status", "says"), RECOMMEND.values(), ids=RECOMMEND)
def test_a_malformed_recommend_is_told_what_is_wrong(client, body, status, says):
    answer = client.post("/recommend", content=body, headers=JSON)
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    assert says in answer.json()["error"]
    assert len(answer.json()["error"]) < 1000
    assert "Traceback" not in answer.text


OTHERS = {
    "no route": ("GET", "/recommendations", 404, "no such route"),
    "wrong method": ("PUT", "/recommend", 405, "does not take that method"),
    "an option nobody reads": (
        "POST",
        "/recommend?k=3",
        422,
        "'k' after '?'; this route takes none",
    ),
    "search without words": ("GET", "/search", 422, "q is missing"),
    "search with empty words": ("GET", "/search?q=", 422, "q = ''"),
    "search for half a character": ("GET", "/search?q=%ff%fe", 200, ""),
    "search twice": ("GET", "/search?q=a&q=b", 422, "'q' stands twice"),
    "search for too many": ("GET", "/search?q=a&k=1000", 422, "k = '1000'"),
    "search for long words": ("GET", f"/search?q={'a' * 1001}", 422, "at most 1000 characters"),
    "search with more": ("GET", "/search?q=a&page=2", 422, "unknown option 'page'"),
    "unknown item": ("GET", "/items/P9999", 404, "'P9999' is not in the catalog"),
    "no item": ("GET", "/items/", 422, "item_id"),
    "a traversal": ("GET", "/items/..%2F..%2Fetc%2Fpasswd", 404, "not in the catalog"),
    "a plain traversal": ("GET", "/items/%2e%2e/%2e%2e/recommender.json", 404, ""),
    "bytes for an item": ("GET", "/items/%ff%00", 404, "not in the catalog"),
    "change without tokens": ("DELETE", "/items/P0001", 403, "GENREC_TOKENS"),
    "reload without tokens": ("POST", "/reload", 403, "GENREC_TOKENS"),
}


@pytest.mark.parametrize(("method", "path", "status", "says"), OTHERS.values(), ids=OTHERS)
def test_other_mistakes_are_told_too(client, method, path, status, says):
    answer = client.request(method, path)
    assert answer.status_code == status, answer.text
    assert says in answer.text


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_a_body_says_that_it_is_json(client, kind):
    answer = client.post("/recommend", content=b'{"history": []}', headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["error"]


def test_a_charset_does_no_harm(client):
    kind = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/recommend", content=b'{"history": []}', headers=kind).status_code == 200


def test_a_body_in_pieces_has_the_same_bound(recommender, make_app):
    def pieces():
        for _ in range(30):
            yield b" " * 10

    with TestClient(make_app(recommender, max_body=200)) as client:
        answer = client.post("/recommend", content=pieces(), headers=JSON)
    assert answer.status_code == 413
    assert "200 bytes" in answer.json()["error"]


def test_a_body_that_does_not_come_is_given_up(recommender, make_app):
    app = make_app(recommender, timeout=0.1)
    sent = []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    async def run():
        headers = [(b"content-type", b"application/json"), (b"content-length", b"10")]
        scope = {"type": "http", "method": "POST", "path": "/recommend", "raw_path": b"/recommend"}
        scope |= {"query_string": b"", "headers": headers, "root_path": "", "scheme": "http"}
        async with app.router.lifespan_context(app):
            await app(scope | {"http_version": "1.1", "server": ("shop", 80)}, receive, send)

    asyncio.run(run())
    assert sent[0]["status"] == 408
    assert b"within 0.1 s" in sent[1]["body"]


DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def depth(value):
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(DOCUMENTS)
def test_strict_json_reads_what_json_reads(document):
    words = json.dumps(document).encode()
    if depth(document) > MAX_DEPTH:
        with pytest.raises(InputError, match="deeper"):
            parse_json(words)
    else:
        assert parse_json(words) == document


@given(st.binary(max_size=40))
def test_no_bytes_are_anything_but_read_or_refused(body):
    with suppress(InputError):  # anything else is a failure
        parse_json(body)


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1])
def test_depth_counts_brackets(levels):
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        body = (opening * levels + "1" + closing * levels).encode()
        if levels <= MAX_DEPTH:
            parse_json(body)
        else:
            with pytest.raises(InputError, match="deeper than 8"):
                parse_json(body)
