"""What each route answers, and what its OpenAPI document says."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from genrec import GenerativeRecommender
from genrec.common.errors import InputError
from genrec.data import Catalog
from genrec.recommender.nearest_items import NearestItem
from genrec.recommender.request import Request
from genrec.recommender.titles import WrittenTitle
from genrec.serving.snapshots import Snapshot, catalog_hash

from .conftest import BEARER, TOKEN, Change, Stand, plain

OPTIONS = {
    "plain": {},
    "seen": {"exclude_seen": False},
    "many": {"k": 60},
    "one": {"k": 1},
    "allow": {"allow": ["P0003", "P0004", "P0005"]},
    "nothing allowed": {"allow": []},
    "deny": {"deny": ["P0003", "P0004", "P0005"]},
    "where": {"where": ["price<40", "categories=Camping|Cycling|Kitchen"]},
    "query": {"query": "a tent, red"},
    "query that fits nothing": {"query": "xyzzy"},
    "query and filter": {"query": "tent", "where": ["price<40"], "k": 30},
    "reasons": {"explain": 2, "k": 4},
    "reasons with a query": {"explain": 10, "k": 3, "query": "tent", "where": ["price<40"]},
    "all": {"k": 3, "where": ["price>=10"], "deny": ["P0001"], "exclude_seen": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_recommend_is_what_the_recommender_says(client, recommender, histories, options):
    for history in histories[:6]:
        answer = client.post("/recommend", json={"history": history} | options)
        [expected] = recommender.recommend([history], **options)
        assert answer.status_code == 200
        assert answer.json()["recommendations"] == plain(expected)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_many_histories_are_one_search(client, recommender, histories, options):
    histories = histories[:16]
    answer = client.post("/recommend", json={"histories": histories} | options).json()
    expected = recommender.recommend(histories, **options)
    assert [user["recommendations"] for user in answer["results"]] == list(map(plain, expected))
    assert "recommendations" not in answer


@pytest.mark.parametrize("histories", [{"history": ["P0001"]}, {"histories": [[], ["P0001"]]}])
def test_a_query_that_changes_nothing_is_said(client, histories):
    note = client.post("/recommend", json=histories | {"query": " xyzzy "}).json()["note"]
    assert note.startswith("the query 'xyzzy' changes nothing")
    for body in ({}, {"query": "tent"}, {"query": "tent", "allow": []}):
        assert "note" not in client.post("/recommend", json=histories | body).json()


def test_seen_items_are_left_out_or_kept_as_the_recommender_does(recommender, make_app, histories):
    history = histories[8]
    keeping = recommender.changed(settings=recommender.settings.replace(exclude_seen=False))
    asked = {"history": history, "k": 120}
    with TestClient(make_app(keeping)) as client:
        for more, seen in (
            ({}, True),
            ({"exclude_seen": None}, True),
            ({"exclude_seen": True}, False),
        ):
            found = client.post("/recommend", json=asked | more).json()["recommendations"]
            assert bool({item["item_id"] for item in found} & set(history)) is seen


def test_every_answer_names_the_catalog(client, recommender):
    name = catalog_hash(recommender)
    assert len(name) == 16
    answers = [
        client.post("/recommend", json={"history": []}),
        client.post("/recommend", json={"histories": [[]]}),
        client.get("/search?q=tent"),
        client.get("/items/P0001"),
        client.get("/health"),
    ]
    assert [answer.json()["catalog"] for answer in answers] == [name] * len(answers)


def test_the_hash_tells_catalogs_and_codes_apart(recommender, recommender_folder):
    opened = GenerativeRecommender.from_pretrained(recommender_folder, device="cpu")
    assert catalog_hash(opened) == catalog_hash(recommender)
    table = recommender.catalog.table

    class Other:
        catalog = recommender.catalog
        semantic_ids = recommender.semantic_ids

    assert catalog_hash(Other) == catalog_hash(recommender)
    prices = pa.array(np.asarray(table["price"]) + 1)
    place = table.column_names.index("price")
    Other.catalog = Catalog.from_table(table.set_column(place, "price", prices))
    assert catalog_hash(Other) != catalog_hash(recommender)
    Other.catalog = recommender.catalog
    Other.semantic_ids = SimpleNamespace(codes=recommender.semantic_ids.codes[::-1])
    assert catalog_hash(Other) != catalog_hash(recommender)


def test_unknown_items_are_refused_or_dropped(client, recommender):
    known = ["P0001", "P0002"]
    refused = client.post("/recommend", json={"histories": [known, ["P0001", "gone"]]})
    assert refused.status_code == 422
    for word in ("item 2 of history 2", "'gone'", "unknown_items"):
        assert word in refused.json()["error"]
    body = {"history": ["gone", *known, "away"], "unknown_items": "drop"}
    answer = client.post("/recommend", json=body).json()
    assert answer["dropped"] == 2
    assert answer["recommendations"] == plain(recommender.recommend([known])[0])


def test_search_finds_items_by_words(client, recommender):
    title = recommender.catalog.titles[7]
    answer = client.get("/search", params={"q": title, "k": 4}).json()
    expected = recommender.nearest_items.search([title], 4)[0]
    assert answer["items"] == [vars(item) for item in expected]
    assert answer["items"][0]["title"] == title
    assert client.get("/search", params={"q": "☃"}).json()["items"] == []


def test_an_item_shows_all_that_is_known_of_it(client, recommender):
    answer = client.get("/items/P0008").json()
    [row] = recommender.catalog.table.slice(7, 1).to_pylist()
    assert answer["item"] == row
    assert answer["semantic_id"] == recommender.semantic_ids.codes[7].tolist()


def test_ids_with_any_sign_are_found_and_values_without_json_are_shown(recommender, make_app):
    rows = [{"item_id": "a/b?c#é", "title": None, "price": math.nan, "raw": b"\xff"}]

    class Odd(Stand):
        catalog = Catalog.from_table(pa.Table.from_pylist(rows))

    with TestClient(make_app(Odd(recommender))) as client:
        item = client.get("/items/a%2Fb%3Fc%23%C3%A9").json()["item"]
        assert item == {"item_id": "a/b?c#é", "title": None, "price": None, "raw": "_w=="}
        assert client.get("/items/a%2Fb").status_code == 404


def test_titles_are_what_the_recommender_writes(recommender, make_app):
    near = (NearestItem("P0001", "Tent", 0.5),)

    ids = recommender.catalog.item_ids

    class Writer(Stand):
        def write(self, histories, n, settings):
            title = f"{settings.mode} {settings.seed}"
            return [[WrittenTitle(title, -1.5, near, ids[history[0]])] * n for history in histories]

    with TestClient(make_app(Writer(recommender))) as client:
        body = {"history": ["P0004"], "n": 2, "mode": "sample", "seed": 7}
        answer = client.post("/titles", json=body).json()
        written = {
            "title": "sample 7",
            "score": -1.5,
            "nearest": [vars(near[0])],
            "item_id": "P0004",
        }
        assert answer["titles"] == [written] * 2
        many = client.post("/titles", json={"histories": [["P0004"], ["P0005"]], "n": 1}).json()
        assert [len(user["titles"]) for user in many["results"]] == [1, 1]


def test_titles_that_were_not_learned_are_refused_with_what_to_do(client):
    answer = client.post("/titles", json={"history": ["P0001"]})
    assert answer.status_code == 422
    assert "tasks.next-title" in answer.json()["error"]


def test_items_come_and_go(recommender, make_app):
    change = Change(recommender)
    with TestClient(make_app(change, tokens=[TOKEN]), headers=BEARER) as client:
        new = {"item_id": "N1", "title": "Tent", "price": 5, "categories": ["Camping"]}
        answer = client.post("/items", json={"items": [new, {"item_id": "N2"}]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["snapshot"] == 2
        missing = {"title": None, "price": None, "categories": None}
        assert change.calls == [[new, {"item_id": "N2"} | missing]]
        answer = client.delete("/items/P0001")
        assert answer.json()["snapshot"] == 3
        assert client.delete("/items/gone").status_code == 404


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([{"item_id": "N1", "price": "dear"}], ("price", "double", "'N1'", "'dear'")),
        ([{"item_id": "N0"}, {"item_id": "N1", "price": "1"}], ("price", "'N1'", "'1'")),
        ([{"item_id": "N1", "price": ["x"]}], ("price", "'N1'", "['x']")),
        ([{"item_id": "N1", "price": [1]}], ("price",)),
        ([{"item_id": "N1"}, {"item_id": "N1", "price": 3.5}], ("'N1'", "price")),
        ([{"item_id": " "}], ("item_id",)),
        ([{"title": "Tent"}], ("items[0].item_id is missing",)),
        ([{"item_id": "N1", "color": 1}, {"item_id": "N2", "color": "red"}], ("color",)),
        ([{"item_id": "N1", "price": {"a": 1}}], ("price",)),
        ([{"item_id": "N1", "rank": 1 << 80}], ("rank",)),
        ([], ("items", "at least 1")),
    ],
)
def test_items_that_are_no_catalog_are_refused(recommender, make_app, items, says):
    with TestClient(make_app(Change(recommender), tokens=[TOKEN]), headers=BEARER) as client:
        answer = client.post("/items", json={"items": items})
        assert answer.status_code == 422, answer.text
        for word in says:
            assert word in answer.json()["error"]
        assert client.get("/health").json()["snapshot"] == 1


def test_a_served_catalog_splits_lists_and_refuses_what_spoils_a_column(recommender, make_app):
    table, N = recommender.catalog.table, len(recommender.catalog)
    table = table.append_column("weight", pa.array([f"{i}.5" for i in range(N)]))
    table = table.append_column(
        "tags", pa.array(["new|adult" if i % 2 else "new" for i in range(N)])
    )
    shop = recommender.changed(catalog=Catalog.from_table(table))
    with TestClient(make_app(shop, tokens=[TOKEN]), headers=BEARER) as client:
        body = {"history": [], "k": N, "where": ["tags!=adult", "weight<50"]}
        for _ in range(2):
            found = client.post("/recommend", json=body).json()["recommendations"]
            even = [
                item for i, item in enumerate(recommender.catalog.item_ids) if not i % 2 and i < 50
            ]
            assert sorted(item["item_id"] for item in found) == sorted(even)
            new = {"item_id": "N1", "title": "Tent", "weight": "$1.50"}
            refused = client.post("/items", json={"items": [new]})
            assert refused.status_code == 422
            assert all(
                word in refused.json()["error"] for word in ("'N1'", "weight", "'$1.50'", "number")
            )


@pytest.mark.parametrize(
    ("given", "kept", "where"),
    [
        (9.5, "9.5", "x=9.5"),
        (7, "7", "x=7"),
        (True, "true", None),
        (["a", "b"], '["a", "b"]', None),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_values_of_any_type_are_taken_by_a_column_of_text(
    recommender, make_app, given, kept, where, method
):
    table, N = recommender.catalog.table, len(recommender.catalog)
    held = "false" if given is True else "w"
    texts = pa.array([f"{i}.25" if where else held for i in range(N)])
    shop = recommender.changed(catalog=Catalog.from_table(table.append_column("x", texts)))
    item = "P0001" if method == "PATCH" else "N1"
    body = {"items": [{"item_id": item, "x": given}]}
    with TestClient(make_app(shop, tokens=[TOKEN]), headers=BEARER) as client:
        answer = client.request(method, "/items", json=body)
        assert answer.status_code == 200, answer.text
        assert client.get(f"/items/{item}").json()["item"]["x"] == kept
        if where:
            body = {"history": [], "k": 5, "where": [where]}
            found = client.post("/recommend", json=body).json()["recommendations"]
            assert [one["item_id"] for one in found] == [item]


def test_the_catalog_lives(recommender, make_app):
    with TestClient(make_app(recommender, tokens=[TOKEN]), headers=BEARER) as client:
        first = client.get("/health").json()["catalog"]
        new = {"item_id": "N1", "title": "Ironbark Tent", "brand": "Ironbark", "price": 30}
        added = client.post("/items", json={"items": [new]}).json()
        assert added["items"] == len(recommender.catalog) + 1
        assert client.get("/items/N1").json()["item"]["brand"] == "Ironbark"
        assert client.get("/items/P0001").json()["catalog"] == added["catalog"] != first
        only = {"history": ["P0001"], "allow": ["N1"]}
        [found] = client.post("/recommend", json=only).json()["recommendations"]
        assert found["item_id"] == "N1"
        assert client.get("/search?q=Ironbark Tent").json()["items"][0]["item_id"] == "N1"
        assert client.delete("/items/N1").json()["items"] == len(recommender.catalog)
        gone = client.post("/recommend", json=only)
        assert (gone.status_code, "'N1'" in gone.text) == (422, True)
        assert client.get("/health").json()["catalog"] == first


def test_items_change_by_the_columns_that_are_given(recommender, make_app):
    with TestClient(make_app(recommender, tokens=[TOKEN]), headers=BEARER) as client:
        first = client.get("/items/P0001").json()
        other = client.get("/items/P0002").json()
        cheap = {"item_id": "P0001", "price": 1.25}
        named = {"item_id": "P0002", "title": "Ironbark Tent"}
        new = {"item_id": "N1", "title": "Tin cup", "price": 2}
        answer = client.patch("/items", json={"items": [cheap, named, new]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"] == len(recommender.catalog) + 1
        now = client.get("/items/P0001").json()
        assert now["item"] == first["item"] | {"price": 1.25}
        assert now["semantic_id"] == first["semantic_id"]
        assert now["catalog"] != first["catalog"]
        now = client.get("/items/P0002").json()
        assert now["item"] == other["item"] | {"title": "Ironbark Tent"}
        assert client.get("/search?q=Ironbark Tent").json()["items"][0]["item_id"] == "P0002"
        only = {"history": ["P0003"], "where": ["price<1.3"], "allow": ["P0001", "P0002"]}
        [found] = client.post("/recommend", json=only).json()["recommendations"]
        assert found["item_id"] == "P0001"
        refused = client.patch("/items", json={"items": [cheap, {"item_id": "P0001", "cost": 1}]})
        assert refused.status_code == 422
        assert "the catalog has no such column" in refused.json()["error"]


def test_what_adding_refuses_is_told(recommender, make_app):
    class Strict(Change):
        def add_items(self, items):
            raise InputError("the column 'size' is missing: add it")

    with TestClient(make_app(Strict(recommender), tokens=[TOKEN]), headers=BEARER) as client:
        answer = client.post("/items", json={"items": [{"item_id": "N1"}]})
        assert answer.status_code == 422
        assert answer.json() == {"error": "the column 'size' is missing: add it"}


def test_metrics_count_requests_batches_and_refusals(recommender, make_app):
    with TestClient(make_app(recommender)) as client:
        client.post("/recommend", json={"histories": [[], ["P0001"]]})
        client.post("/recommend", json={})
        client.get("/items/P0001")
        text = client.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert lines['genrec_requests_total{route="/recommend",status="200"}'] == "1.0"
    assert lines['genrec_requests_total{route="/recommend",status="422"}'] == "1.0"
    assert lines['genrec_requests_total{route="/items/{item_id}",status="200"}'] == "1.0"
    assert lines["genrec_batch_rows_sum"] == "2.0"
    assert lines["genrec_catalog_items"] == "120.0"
    assert float(lines["process_resident_memory_bytes"]) > 1e6


def test_openapi_has_an_example_and_a_problem_for_every_route(client):
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {
        ("post", "/recommend"),
        ("post", "/titles"),
        ("get", "/search"),
        ("get", "/items/{item_id}"),
        ("post", "/items"),
        ("patch", "/items"),
        ("delete", "/items/{item_id}"),
        ("post", "/reload"),
        ("get", "/tree"),
        ("get", "/health"),
        ("get", "/metrics"),
    }
    for name, operation in operations.items():
        content = operation["responses"]["200"]["content"]
        for kind, found in content.items():
            if kind == "application/json":
                schema = schemas[found["schema"]["$ref"].rsplit("/", 1)[1]]
                assert schema["examples"], name
            else:
                assert found["example"], name
        body = operation.get("requestBody", {}).get("content", {})
        for found in body.values():
            assert schemas[found["schema"]["$ref"].rsplit("/", 1)[1]]["examples"], name
        for parameter in operation.get("parameters", []):
            assert parameter["schema"].get("examples") or parameter.get("examples"), name
        assert "500" in operation["responses"], name
        assert operation["summary"], name
        assert operation["description"], name
    assert "HTTPValidationError" not in json.dumps(document["paths"])


def test_a_snapshot_is_warm(recommender):
    stand = Stand(recommender)
    assert Snapshot.of(stand, 3).number == 3
    assert stand.calls == [([[]], Request(k=1))]
