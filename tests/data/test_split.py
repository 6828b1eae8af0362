from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.errors import DataError
from genrec.data import (
    Cases,
    Catalog,
    Histories,
    Interactions,
    Split,
    cold_items,
    leave_one_out,
    temporal,
    user_holdout,
)
from genrec.data.split import learning_validation, with_fewer_users
from genrec.data.split_settings import SplitSettings

N = 12


def make_log(sequences: list[list[int]], times: list[list[int]] | None = None) -> Interactions:
    catalog = Catalog.from_table(pa.table({"item_id": [f"i{i}" for i in range(N)]}))
    columns: dict[str, list[object]] = {
        "user_id": [f"u{u}" for u, items in enumerate(sequences) for _ in items],
        "item_id": [f"i{i}" for items in sequences for i in items],
    }
    if times is not None:
        columns["timestamp"] = [t for row in times for t in row]
    return Interactions.read(pa.table(columns), catalog=catalog)


def lists(histories: Histories) -> list[list[int]]:
    return [h.tolist() for h in histories]


def cases(part: Cases) -> list[tuple[int, list[int], int]]:
    users, targets = part.users.tolist(), part.targets.tolist()
    return list(zip(users, lists(part.histories), targets, strict=True))


def test_leave_one_out_by_hand() -> None:
    split = leave_one_out(make_log([[1, 2, 3, 4], [5], [6, 7], [8, 9, 8]]))
    assert lists(split.train) == [[1, 2], [5], [6], [8]]
    assert cases(split.valid) == [(0, [1, 2], 3), (3, [8], 9)]
    assert cases(split.test) == [(0, [1, 2, 3], 4), (2, [6], 7), (3, [8, 9], 8)]
    assert split.protocol == "leave-one-out"
    assert split.notes == (
        "1 users with two interactions have no validation case",
        "1 users with a single interaction have no case",
    )
    assert split.test.users.dtype == np.int64
    assert split.test.targets.dtype == np.int32
    assert split.train.offsets.dtype == np.int64


def test_learning_validation_by_hand() -> None:
    """What validated is trained on, whole users of a hold-out too; what tests stays where it was."""
    log = make_log([[1, 2, 3, 4], [5], [6, 7], [8, 9, 8]])
    before = leave_one_out(log)
    split = learning_validation(before, log)
    assert lists(split.train) == [[1, 2, 3], [5], [6], [8, 9]]
    assert len(split.valid) == 0
    assert cases(split.test) == cases(before.test)
    assert split.protocol == "leave-one-out, validation trained on"
    assert SplitSettings(hold_out="test").apply(log, 0).protocol == split.protocol
    held = user_holdout(log, 0.34, seed=1)
    [user] = held.valid.users
    whole = learning_validation(held, log)
    assert lists(whole.train)[user] == lists(log.histories)[user]
    assert lists(whole.train)[held.test.users[0]] == []


def test_cold_items_are_not_to_be_trained_on() -> None:
    with pytest.raises(ValueError, match=r"split\.hold_out = test would train on items"):
        SplitSettings(protocol="cold-items", hold_out="test")


def test_temporal_by_hand() -> None:
    log = make_log(
        [[1, 2, 3, 4, 5], [6, 7], [8, 9], [10]],
        [[1, 9, 10, 20, 21], [10, 19], [2, 20], [30]],
    )
    split = temporal(log, valid_from=10, test_from=20)
    assert lists(split.train) == [[1, 2], [], [8], []]
    assert cases(split.valid) == [(0, [1, 2], 3)]
    assert cases(split.test) == [(0, [1, 2, 3], 4), (2, [8], 9)]
    assert split.notes == (
        "1 users have no history before the test and so no case",
        "1 users have nothing to predict in the test",
    )
    assert split.protocol == "temporal(valid_from=10, test_from=20)"


def test_temporal_refusals() -> None:
    with pytest.raises(DataError, match="needs timestamps"):
        temporal(make_log([[1, 2]]), 1, 2)
    with pytest.raises(DataError, match="every user's first timestamp is 0"):
        temporal(make_log([[1, 2], [3, 4]], [[0, 5], [0, 9]]), 1, 2)
    log = make_log([[1, 2], [3, 4]], [[0, 5], [1, 9]])
    with pytest.raises(DataError, match="must come before"):
        temporal(log, 5, 5)
    with pytest.raises(DataError, match="leaves no test case; choose cuts between 0 and 9"):
        temporal(log, 50, 60)
    with pytest.raises(DataError, match="in their unit"):
        temporal(log, "2024-01-01", "2024-02-01")


