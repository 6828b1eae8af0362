"""Slices by hand, and the means over them."""

from __future__ import annotations

import doctest

import numpy as np
import pyarrow as pa
import pytest

from genrec.common.errors import InputError
from genrec.data import Catalog, Interactions, cold_items, leave_one_out, temporal, user_holdout
from genrec.data.histories import Cases, Histories
from genrec.data.split import same_time
from genrec.evaluation import Context, Protocol, Ranking, evaluate, slices
from genrec.evaluation.report import shown_metrics, slices_table
from genrec.evaluation.slices import head_items, slices_of

N = 10


class Always:
    """Recommends items 0, 1, 2 … to everyone."""

    name = "always"

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        ranking = Ranking.empty(len(histories), k)
        ranking.items[:, :N] = np.arange(N)[:k]
        ranking.scores[:, :N] = -np.arange(N)[:k]
        return ranking


def make_log(sequences, times=None):
    catalog = Catalog.from_table(pa.table({"item_id": [f"i{i}" for i in range(N)]}))
    columns = {
        "user_id": [f"u{u}" for u, items in enumerate(sequences) for _ in items],
        "item_id": [f"i{i}" for items in sequences for i in items],
    }
    if times is not None:
        columns["timestamp"] = [t for row in times for t in row]
    return Interactions.read(pa.table(columns), catalog=catalog)


@pytest.fixture
def train():
    # Events: item 1 four, item 0 three, item 2 three, item 3 one.
    return Histories.of([[1, 1, 0, 2], [1, 0, 2], [1, 0, 2, 3], []])


@pytest.fixture
def cases():
    histories = Histories.of([[1, 1, 0, 2, 5, 5], [1, 0, 2, 0, 1], [1], [4]])
    return Cases(np.arange(4), histories, np.array([1, 3, 2, 9], np.int32))


def test_worked_examples_in_the_documentation():
    assert doctest.testmod(slices).failed == 0
    assert doctest.testmod(slices).attempted


def test_every_slice_by_hand(train, cases):
    times = np.array([False, True, False, False])
    found = {name: mark.tolist() for name, mark in slices_of(cases, train, N, times).items()}
    # The head: two of ten items, and item 2, which has as many events as the second, item 0.
    assert found == {
        "head": [True, False, True, False],
        "tail": [False, True, False, True],
        "short_history": [False, True, True, True],
        "long_history": [True, False, False, False],
        "cold_item": [False, False, False, True],
        "cold_user": [False, False, False, True],
        "same_time": [False, True, False, False],
    }
    assert "same_time" not in slices_of(cases, train, N)


def test_the_head_of_a_log_without_events_is_empty():
    assert not head_items(np.zeros(5, int)).any()


def test_means_over_slices(train, cases):
    context = Context.of(cases, train, N)
    result = evaluate(Always(), cases, Protocol(ks=(2,)), N, context=context)
    assert result.metrics["recall@2"] == 0.25
    found = {name: (part.cases, part.metrics["recall@2"]) for name, part in result.slices.items()}
    assert found == {
        "head": (2, 0.5),
        "tail": (2, 0),
        "short_history": (3, 0),
        "long_history": (1, 1),
        "cold_item": (1, 0),
        "cold_user": (1, 0),
    }
    assert result.slices["long_history"].confidence["recall@2"] == (1, 1)
    assert result.metrics["gini@2"] == pytest.approx(0.8)
    assert result.metrics["novelty@2"] == pytest.approx(np.mean(-np.log2([4 / 21, 5 / 21])))


def test_cold_items_have_a_column_where_there_are_any(train, cases):
    """Of items 0 to 4, which everyone is shown, item 4 has no training event."""
    context = Context.of(cases, train, N)
    result = evaluate(Always(), cases, Protocol(ks=(2, 5)), N, context=context)
    assert (result.metrics["cold_share@2"], result.metrics["cold_share@5"]) == (0, 0.2)
    assert shown_metrics(result)[-2:] == ["coverage@5", "cold_share@5"]
    warm = Context(counts=np.ones(N, int))
    known = evaluate(Always(), cases, Protocol(ks=(2,)), N, context=warm)
    assert "cold_share@2" not in known.metrics
    assert shown_metrics(known)[-1] == "coverage@2"


def test_an_empty_slice_says_so(train, cases):
    context = Context(slices={"nobody": np.zeros(4, bool)})
    [part] = evaluate(Always(), cases, Protocol(ks=(2,)), N, context=context).slices.values()
    assert part.to_json() == {"cases": 0, "metrics": {}, "confidence": {}}


def test_the_table_of_slices_says_in_words_what_they_are(train, cases):
    marks = {"short_history": [1, 1, 1, 0], "nobody": [0] * 4, "same_time": [0, 1, 0, 0]}
    context = Context(slices={name: np.array(mark, bool) for name, mark in marks.items()})
    table = slices_table(evaluate(Always(), cases, Protocol(ks=(2,)), N, context=context))
    names, counts = ([*column.cells] for column in table.columns[:2])
    assert names == ["short history", "at the time of the event before"]
    assert counts == ["3", "1"]


def test_a_context_of_other_data_is_refused(train, cases):
    with pytest.raises(InputError, match="9 counts for 10 items"):
        evaluate(Always(), cases, Protocol(), N, context=Context(counts=np.zeros(9, int)))
    with pytest.raises(InputError, match="slice 'a' marks 3 cases of 4"):
        evaluate(Always(), cases, Protocol(), N, context=Context(slices={"a": np.ones(3, bool)}))


def test_targets_at_the_time_of_the_event_before():
    log = make_log([[1, 2, 3], [4, 5], [6, 7, 8], [9]], [[1, 2, 2], [5, 6], [1, 1, 3], [4]])
    split = leave_one_out(log)
    assert same_time(log, split.test).tolist() == [True, False, False]
    assert same_time(log, split.valid).tolist() == [False, True]
    cut = temporal(log, 2, 3)
    assert same_time(log, cut.test).tolist() == [False]
    assert same_time(make_log([[1, 2]]), leave_one_out(make_log([[1, 2]])).test) is None


def test_held_out_users_are_cold_users():
    log = make_log([[1, 2, 3], [4, 5], [6, 7, 8], [9, 1, 2], [3, 4, 5], [6, 7]])
    split = user_holdout(log, fraction=0.4)
    for part in (split.valid, split.test):
        assert slices_of(part, split.train, N)["cold_user"].all()
    others = leave_one_out(log)
    assert not slices_of(others.test, others.train, N)["cold_user"].any()


def test_held_out_items_are_cold_items():
    log = make_log([[1, 2, 3], [4, 5, 6], [6, 7, 8], [9, 1, 2], [3, 4, 5], [6, 7]])
    split = cold_items(log, fraction=0.5)
    assert slices_of(split.test, split.train, N)["cold_item"].all()
