"""Requests with filters: by attribute, by id, from Python, from the command line, and for many users."""

import json

import pytest

from genrec import Histories, InputError, Interactions
from genrec.cli.request_words import read_ids
from genrec.data import Condition
from genrec.recommender.recommend import recommend
from genrec.recommender.request import Request

HISTORY = ["P0001", "P0002", "P0003"]
FILTERS = {
    "price<100": lambda item: item["price"] < 100,
    "price>=100": lambda item: item["price"] >= 100,
    "brand=Hollin|Garrick Bay": lambda item: item["brand"] in ("Hollin", "Garrick Bay"),
    "brand!=Hollin": lambda item: item["brand"] != "Hollin",
    "categories=Climbing": lambda item: "Climbing" in item["categories"],
    "categories!=Camping|Hiking": lambda i: not {"Camping", "Hiking"} & set(i["categories"]),
}


def meeting(catalog, *where):
    """Ids of the items that meet all of the FILTERS named."""
    rows = catalog.table.to_pylist()
    return [row["item_id"] for row in rows if all(FILTERS[words](row) for words in where)]


def ids_of(found):
    return [item.item_id for item in found]


@pytest.fixture(scope="module")
def whole(recommender):
    """Every unseen item, best first."""
    return ids_of(recommender.recommend([HISTORY], k=120)[0])


@pytest.mark.parametrize("where", [*([words] for words in FILTERS), ["price<100", "brand!=Hollin"]])
def test_where_is_the_whole_ranking_without_the_others(recommender, whole, where):
    meet = meeting(recommender.catalog, *where)
    expected = [item for item in whole if item in meet]
    assert 0 < len(expected) < len(whole)
    found = recommender.recommend([HISTORY], k=120, where=where)[0]
    assert ids_of(found) == expected
    for k in (1, 5):
        few = recommender.recommend([HISTORY, []], k=k, where=where)
        assert [len(row) for row in few] == [k, k]
        assert all(set(ids_of(row)) <= set(meet) for row in few)


def test_conditions_allow_deny_and_seen_must_all_hold(recommender, whole):
    where = ["price<100", "brand!=Hollin"]
    meet = meeting(recommender.catalog, *where)
    allow = [*recommender.catalog.item_ids[::2], HISTORY[0]]
    expected = [item for item in whole if item in meet and item in allow][1:]
    deny = [item for item in whole if item in meet and item in allow][:1]
    found = recommender.recommend([HISTORY], k=120, where=where, allow=allow, deny=deny)[0]
    assert ids_of(found) == expected
    as_objects = [Condition("price", "<", ("100",)), Condition.parse(where[1])]
    again = recommender.recommend([HISTORY], k=120, where=as_objects, allow=allow, deny=deny)[0]
    assert again == found


def test_nothing_meets_the_conditions(recommender):
    assert recommender.recommend([HISTORY, []], where=["price<0"]) == [[], []]
    assert recommender.recommend([[]], where=["price<100"], allow=[]) == [[]]
    impossible = meeting(recommender.catalog, "price>=100")
    assert recommender.recommend([[]], where=["price<100"], allow=impossible) == [[]]


def test_conditions_are_a_list(recommender):
    with pytest.raises(InputError, match=r"put it in a list: \['price<20'\]"):
        recommender.recommend([HISTORY], where="price<20")


def ask(command, folder, *words):
    answer = command("recommend", folder, "--history", ",".join(HISTORY), "-k", 120, *words)
    assert answer.status == 0, answer.err
    return answer


def test_where_on_the_command_line(command, recommender_folder, recommender):
    where = ("price<100", "categories=Climbing")
    words = ["--where", where[0], "--where", where[1], "--json"]
    found = ask(command, recommender_folder, *words).json["recommendations"]
    expected = recommender.recommend([HISTORY], k=120, where=where)[0]
    assert found == [item.facts() for item in expected]
    assert len(found) > 2


