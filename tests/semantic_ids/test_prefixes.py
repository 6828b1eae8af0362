from __future__ import annotations

import numpy as np
import pytest

from genrec.data.histories import Histories
from genrec.semantic_ids.prefixes import prefix_agreement, prefix_purity

CODES = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [1, 1], [1, 1], [2, 0]], np.int32)


def histories(*rows):
    return Histories.of([np.array(row, np.int32) for row in rows])


def test_purity_by_hand():
    labels = np.array([5, 5, 9, 9, 9, 5, -1])  # the last item is unknown and left out
    one, two = prefix_purity(CODES, labels)
    # code 0: items 0 1 2, pairs 3, same 1; code 1: items 3 4 5, pairs 3, same 1
    assert one.pairs == 6
    assert one.observed == pytest.approx(2 / 6)
    # three of each label: 3 + 3 of 15 pairs
    assert one.chance == pytest.approx(6 / 15)
    assert one.ratio == pytest.approx((2 / 6) / (6 / 15))
    # tuple 00: pair (0, 1) same; tuple 11: three pairs, one same
    assert (two.pairs, two.observed) == (4, pytest.approx(2 / 4))


def test_purity_equals_counting_all_pairs():
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 4, size=(60, 3)).astype(np.int32)
    labels = generator.integers(-1, 5, size=60)
    for length, found in enumerate(prefix_purity(codes, labels), start=1):
        pairs = [
            (bool((codes[i, :length] == codes[j, :length]).all()), labels[i] == labels[j])
            for i in range(60)
            for j in range(i)
            if labels[i] >= 0 and labels[j] >= 0
        ]
        sharing = [same for shares, same in pairs if shares]
        assert found.length == length
        assert found.pairs == len(sharing)
        assert found.observed == pytest.approx(np.mean(sharing))
        assert found.chance == pytest.approx(np.mean([same for _, same in pairs]))


def test_agreement_by_hand():
    # steps 0>1 and 1>2 (same first code), 2>3 (another), 3>3 (no step), and none between users
    one, two = prefix_agreement(CODES, histories([0, 1, 2, 3, 3], [6]))
    assert (one.pairs, one.observed) == (3, pytest.approx(2 / 3))
    assert two.observed == pytest.approx(1 / 3)
    # begins 0 1 2, ends 1 2 3: of nine pairs two stay on an item; of the other seven 01 02 12 21 agree
    assert one.chance == pytest.approx(4 / 7)
    assert one.ratio == pytest.approx((2 / 3) / (4 / 7))
    # of these seven, only 01 shares both codes
    assert two.chance == pytest.approx(1 / 7)


def test_chance_is_what_shuffled_steps_show():
    generator = np.random.default_rng(1)
    codes = generator.integers(0, 3, size=(40, 2)).astype(np.int32)
    rows = [generator.zipf(1.6, size=30) % 40 for _ in range(400)]
    found = prefix_agreement(codes, histories(*rows))[0]
    assert found.pairs > 5000
    assert found.ratio == pytest.approx(1, abs=0.05)


def test_planted_families_are_found():
    codes = np.column_stack([np.repeat(np.arange(10), 5), np.tile(np.arange(5), 10)])
    rows = [np.arange(5) + 5 * family for family in range(10)]
    one, two = prefix_agreement(codes.astype(np.int32), histories(*rows))
    assert one.observed == 1
    assert one.ratio > 9
    assert (two.observed, two.chance, two.ratio) == (0, 0, 0)


def test_no_steps_and_one_item():
    none = prefix_agreement(CODES, histories([3], [3, 3]))
    assert [(found.pairs, found.observed, found.ratio) for found in none] == [(0, 0, 0)] * 2
    assert prefix_agreement(CODES[:1], histories([0, 0]))[0].chance == 0
