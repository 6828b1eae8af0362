"""What was trained on stays trained on when items leave the log."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.errors import DataError
from genrec.data import Catalog, Histories, Interactions
from genrec.data.kept_split import KeptSplit
from genrec.data.split_settings import SplitSettings
from genrec.recommender.tables import read_log, write_log

N = 8
PROTOCOLS = [
    SplitSettings(),
    SplitSettings(protocol="temporal", valid_from=4, test_from=6),
    SplitSettings(protocol="user-holdout", fraction=0.3),
    SplitSettings(protocol="cold-items", fraction=0.4),
]
SEQUENCES = st.lists(
    st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, 9)), min_size=1, max_size=7),
    min_size=3,
    max_size=9,
)


def log_of(sequences):
    catalog = Catalog.from_table(pa.table({"item_id": [f"i{i}" for i in range(N)]}))
    ordered = [sorted(sequence, key=lambda event: event[1]) for sequence in sequences]
    items = Histories.of([[item for item, _ in sequence] for sequence in ordered])
    times = np.array([time for sequence in ordered for _, time in sequence], np.int64)
    return Interactions.of_histories(catalog, items, times)


def plain(split):
    cases = [
        (part.users.tolist(), [h.tolist() for h in part.histories], part.targets.tolist())
        for part in (split.valid, split.test)
    ]
    return [sequence.tolist() for sequence in split.train], *cases


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.protocol)
@given(sequences=SEQUENCES, gone=st.sets(st.integers(0, N - 1), max_size=N - 1))
def test_the_parts_are_those_of_the_whole_log(protocol, sequences, gone):
    log = log_of(sequences)
    try:
        split = protocol.apply(log, seed=1)
    except DataError:
        return  # a log that cannot be cut so
    kept = np.array([item not in gone for item in range(N)])
    names = [f"i{i}" for i in range(N) if kept[i]]
    less = log.without(kept, log.catalog.take(np.flatnonzero(kept)), split)
    assert less.catalog.item_ids == names
    found = protocol.apply(less, seed=1)
    assert found.protocol == split.protocol
    index = {item: place for place, item in enumerate(np.flatnonzero(kept).tolist())}

    def without(items):
        return [index[int(item)] for item in items if kept[item]]

    expected = [[without(sequence) for sequence in split.train]]
    for part in (split.valid, split.test):
        stay = [case for case in range(len(part)) if kept[part.targets[case]]]
        histories = [without(part.histories[case]) for case in stay]
        targets = [index[int(part.targets[case])] for case in stay]
        expected.append(([int(part.users[case]) for case in stay], histories, targets))
    assert plain(found) == tuple(expected)


def test_a_log_that_has_lost_every_interaction_says_how_it_was_cut():
    log = log_of([[(0, 0)], [(0, 0)], [(0, 0), (0, 0)]])
    protocol = SplitSettings(protocol="cold-items", fraction=0.4)
    split = protocol.apply(log, 1)
    kept = np.arange(N) != 0
    less = log.without(kept, log.catalog.take(np.flatnonzero(kept)), split)
    assert len(less) == 0
    assert protocol.apply(less, 1).protocol == split.protocol


def test_a_target_that_is_gone_makes_no_trained_item_the_test():
    log = log_of([[(0, 0), (1, 1), (2, 2), (3, 3)]] * 3)
    split = SplitSettings().apply(log, 0)
    kept = np.arange(N) != 3
    less = log.without(kept, log.catalog.take(np.flatnonzero(kept)), split)
    found = SplitSettings().apply(less, 0)
    assert [h.tolist() for h in found.train] == [[0, 1]] * 3
    assert (found.valid.targets.tolist(), len(found.test)) == ([2] * 3, 0)


def test_it_is_written_with_the_log(tmp_path):
    log = log_of([[(0, 0), (1, 1), (2, 2)], [(2, 0), (2, 1)]])
    kept = np.arange(N) != 0
    less = log.without(kept, log.catalog.take(np.flatnonzero(kept)), SplitSettings().apply(log, 0))
    write_log(less, tmp_path / "log.parquet")
    read = read_log(tmp_path / "log.parquet", less.catalog)
    assert read.kept_split.protocol == "leave-one-out"
    assert read.kept_split.parts.tolist() == less.kept_split.parts.tolist() == [2, 4, 1, 4]
    assert isinstance(read.kept_split, KeptSplit)
