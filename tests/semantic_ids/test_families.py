from __future__ import annotations

import numpy as np

from genrec.semantic_ids.families import families

CODES = np.array([[0, 0, n] for n in range(4)] + [[0, 1, 0], [1, 0, 0], [1, 1, 0]], np.int32)
TITLES = [f"Title {n}" for n in range(7)]


def test_families_are_the_items_of_a_prefix():
    found = families(CODES, TITLES)
    # of one code: 0 with five items (1 has two, too few); of two codes: 00 with four
    assert [(family.prefix, family.size) for family in found] == [((0,), 5), ((0, 0), 4)]
    assert found[0].titles == ("Title 0", "Title 1", "Title 2", "Title 3", "Title 4")


def test_few_are_drawn_the_same_for_a_seed_and_large_ones_more_often():
    codes = np.concatenate([np.full(400, 99), np.repeat(np.arange(90), 3)])
    codes = np.column_stack([codes, np.arange(len(codes))]).astype(np.int32)
    titles = [str(n) for n in range(len(codes))]
    draws = [families(codes, titles, seed=seed) for seed in range(20)]
    assert all(len(draw) == 4 for draw in draws)
    assert families(codes, titles, seed=3) == draws[3] != draws[4]
    assert sum(any(family.prefix == (99,) for family in draw) for draw in draws) > 14
    largest = next(f for draw in draws for f in draw if f.size == 400)
    assert len(largest.titles) == 6
    assert (largest.titles[0], largest.titles[-1]) == ("0", "399")


def test_one_level_has_none():
    assert families(CODES[:, :1], TITLES) == ()
    assert families(CODES[:0], []) == ()
