"""Reasons: what a recommendation's score changes by without an item of the history, against slow oracles."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from genrec import Catalog, FitSettings, GenerativeRecommender, Histories, InputError, Interactions
from genrec.recommender.components import joined
from genrec.recommender.explain import LEAST_FALL, explain
from genrec.recommender.mixture import mix
from genrec.recommender.request import Request

HISTORIES = [
    ["P0001"],
    ["P0003", "P0001", "P0017", "P0003", "P0044", "P0060", "P0003"],
    [],
    [f"P{place:04d}" for place in range(5, 60, 2)],
]
"""One item; one item three times; none; more items than the language model reads."""


def with_settings(recommender, **parts):
    """The same recommender, some parts of its settings set otherwise."""
    parts = {"text_model": {"weight": 0.2}, **parts}
    changed = {name: getattr(recommender.settings, name).replace(**v) for name, v in parts.items()}
    settings = recommender.settings.replace(**changed)
    return recommender.changed(
        settings=settings,
    )


def wide_memory(recommender, items):
    """Settings of a memory that hears so many items of a history, with weight for counts and texts."""
    counts = recommender.settings.memory.counts
    recency = counts.recency.replace(max_history=items, decay=0.9)
    counts = counts.replace(recency=recency)
    return {"weight": 0.3, "text_weight": 0.2, "counts": counts, "text_recency": recency}


@pytest.fixture(scope="module")
def short_sighted(recommender):
    """A language model that reads five items beside a memory that hears eight."""
    memory = wide_memory(recommender, 8)
    parts = {"training": {"max_items": 5}, "text_model": {"weight": 0.0}}
    return with_settings(recommender, memory=memory, **parts)


VARIANTS = {
    "as fitted": lambda r: r,
    "short-sighted": lambda r: with_settings(
        r, memory=wide_memory(r, 8), training={"max_items": 5}
    ),
    "memory alone is short-sighted": lambda r: with_settings(
        r, memory=wide_memory(r, 2), training={"max_items": 9}
    ),
    "no memory": lambda r: r.alone(),
    "other scores": lambda r: with_settings(r, search={"normalization": "level"}),
}


def without(history, item):
    return [other for other in history if other != item]


def ids_of_reasons(found):
    return [[[reason.item_id for reason in item.reasons] for item in row] for row in found]


def scores_of(recommender, history, items):
    """Scores of items after one history, from a search that may return nothing else."""
    [found] = recommender.recommend([history], k=len(items), allow=items, exclude_seen=False)
    by_id = {item.item_id: item.score for item in found}
    return np.array([by_id[item] for item in items])


def assert_reasons(found, history, changes, n):
    """Compare reasons with the oracle's changes, ``{item of the history: (k,)}``."""
    for place, item in enumerate(found):
        falls = {gone: change[place] for gone, change in changes.items()}
        expected = sorted(falls, key=falls.get)[:n]
        sure = [gone for gone in expected if falls[gone] < -2 * LEAST_FALL]
        assert [r.item_id for r in item.reasons][: len(sure)] == sure
        assert len(item.reasons) <= sum(falls[gone] < -LEAST_FALL / 2 for gone in expected)
        for reason in item.reasons:
            assert reason.score_change == pytest.approx(falls[reason.item_id], abs=1e-4)
            assert reason.item_id in history


@pytest.mark.parametrize("variant", VARIANTS)
def test_reasons_are_what_one_call_for_every_reduced_history_says(recommender, variant):
    model = VARIANTS[variant](recommender)
    told = 0
    for history, found in zip(HISTORIES, model.recommend(HISTORIES, k=6, explain=3), strict=True):
        items = [item.item_id for item in found]
        whole = scores_of(model, history, items)
        changes = {i: scores_of(model, without(history, i), items) - whole for i in set(history)}
        assert_reasons(found, history, changes, 3)
        told += sum(len(item.reasons) for item in found)
    assert told > 10


