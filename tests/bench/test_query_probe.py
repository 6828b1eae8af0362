"""Known-item probes: what is asked for, who answers, and that every case is asked its own question."""

import numpy as np
import pytest

from bench.query_probe import Asked, first_items, item_queries, probe_cases, probe_rankers
from genrec.common.errors import DataError, InputError
from genrec.data import split
from genrec.data.histories import Cases, Histories
from genrec.evaluation import Protocol, evaluate
from genrec.evaluation.ranking import Ranking

CASES = Cases(np.arange(3), Histories.of([[4], [], [5, 6]]), np.array([2, 0, 1], np.int32))


def test_every_case_asks_for_its_target_and_brings_its_history():
    queries = ["soap", "", "rope", "", "", "", ""]
    with_history = probe_cases(CASES, queries, histories=True)
    assert [list(history) for history in with_history.histories] == [[2, 4], [0]]
    assert with_history.targets.tolist() == [2, 0]
    assert with_history.users.tolist() == [0, 1]
    without = probe_cases(CASES, queries, histories=False)
    assert [list(history) for history in without.histories] == [[2], [0]]


def test_each_question_is_asked_once_for_all_who_ask_it():
    heard = []

    def find(query, histories, k):
        heard.append((query, [list(history) for history in histories]))
        items = np.full((len(histories), k), len(query), np.int32)
        return Ranking(items, np.zeros((len(histories), k), np.float32))

    ranker = Asked("probe", ["soap", "rope!", "soap"], find)
    found = ranker.rank(Histories.of([[0, 7], [1], [2, 8, 9]]), 1, exclude_seen=False)
    assert found.items.ravel().tolist() == [4, 5, 4]
    assert sorted(heard) == [("rope!", [[]]), ("soap", [[7], [8, 9]])]


def test_who_is_asked_for_a_brand_knows_it_and_who_is_not_does_not(recommender):
    queries = item_queries(recommender.catalog, "brand")
    parts = recommender.split
    cases = probe_cases(parts.test, queries, histories=False)
    protocol = Protocol(ks=(5,), exclude_seen=False)
    found = {
        ranker.name: evaluate(ranker, cases, protocol, len(queries)).results.top
        for ranker in probe_rankers(recommender, queries)
    }
    brands = np.array(queries)
    asked = brands[cases.targets]
    for name in ("genrec, asked", "text neighbours", "text neighbours and popularity"):
        assert (brands[found[name][:, 0]] == asked).all(), name
    for name in ("genrec, not asked", "popularity"):
        assert len(np.unique(found[name], axis=0)) == 1, name
    sold = np.bincount(parts.train.items, minlength=len(queries))
    assert found["popularity"][0, 0] == sold.argmax()


def test_first_items_are_those_of_users_that_were_held_out(shop):
    parts = split.user_holdout(shop.log, 0.2)
    cases = first_items(parts, shop.log)
    assert set(cases.users) == set(parts.valid.users) | set(parts.test.users)
    assert [shop.log.histories[u][0] for u in cases.users] == cases.targets.tolist()
    assert not cases.histories.lengths.any()
    assert not parts.train.lengths[cases.users].any()
    with pytest.raises(InputError, match="split\\.protocol=user-holdout"):
        first_items(split.leave_one_out(shop.log), shop.log)


def test_columns_without_words(recommender):
    with pytest.raises(DataError, match="did you mean 'brand'"):
        item_queries(recommender.catalog, "brands")
    blank = recommender.catalog.table.append_column("note", [[""] * 120])
    with pytest.raises(DataError, match="no item has words there"):
        item_queries(type(recommender.catalog).from_table(blank), "note")