def test_temporal_takes_dates_where_the_log_holds_dates() -> None:
    catalog = Catalog.from_table(pa.table({"item_id": ["a", "b", "c"]}))
    columns = {"user_id": ["u"] * 3, "item_id": ["a", "b", "c"]}
    days = ["2024-01-01", "2024-02-01", "2024-03-01"]
    log = Interactions.read(pa.table(columns | {"timestamp": days}), catalog=catalog)
    split = temporal(log, "2024-02-01", "2024-02-02T12:00")
    assert cases(split.valid) == [(0, [0], 1)]
    assert cases(split.test) == [(0, [0, 1], 2)]
    with pytest.raises(DataError, match="ISO date"):
        temporal(log, "yesterday", "2024-03-01")


def test_user_holdout() -> None:
    sequences = [[1, 2, 3]] * 18 + [[4]] * 2
    log = make_log(sequences)
    split = user_holdout(log, fraction=0.2, seed=1)
    held = set(split.valid.users.tolist()) | set(split.test.users.tolist())
    assert len(split.valid) == len(split.test) == 3
    assert len(held) == 6
    expected = [[] if u in held else items for u, items in enumerate(sequences)]
    assert lists(split.train) == expected
    assert all(case[1:] == ([1, 2], 3) for case in cases(split.test))
    again, other = user_holdout(log, 0.2, seed=1), user_holdout(log, 0.2, seed=2)
    assert again.test.users.tolist() == split.test.users.tolist()
    assert other.test.users.tolist() != split.test.users.tolist()
    for fraction in (0.0, 0.5, -1.0):
        with pytest.raises(DataError, match=r"above 0 and below 0.5"):
            user_holdout(log, fraction)
    with pytest.raises(DataError, match="needs three"):
        user_holdout(make_log([[1, 2], [3]]))


def test_cold_items_never_train_and_are_all_targets() -> None:
    random = np.random.default_rng(0)
    log = make_log(random.integers(0, N, (200, 6)).tolist())
    split = cold_items(log, fraction=0.25, seed=3)
    targets = set(split.test.targets.tolist()) | set(split.valid.targets.tolist())
    assert len(targets) == 3
    assert targets.isdisjoint(split.train.items.tolist())
    assert set(split.train.items.tolist()) | targets == set(range(N))
    whole = leave_one_out(log)
    assert cases(split.test) == [case for case in cases(whole.test) if case[2] in targets]
    assert cases(split.valid) == [case for case in cases(whole.valid) if case[2] in targets]
    assert lists(split.train) == [[i for i in h if i not in targets] for h in lists(whole.train)]
    assert split.notes[0] == "3 of 12 items are cold"


def test_cold_items_without_a_case() -> None:
    log = make_log([[0, 1, 1], [2, 3, 1]])  # one item is cold: a case exists only if it is item 1
    seeds = range(12)
    cold = [int(np.random.default_rng(seed).choice(4, 1, replace=False)[0]) for seed in seeds]
    assert cold_items(log, 0.3, cold.index(1)).test.targets.tolist() == [1, 1]
    with pytest.raises(DataError, match="raise fraction or change seed"):
        cold_items(log, 0.3, cold.index(2))


def test_no_case_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="leaves no test case; a case needs a user with two"):
        leave_one_out(make_log([[1], [2]]))
    split = leave_one_out(make_log([[1, 2]]))
    assert split.notes[-1] == "there is no validation case"


sequences = st.lists(
    st.lists(st.integers(0, N - 1), min_size=1, max_size=7), min_size=3, max_size=9
)