@pytest.mark.parametrize("where", [[], ["price<100"]], ids=["all", "filtered"])
def test_with_a_query_too(recommender, where):
    """With a beam for every item, so that the oracle knows all that the words fit."""
    model = with_settings(recommender, search={"beams": 120}, memory=wide_memory(recommender, 8))
    words = {"query": "trail bike helmet", "where": where}
    found = model.recommend(HISTORIES, k=6, explain=2, **words)
    bases, told = set(), 0
    for history, row in zip(HISTORIES, found, strict=True):
        asked = {"k": 120, "deny": history, "exclude_seen": False, **words}

        def scores(reduced, row=row, asked=asked):
            by_id = {i.item_id: i.score for i in model.recommend([reduced], **asked)[0]}
            return np.array([by_id[item.item_id] for item in row])

        whole = scores(history)
        changes = {gone: scores(without(history, gone)) - whole for gone in set(history)}
        assert_reasons(row, history, changes, 2)
        bases |= {item.basis for item in row}
        told += sum(len(item.reasons) for item in row)
    assert len(bases) > 1
    assert told > 10


def test_explaining_changes_no_recommendation_and_no_batch_changes_a_reason(recommender):
    plain = recommender.recommend(HISTORIES, k=5)
    together = recommender.recommend(HISTORIES, k=5, explain=2)
    assert [[replace(i, reasons=None) for i in row] for row in together] == plain
    for history, row in zip(HISTORIES, together, strict=True):
        [alone] = recommender.recommend([history], k=5, explain=2)
        assert ids_of_reasons([alone]) == ids_of_reasons([row])
        for one, other in zip(alone, row, strict=True):
            changes = [[r.score_change for r in item.reasons] for item in (one, other)]
            np.testing.assert_allclose(*changes, atol=1e-4)


def test_many_users_are_explained_in_parts(recommender, monkeypatch):
    expected = recommender.recommend(HISTORIES * 2, k=3, explain=2)
    monkeypatch.setattr("genrec.recommender.explain.MOST_ROWS", 3)
    found = recommender.recommend(HISTORIES * 2, k=3, explain=2)
    assert ids_of_reasons(found) == ids_of_reasons(expected)


def test_nothing_is_a_reason_where_there_is_no_history(recommender):
    for query in (None, "helmet"):
        [row] = recommender.recommend([[]], k=4, query=query, explain=3)
        assert [item.reasons for item in row] == [()] * 4
    [row] = recommender.recommend([["P0001"]], k=4)
    assert [item.reasons for item in row] == [None] * 4
    assert "reasons" not in row[0].facts()


def test_fewer_items_than_asked_for_are_explained(recommender):
    allow = ["P0010", "P0011"]
    [row] = recommender.recommend([HISTORIES[1]], k=5, allow=allow, explain=2)
    changes = {
        gone: scores_of(recommender, without(HISTORIES[1], gone), [i.item_id for i in row])
        - scores_of(recommender, HISTORIES[1], [i.item_id for i in row])
        for gone in HISTORIES[1]
    }
    assert {item.item_id for item in row} == set(allow)
    assert_reasons(row, HISTORIES[1], changes, 2)


def test_an_item_heard_by_nobody_has_no_effect_and_costs_nothing(short_sighted, monkeypatch):
    """Of a hundred items eight are heard, and of these five by the language model."""
    history = [f"P{place:04d}" for place in range(1, 101)]
    rows, score = [], GenerativeRecommender.score
    monkeypatch.setattr(
        GenerativeRecommender,
        "score",
        lambda self, h, *rest: rows.append(len(h)) or score(self, h, *rest),
    )
    [found] = short_sighted.recommend([history], k=5, explain=100)
    assert rows == [9]
    assert {r.item_id for item in found for r in item.reasons} <= set(history[-8:])
    [alone] = short_sighted.alone().recommend([history], k=5, explain=100)
    assert rows[1:] == [6]
    assert {r.item_id for item in alone for r in item.reasons} <= set(history[-5:])


