from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import InputError
from genrec.semantic_ids import collisions
from genrec.semantic_ids.collisions import nearest_free, number_buckets, resolve, row_keys
from genrec.semantic_ids.rqkmeans import RQKMeans


def additive_tokenizer(sizes, dimension=3, seed=0):
    """An item tokenizer with random codebooks whose scale falls level by level."""
    generator = np.random.default_rng(seed)
    state = {
        f"codebook.{level}": (generator.normal(size=(size, dimension)) / 4**level).astype("f4")
        for level, size in enumerate(sizes)
    }
    tokenizer = RQKMeans()
    tokenizer._restore(state, dimension)
    tokenizer.dimension = dimension
    return tokenizer


def surplus_of(codes):
    return len(codes) - len(np.unique(codes, axis=0))


@st.composite
def catalogs(draw):
    sizes = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    tuples = int(np.prod(sizes))
    items = draw(st.integers(1, min(tuples, 60)))
    rows = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    few = draw(st.lists(rows, min_size=1, max_size=4))
    codes = draw(st.lists(st.one_of(rows, st.sampled_from(few)), min_size=items, max_size=items))
    return sizes, np.array(codes, np.int32)


@given(catalogs(), st.integers(0, 3), st.sampled_from([1, 4, 1 << 17]))
@settings(max_examples=150, deadline=None)
def test_nearest_free_is_unique_in_range_and_moves_exactly_the_surplus(catalog, seed, block):
    sizes, codes = catalog
    tokenizer = additive_tokenizer(sizes, seed=seed)
    noise = np.random.default_rng(seed).normal(scale=0.2, size=(len(codes), 3))
    vectors = (tokenizer.decode(codes) + noise).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collisions, "BLOCK", block)
        resolution = resolve(codes, vectors, tokenizer, "nearest_free")
    assert len(np.unique(resolution.codes, axis=0)) == len(codes)
    assert resolution.codebook_sizes == sizes
    assert (resolution.codes >= 0).all()
    assert (resolution.codes < np.array(sizes)).all()
    changed = np.flatnonzero((resolution.codes != codes).any(axis=1))
    np.testing.assert_array_equal(changed, resolution.moved)
    assert len(changed) == surplus_of(codes)


@given(catalogs())
@settings(max_examples=100, deadline=None)
def test_extra_level_is_unique_and_changes_no_code(catalog):
    sizes, codes = catalog
    tokenizer = additive_tokenizer(sizes)
    resolution = resolve(codes, np.zeros((len(codes), 3), "f4"), tokenizer, "extra_level")
    assert len(np.unique(resolution.codes, axis=0)) == len(codes)
    np.testing.assert_array_equal(resolution.codes[:, :-1], codes)
    largest = np.unique(codes, axis=0, return_counts=True)[1].max()
    assert resolution.codebook_sizes == (*sizes, largest)
    assert resolution.codes[:, -1].max() == largest - 1
    assert len(resolution.moved) == surplus_of(codes)


def test_buckets_are_numbered_in_row_order():
    codes = np.array([[1, 2], [0, 0], [1, 2], [1, 3], [1, 2], [0, 0]], np.int32)
    assert number_buckets(codes).tolist() == [0, 0, 1, 0, 2, 1]


def test_closest_item_of_a_bucket_stays_and_the_other_goes_to_the_nearest_free_code():
    tokenizer = RQKMeans()
    tokenizer._restore({"codebook.0": np.array([[0], [1], [2], [5]], np.float32)}, dimension=1)
    tokenizer.dimension = 1
    vectors = np.array([[1.4], [1.1], [2.0]], np.float32)
    resolution = resolve(tokenizer.encode(vectors), vectors, tokenizer, "nearest_free")
    # 1.4 and 1.1 both have code 1; 1.1 is closer and stays; 2 is taken, so 1.4 goes to 0, not 5
    assert resolution.codes[:, 0].tolist() == [0, 1, 2]
    assert resolution.moved.tolist() == [0]


def test_full_last_level_spills_into_the_nearest_neighbouring_prefix():
    tokenizer = RQKMeans()
    state = {
        "codebook.0": np.array([[0], [10], [-3]], np.float32),
        "codebook.1": np.array([[0], [1]], np.float32),
    }
    tokenizer._restore(state, dimension=1)
    tokenizer.dimension = 1
    vectors = np.zeros((4, 1), np.float32)
    resolution = resolve(tokenizer.encode(vectors), vectors, tokenizer, "nearest_free")
    assert sorted(map(tuple, resolution.codes.tolist())) == [(0, 0), (0, 1), (2, 0), (2, 1)]


def test_result_does_not_depend_on_who_asks_twice():
    tokenizer = additive_tokenizer((6, 6, 6), dimension=4)
    vectors = np.random.default_rng(0).normal(scale=0.4, size=(150, 4)).astype(np.float32)
    codes = tokenizer.encode(vectors)
    given_codes = codes.copy()
    first = resolve(codes, vectors, tokenizer, "nearest_free")
    second = resolve(codes, vectors, tokenizer, "nearest_free")
    assert len(first.moved) > 10
    np.testing.assert_array_equal(first.codes, second.codes)
    np.testing.assert_array_equal(codes, given_codes)


def test_taken_tuples_are_respected():
    tokenizer = additive_tokenizer((2, 3))
    taken = np.array([[0, 0], [0, 1], [1, 2]], np.int32)
    codes, moved = nearest_free(
        np.array([[0, 0], [1, 0]], np.int32),
        np.zeros((2, 3), np.float32),
        tokenizer.decode,
        (2, 3),
        taken,
    )
    assert moved.tolist() == [0]
    assert codes.tolist() == [[0, 2], [1, 0]]


def test_more_items_than_tuples_says_how_many_are_needed():
    tokenizer = additive_tokenizer((2, 3))
    codes = np.zeros((7, 2), np.int32)
    with pytest.raises(InputError, match=r"7 different semantic IDs.*\[2, 3\] make only 6"):
        resolve(codes, np.zeros((7, 3), "f4"), tokenizer, "nearest_free")


def test_unknown_policy_is_refused():
    with pytest.raises(InputError, match="known: extra_level, nearest_free"):
        resolve(np.zeros((1, 1), np.int32), np.zeros((1, 3), "f4"), additive_tokenizer((2,)), "x")


def test_thousands_of_identical_items_find_room_quickly():
    tokenizer = additive_tokenizer((64, 64, 64), dimension=32)
    vectors = np.tile(tokenizer.decode([[3, 4, 5]]), (5000, 1))
    begin = time.perf_counter()
    resolution = resolve(tokenizer.encode(vectors), vectors, tokenizer, "nearest_free")
    assert time.perf_counter() - begin < 10
    assert len(np.unique(row_keys(resolution.codes))) == 5000
    assert len(resolution.moved) == 4999


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=3, max_size=3), max_size=30))
def test_row_keys_compare_as_rows_do(rows):
    codes = np.array(rows, np.int32).reshape(-1, 3)
    keys = row_keys(codes)
    assert (
        sorted(range(len(rows)), key=lambda i: rows[i]) == np.argsort(keys, kind="stable").tolist()
    )
    assert len(np.unique(keys)) == len({tuple(row) for row in rows})
