from __future__ import annotations

import numpy as np
import pytest

from genrec.semantic_ids import SemanticIds
from genrec.semantic_ids.churn import churn


def ids(codes, names="abcdefgh"):
    table = np.array(codes, np.int32)
    return SemanticIds(list(names[: len(table)]), table, (9,) * table.shape[1], "nearest_free")


BEFORE = ids([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]])


def test_the_same_has_no_churn():
    found = churn(BEFORE, BEFORE)
    assert (found.common, found.added, found.removed, found.changed) == (5, 0, 0, 0)
    assert [(e.code, e.prefix, e.company) for e in found.levels] == [(0, 0, 0), (0, 0, None)]


def test_churn_by_hand():
    # c leaves its family and a keeps its place; e is gone, x is new; rows come in another order
    now = ids([[1, 2], [0, 0], [0, 1], [1, 0], [2, 2]], names="cabdx")
    found = churn(now, BEFORE)
    assert (found.common, found.added, found.removed) == (4, 1, 1)
    assert found.changed == pytest.approx(1 / 4)
    first, second = found.levels
    assert (first.code, first.prefix) == (pytest.approx(1 / 4), pytest.approx(1 / 4))
    # of the pairs ab ac bc only ab is still together
    assert first.company == pytest.approx(2 / 3)
    assert (second.code, second.prefix) == (0, pytest.approx(1 / 4))


def test_new_numbers_for_the_same_families_change_no_company():
    renumbered = ids([[5, 0], [5, 1], [5, 2], [3, 0], [3, 1]])
    found = churn(renumbered, BEFORE)
    assert found.changed == 1
    assert (found.levels[0].code, found.levels[0].company) == (1, 0)


def test_other_lengths_and_nothing_in_common():
    longer = ids([[0, 0, 0], [0, 1, 0], [0, 2, 0]])
    found = churn(longer, BEFORE)
    assert (found.changed, len(found.levels), found.levels[1].prefix) == (1, 2, 0)
    nothing = churn(ids([[0, 0]], names="z"), BEFORE)
    assert (nothing.common, nothing.changed, nothing.levels[0].company) == (0, 0, None)