@pytest.mark.parametrize("words", [[], ["--json"], ["--input", "users.csv", "--output", "o.jsonl"]])
def test_a_filter_that_leaves_nothing_is_told(
    command, recommender_folder, tmp_path, monkeypatch, caplog, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.csv").write_text("user_id,item_id\nu,P0001\n")
    who = [] if "--input" in words else ["--history", "P0001"]
    filters = ["--where", "price<0", "--where", "price<100"]
    answer = command("--quiet", "recommend", recommender_folder, *who, *words, *filters)
    assert answer.status == 0
    note, *others = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert note.startswith(
        "no item meets all of --where: of 120 items 'price<0' leaves 0, 'price<100'"
    )
    assert [words for words in others if not words.startswith("1 of 1 users got no")] == []
    assert len(others) == (who == [])
    if "--json" in words:
        assert answer.json == {"recommendations": []}
    if who == []:
        assert json.loads((tmp_path / "o.jsonl").read_text())["recommendations"] == []


def test_where_for_many_users(command, recommender_folder, recommender, tmp_path):
    users = tmp_path / "users.csv"
    users.write_text("user_id,item_id\nu,P0001\nv,P0009\nu,P0002\n")
    target = tmp_path / "out.jsonl"
    words = ["--input", users, "--output", target, "-k", 4, "--where", "price<100"]
    assert command("recommend", recommender_folder, *words).status == 0
    expected = recommender.recommend([["P0001", "P0002"], ["P0009"]], k=4, where=["price<100"])
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["recommendations"] for line in lines] == [
        [i.facts() for i in row] for row in expected
    ]


def test_allow_and_deny_from_files(command, recommender_folder, recommender, tmp_path, whole):
    (tmp_path / "stock.txt").write_bytes(b"\xef\xbb\xbfP0004\r\n\n  P0005 \nP0006\nP0001")
    (tmp_path / "gone.txt").write_text("P0005\n")
    words = [
        "--allow",
        f"@{tmp_path / 'stock.txt'}",
        "--deny",
        f"@{tmp_path / 'gone.txt'}",
        "--json",
    ]
    found = ask(command, recommender_folder, *words).json["recommendations"]
    expected = [item for item in whole if item in ("P0004", "P0006")]
    assert [item["item_id"] for item in found] == expected


def test_ids_with_commas_come_from_a_file(tmp_path):
    import pyarrow as pa

    from genrec import Catalog

    catalog = Catalog.from_table(pa.table({"item_id": ["a,b", "@c"]}))
    (tmp_path / "ids").write_text("a,b\n@c\n")
    assert read_ids(f"@{tmp_path / 'ids'}", catalog) == ["a,b", "@c"]


def test_a_request_is_answered_as_the_options_of_recommend_are(recommender):
    where = ("price<100", Condition("brand", "=", ("Hollin",)))
    options = {"k": 3, "where": where, "query": "tent", "deny": ["P0003"], "explain": 1}
    [found] = recommend(recommender, [HISTORY], Request(**options))
    assert found == recommender.recommend([HISTORY], **options)[0]
    [kept] = recommend(recommender, [HISTORY], Request(k=120, exclude_seen=False))
    assert {item.item_id for item in kept} > set(HISTORY)
    [allowed] = recommend(recommender, [HISTORY], Request(allow=["P0007", "P0009"]))
    assert {item.item_id for item in allowed} == {"P0007", "P0009"} - set(HISTORY)


def test_a_request_cleans_its_query_and_counts_what_is_wanted():
    assert Request(query="  a\tgift ").checked(True).query == "a gift"
    for wrong in ({"k": 0}, {"k": 1.5}, {"explain": -1}, {"query": " "}, {"allow": "P0001"}):
        with pytest.raises(InputError):
            Request(**wrong).checked(True)


class TestParts:
    """Parts of an interrupted run are used for the same filter on the same catalog only."""

    def key(self, recommender, request):
        from genrec.serving.user_files import _fingerprint

        log = Interactions.of_histories(recommender.catalog, Histories.of([[1, 2]]))
        return _fingerprint(recommender, log, request)

    def test_of_another_filter(self, recommender):
        filters = ((), ("price<100",), ("price<101",), ("price<100", "brand!=Hollin"))
        conditions = (Condition("brand", "=", ("Hollin",)),)
        keys = [self.key(recommender, Request(where=where)) for where in (*filters, conditions)]
        assert len(set(keys)) == 5
        assert keys[1] == self.key(recommender, Request(where=("price<100",)))

    def test_of_other_prices(self, recommender):
        from dataclasses import replace

        import pyarrow as pa

        from genrec import Catalog

        table = recommender.catalog.table
        cheaper = table.set_column(
            table.column_names.index("price"), "price", pa.array([1.0] * len(table))
        )
        repriced = replace(recommender, catalog=Catalog.from_table(cheaper))
        request = Request(where=("price<100",))
        assert self.key(repriced, request) != self.key(recommender, request)
        assert self.key(repriced, Request()) == self.key(recommender, Request())
