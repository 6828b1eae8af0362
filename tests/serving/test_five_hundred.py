"""Five hundred malformed requests and more: each is answered with a message, none with a failure.

Made by hand; `test_fuzz.py` makes up others from the OpenAPI document.
"""

import json

import pytest
from starlette.testclient import TestClient

from .conftest import BEARER, TOKEN, Change
from .test_malformed import JSON, RECOMMEND

POSTS = ("/recommend", "/titles", "/items")
TRICKS = {
    "traversal": "..%2F..%2Fetc%2Fpasswd",
    "traversal, dots escaped": "%2e%2e%2f%2e%2e%2frecommender.json",
    "traversal, escaped twice": "%252e%252e%252fetc%252fpasswd",
    "traversal, overlong": "%c0%ae%c0%ae%c0%afetc",
    "traversal, Windows": "..%5C..%5Cwindows%5Cwin.ini",
    "absolute": "%2Fetc%2Fpasswd",
    "NUL": "P0001%00",
    "NUL and ending": "P0001%00.json",
    "half a character": "%ED%A0%80",
    "right to left": "%E2%80%AEP0001",
    "zero width": "P00%E2%80%8B01",
    "full width": "P000%EF%BC%91",
    "combining": "P0001%CC%81",
    "not UTF-8": "%ff%fe",
    "line break": "P0001%0d%0aSet-Cookie:%20a=b",
    "long": "P" * 5000,
    "markup": "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "query language": "P0001'%20OR%20'1'='1",
    "template": "%7B%7B7*7%7D%7D",
    "format": "%25s%25n%7B0%7D",
}
NUMBERS = [
    "",
    "0",
    "-1",
    "1.5",
    "1e3",
    "NaN",
    "Infinity",
    "0x10",
    "9" * 400,
    "٣x",
    "true",
    "null",
    "1%00",
]
GOOD = b'{"history": ["P0001", "P0002"], "k": 3, "where": ["price<20"]}'


def by_hand():
    """Method, path and body of every request of the hand-made list."""
    for route in POSTS:
        for body, *_ in RECOMMEND.values():
            yield "POST", route, body
        for end in range(len(GOOD)):
            yield "POST", route, GOOD[:end]
    for trick in TRICKS.values():
        yield "GET", f"/items/{trick}", b""
        yield "DELETE", f"/items/{trick}", b""
        yield "GET", f"/{trick}", b""
        yield "GET", f"/page/{trick}", b""
        yield "GET", f"/search?{trick}=1", b""
        yield "GET", f"/tree?prefix={trick}", b""
    for number in NUMBERS:
        yield "GET", f"/search?q=tent&k={number}", b""
        yield "GET", f"/tree?k={number}", b""
        yield "GET", f"/tree?skip={number}x", b""


@pytest.fixture(scope="module")
def app(recommender, make_app):
    """A server whose catalog may change."""
    return make_app(Change(recommender), tokens=[TOKEN])


def refused(answer):
    assert 400 <= answer.status_code < 500, (answer.request.url, answer.status_code, answer.text)
    assert "Traceback" not in answer.text
    assert len(answer.json()["error"]) > 5
    assert "set-cookie" not in answer.headers


def test_five_hundred_requests_made_by_hand_are_refused_with_a_message(app, record_property):
    count = 0
    with TestClient(app, raise_server_exceptions=False) as client:
        for method, path, body in by_hand():
            refused(client.request(method, path, content=body, headers=BEARER | JSON))
            count += 1
        good = client.post("/recommend", content=GOOD, headers=BEARER | JSON)
    assert good.status_code == 200, "the server still answers"
    record_property("malformed requests", count)
    assert count >= 500


def test_the_good_request_is_good():
    assert json.loads(GOOD)["k"] == 3
