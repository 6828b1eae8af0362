from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.semantic_ids.rows import groups_of, prefix_bounds, row_keys

CODES = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=3, max_size=3), max_size=30)
FEW = st.lists(st.lists(st.sampled_from([0, 1, 255, 256, 2**31 - 1]), min_size=3, max_size=3))


@given(CODES)
def test_row_keys_compare_as_rows_do(rows):
    codes = np.array(rows, np.int32).reshape(-1, 3)
    keys = row_keys(codes)
    assert (
        sorted(range(len(rows)), key=lambda i: rows[i]) == np.argsort(keys, kind="stable").tolist()
    )
    assert len(np.unique(keys)) == len({tuple(row) for row in rows})


@given(FEW, st.lists(st.sampled_from([0, 1, 255, 256, 2**31 - 1]), max_size=3))
def test_rows_of_a_prefix_lie_between_its_bounds(rows, prefix):
    ordered = sorted(rows)
    keys = row_keys(np.array(ordered, np.int32).reshape(-1, 3))
    low, high = prefix_bounds(keys, np.array(prefix, np.int32))
    inside = [place for place, row in enumerate(ordered) if row[: len(prefix)] == prefix]
    assert list(range(low, high)) == inside


@given(FEW)
def test_groups_hold_every_position_once_and_equal_rows_together(rows):
    groups = groups_of(np.array(rows, np.int32).reshape(-1, 3))
    assert sorted(position for group in groups for position in group) == list(range(len(rows)))
    distinct = [{tuple(rows[position]) for position in group} for group in groups]
    assert all(len(one) == 1 for one in distinct)
    assert len(distinct) == len({tuple(row) for row in rows})