def test_the_language_model_is_not_asked_twice_for_the_same_prompt(short_sighted):
    """The three items that only the memory hears leave what the language model reads as it is."""
    history = np.arange(1, 9, dtype=np.int32)
    less = [history, *(history[history != item] for item in (1, 2, 3))]
    items = np.tile(np.array([[50, 60]], np.int32), (4, 1))
    alone = short_sighted.alone().score(Histories.of(less), items)
    assert (alone == alone[0]).all()


@pytest.mark.parametrize("wrong", [-1, 1.5, "2"])
def test_no_other_number_of_reasons_can_be_asked_for(recommender, wrong):
    with pytest.raises(InputError, match="explain = "):
        recommender.recommend([["P0001"]], explain=wrong)


def test_given_items_get_the_scores_of_a_ranking(recommender):
    """With a beam for every item; and where only some are ranked, what is not is impossible there alone."""
    model = with_settings(recommender, search={"beams": 120}, memory=wide_memory(recommender, 8))
    histories = Histories.of([model.catalog.index_of(history) for history in HISTORIES])
    ranking = model.rank(histories, 120, exclude_seen=False)
    found = model.score(histories, ranking.items)
    np.testing.assert_allclose(found, ranking.scores, atol=1e-4)
    few = model.alone().rank(histories, 10, exclude_seen=False)
    parts = {part.name: part.scores(histories) for part in model.components}
    mixed = mix(few, joined(parts, model.settings)[0], 10)
    named_by_model = np.array([np.isin(a, b) for a, b in zip(mixed.items, few.items, strict=True)])
    again = model.score(histories, mixed.items)
    np.testing.assert_allclose(again[named_by_model], mixed.scores[named_by_model], atol=1e-4)
    assert (again >= mixed.scores - 1e-4).all()


@pytest.fixture(scope="module")
def planted(quick_settings):
    """A shop where whoever buys a lens buys its cap next; all else is bought in any order."""
    rng = np.random.default_rng(5)
    names = ["lens", "cap", *(f"thing {chr(97 + n % 26)}{n}" for n in range(38))]
    ids = [f"I{n}" for n in range(40)]
    catalog = Catalog.from_table(pa.table({"item_id": ids, "title": names}))
    bought = rng.integers(2, 40, (300, 6), np.int32)
    bought[::2, 1:3] = 0, 1
    log = Interactions.of_histories(catalog, Histories.of(list(bought)))
    counts = {"recency": {"decay": 1.0}, "logarithm": False, "distance_power": 1.0}
    memory = {"weight": 0.5, "text_weight": 0.0, "counts": counts}
    alone = {"memory": memory, "text_model": {"weight": 0.0}}
    settings = FitSettings.model_validate(quick_settings | alone)
    return GenerativeRecommender.fit(catalog, log, settings)


@pytest.mark.parametrize("place", range(4))
def test_the_item_that_makes_a_recommendation_is_its_reason(planted, place):
    others = ["I7", "I11", "I23"]
    history = [*others[:place], "I0", *others[place:]]
    [found] = planted.recommend([history], k=1, explain=4)
    [lost] = planted.recommend([others], k=1)
    assert [found[0].item_id, lost[0].item_id != "I1"] == ["I1", True]
    first, *rest = found[0].reasons
    assert (first.item_id, first.title) == ("I0", "lens")
    assert first.score_change < -1
    assert all(reason.score_change > first.score_change / 4 for reason in rest)


def test_equal_changes_go_by_catalog_index(recommender, monkeypatch):
    scores = np.array([[0.0, -1.0], [-0.5, -1.0], [-0.5, -3.0], [0.5, -3.0]])
    monkeypatch.setattr(GenerativeRecommender, "score", lambda *_: scores)
    histories = Histories.of([[8, 2, 5]])
    found = recommender.rank(histories, 2, exclude_seen=True)
    first, second = explain(recommender, histories, found, Request(explain=2))[0]
    assert first == [(2, -0.5), (5, -0.5)]
    assert second == [(5, -2.0), (8, -2.0)]
