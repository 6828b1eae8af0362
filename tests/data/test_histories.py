"""Ragged sequences against plain lists."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.data.histories import Cases, Histories

sequences = st.lists(st.lists(st.integers(0, 50), max_size=6), max_size=8)


def as_lists(histories):
    return [history.tolist() for history in histories]


@given(sequences)
def test_round_trip(lists):
    histories = Histories.of(lists)
    assert as_lists(histories) == lists
    assert len(histories) == len(lists)
    assert histories.lengths.tolist() == [len(sequence) for sequence in lists]


@given(sequences, st.integers(1, 7))
def test_last_keeps_the_newest(lists, n):
    assert as_lists(Histories.of(lists).last(n)) == [sequence[-n:] for sequence in lists]


@given(sequences.filter(len), st.data())
def test_take_repeats_and_reorders(lists, data):
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10))
    taken = Histories.of(lists).take(np.array(chosen, int))
    assert as_lists(taken) == [lists[u] for u in chosen]


def test_negative_positions_count_from_the_end():
    assert Histories.of([[1], [2, 3]])[-1].tolist() == [2, 3]


def test_cases_are_taken_together():
    cases = Cases(np.array([7, 8]), Histories.of([[1], [2, 3]]), np.array([4, 5], np.int32))
    second = cases.take(np.array([1]))
    assert (second.users.tolist(), as_lists(second.histories), second.targets.tolist()) == (
        [8],
        [[2, 3]],
        [5],
    )


def test_repeats_are_what_stood_there_before():
    histories = Histories.of([[3, 5, 3, 3], [], [5], [1, 2]])
    assert histories.repeats == (2, 4)
    assert Histories.of([]).repeats == (0, 0)
