"""The tree of semantic IDs, place by place, against a walk through all items."""

import pytest


def walk(recommender, prefix):
    """Items below each next code, found by looking at every item."""
    found = {}
    for place, codes in enumerate(recommender.semantic_ids.codes.tolist()):
        if codes[: len(prefix)] == prefix:
            found.setdefault(codes[len(prefix)], []).append(place)
    return found


def prefixes(recommender):
    rows = recommender.semantic_ids.codes.tolist()
    lengths = range(len(rows[0]))
    return sorted({tuple(codes[:length]) for codes in rows for length in lengths})


def test_every_place_shows_the_items_below_it(client, recommender):
    catalog, levels = recommender.catalog, recommender.semantic_ids.codes.shape[1]
    assert len(prefixes(recommender)) > 5
    for prefix in prefixes(recommender):
        answer = client.get(
            "/tree", params={"prefix": ",".join(map(str, prefix)), "k": 1000}
        ).json()
        below = walk(recommender, list(prefix))
        assert answer["prefix"] == list(prefix)
        assert answer["levels"] == levels
        assert answer["items"] == sum(map(len, below.values()))
        assert answer["children_in_all"] == len(answer["children"]) == len(below)
        assert {child["code"]: child["items"] for child in answer["children"]} == {
            code: len(places) for code, places in below.items()
        }
        for child in answer["children"]:
            places = below[child["code"]]
            titles = [catalog.titles[place] for place in places]
            assert len(child["titles"]) == min(3, len(places))
            assert set(child["titles"]) <= set(titles)
            alone = catalog.item_ids[places[0]] if len(places) == 1 else None
            assert child["item_id"] == alone


def test_children_come_largest_first_and_in_parts(client, recommender):
    whole = client.get("/tree").json()
    sizes = [child["items"] for child in whole["children"]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) > 1
    parts = [client.get(f"/tree?k=3&skip={skip}").json() for skip in range(0, len(sizes) + 3, 3)]
    assert [child for part in parts for child in part["children"]] == whole["children"]
    assert {part["items"] for part in parts} == {len(recommender.catalog)}
    assert parts[-1]["children"] == []


@pytest.mark.parametrize("prefix", ["x", "1,", ",1", "-1", "1.5", "1 ", "²", "9" * 40])
def test_what_is_no_prefix_is_refused(client, prefix):
    answer = client.get("/tree", params={"prefix": prefix})
    assert answer.status_code == 422
    assert "such as 3,17" in answer.json()["error"]
    assert prefix in answer.json()["error"]


def test_a_prefix_that_no_item_has_is_not_found(client, recommender):
    answer = client.get("/tree?prefix=999999999")
    assert answer.status_code == 404
    assert "begins with 999999999" in answer.json()["error"]


def test_below_a_whole_semantic_id_lies_nothing(client, recommender):
    codes = recommender.semantic_ids.codes[0].tolist()
    for given in (codes, [*codes, 0]):
        answer = client.get("/tree", params={"prefix": ",".join(map(str, given))})
        assert answer.status_code == 422
        assert f"at most {len(codes) - 1}" in answer.json()["error"]


@pytest.mark.parametrize("query", ["k=0", "k=1001", "skip=-1", "depth=2", "k=1&k=2"])
def test_options_have_bounds(client, query):
    assert client.get(f"/tree?{query}").status_code == 422