@given(sequences, st.integers(0, 3))
def test_no_split_leaks_or_loses(rows: list[list[int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    times = [np.sort(random.integers(0, 30, len(row))).tolist() for row in rows]
    log = make_log(rows, times)
    for split in attempts(log, seed):
        assert len(split.train) == len(rows)
        seen_in = [case[0] for case in cases(split.test)]
        assert len(seen_in) == len(set(seen_in))
        for user, history, target in cases(split.valid) + cases(split.test):
            assert history
            assert rows[user][: len(history) + 1] == [*history, target]
            if "cold" not in split.protocol:  # the target lies strictly after what was trained on
                assert rows[user][: len(split.train[user])] == split.train[user].tolist()
                assert len(split.train[user]) <= len(history)
        by_user = {user: len(history) for user, history, _ in cases(split.valid)}
        for user, history, _ in cases(split.test):
            assert by_user.get(user, 0) < len(history)


@given(sequences)
def test_leave_one_out_accounts_for_every_event(rows: list[list[int]]) -> None:
    if max(map(len, rows)) < 2:
        return
    split = leave_one_out(make_log(rows))
    parts = len(split.train.items) + len(split.valid) + len(split.test)
    assert parts == sum(map(len, rows))


def attempts(log: Interactions, seed: int) -> list[Split]:
    splits = []
    for cut in (
        lambda: leave_one_out(log),
        lambda: temporal(log, 10, 20),
        lambda: user_holdout(log, 0.3, seed),
        lambda: cold_items(log, 0.5, seed),
    ):
        try:
            splits.append(cut())
        except DataError:  # too small a log for this protocol
            continue
    return splits


def test_fewer_users_are_trained_on_and_all_are_tested() -> None:
    split = leave_one_out(make_log([[u % N, (u + 1) % N, (u + 2) % N, 5] for u in range(40)]))
    few = with_fewer_users(split, 0.1, seed=1)
    kept = np.flatnonzero(few.train.lengths)
    assert len(kept) == 4
    assert len(few.train) == len(split.train)
    assert all(lists(few.train)[u] == lists(split.train)[u] for u in kept)
    assert few.valid.users.tolist() == kept.tolist()
    assert cases(few.test) == cases(split.test)
    assert few.notes[-1] == "training and validation see 4 of 40 users"
    assert not np.array_equal(kept, np.flatnonzero(with_fewer_users(split, 0.1, 2).train.lengths))
    assert with_fewer_users(split, 1.0, seed=1) is split


def test_the_smallest_share_leaves_one_user() -> None:
    split = leave_one_out(make_log([[1, 2, 3, 4], [4, 5, 6, 7]]))
    assert np.count_nonzero(with_fewer_users(split, 0.01, seed=0).train.lengths) == 1


def crowd(people, bot, items=20):
    """Shoppers of six events and one user of `bot`, each item the next of the one before."""
    histories = [[(user + step) % items for step in range(6)] for user in range(people)]
    histories.insert(1, [(7 * step) % items for step in range(bot)])
    catalog = Catalog.from_table(pa.table({"item_id": [f"i{item}" for item in range(items)]}))
    return Interactions.of_histories(catalog, Histories.of(histories))


@pytest.mark.parametrize(
    ("people", "bot", "share", "kept"),
    [
        (30, 1002, 0.1, 12),  # a tenth of the 30 * 4 events that the others train on
        (30, 1002, 0.5, 60),
        (30, 44, 0.1, 12),  # more than ten times four, 26 % of the whole
        (3, 1002, 0.1, 4),  # as many as the next user has
        (30, 42, 0.1, 40),  # ten times four is not more than that
        (30, 1002, 1.0, 1000),
        (500, 202, 0.1, 200),  # a reader of 200 in a crowd is no robot
    ],
)
def test_a_user_who_is_most_of_the_log_counts_as_a_person(people, bot, share, kept):
    log = crowd(people, bot)
    plain, split = leave_one_out(log), SplitSettings(heavy_user_share=share).apply(log, 0)
    before = plain.train.lengths[1]
    assert before == bot - 2
    assert split.train[1].tolist() == log.histories[1][:kept].tolist()
    others = [user for user in range(people + 1) if user != 1]
    assert (
        split.train.take(np.array(others)).items.tolist()
        == plain.train.take(np.array(others)).items.tolist()
    )
    assert np.array_equal(split.test.targets, plain.test.targets)
    assert np.array_equal(split.valid.histories.items, plain.valid.histories.items)
    named = [note for note in split.notes if note.startswith("user '1' holds")]
    assert len(named) == (kept < before)
    if not named:
        assert split.train.items.tobytes() == plain.train.items.tobytes()
        assert split.notes == plain.notes


def test_two_robots_do_not_shield_each_other():
    log = crowd(30, 1002)
    twice = Histories.of([*log.histories, list(log.histories[1])])
    split = SplitSettings().apply(Interactions.of_histories(log.catalog, twice), 0)
    assert split.train.lengths[[1, -1]].tolist() == [12, 12]
    assert sum("split.heavy_user_share" in note for note in split.notes) == 2


def test_what_counts_of_a_robot_stays_when_items_go():
    log = crowd(30, 1002)
    split = SplitSettings().apply(log, 0)
    kept = np.arange(20) != 3
    catalog = Catalog.from_table(pa.table({"item_id": [f"i{i}" for i in range(20) if i != 3]}))
    shorter = log.without(kept, catalog, split)
    again = SplitSettings().apply(shorter, 0)
    old = [item for item in split.train[1].tolist() if item != 3]
    assert [item + (item >= 3) for item in again.train[1].tolist()] == old
