from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.common.errors import InputError
from genrec.semantic_ids import last_level
from genrec.semantic_ids import nearest_free as nearest_free_module
from genrec.semantic_ids.collisions import resolve
from genrec.semantic_ids.last_level import spread_last_level
from genrec.semantic_ids.nearest_free import nearest_free
from genrec.semantic_ids.rows import number_buckets, row_keys
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


@given(
    catalogs(),
    st.integers(0, 3),
    st.sampled_from([1, 4, 1 << 17]),
    st.sampled_from([1, 30, 1 << 24]),
)
@settings(max_examples=150)
def test_nearest_free_is_unique_in_range_and_moves_exactly_the_surplus(catalog, seed, block, pairs):
    sizes, codes = catalog
    tokenizer = additive_tokenizer(sizes, seed=seed)
    noise = np.random.default_rng(seed).normal(scale=0.2, size=(len(codes), 3))
    vectors = (tokenizer.decode(codes) + noise).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_free_module, "BLOCK", block)
        patch.setattr(nearest_free_module, "PAIRS", pairs)
        resolution = resolve(codes, vectors, tokenizer, "nearest_free")
    assert len(np.unique(resolution.codes, axis=0)) == len(codes)
    assert resolution.codebook_sizes == sizes
    assert (resolution.codes >= 0).all()
    assert (resolution.codes < np.array(sizes)).all()
    changed = np.flatnonzero((resolution.codes != codes).any(axis=1))
    np.testing.assert_array_equal(changed, resolution.moved)
    assert len(changed) == surplus_of(codes)


@given(catalogs())
@settings(max_examples=100)
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
    with pytest.raises(InputError, match="known: nearest_free, sinkhorn, extra_level, refuse"):
        resolve(np.zeros((1, 1), np.int32), np.zeros((1, 3), "f4"), additive_tokenizer((2,)), "x")


def test_thousands_of_identical_items_find_room_quickly():
    tokenizer = additive_tokenizer((64, 64, 64), dimension=32)
    vectors = np.tile(tokenizer.decode([[3, 4, 5]]), (5000, 1))
    begin = time.perf_counter()
    resolution = resolve(tokenizer.encode(vectors), vectors, tokenizer, "nearest_free")
    assert time.perf_counter() - begin < 10
    assert len(np.unique(row_keys(resolution.codes))) == 5000
    assert len(resolution.moved) == 4999


@pytest.mark.parametrize("sizes", [(256, 256, 256), (2048, 256)], ids=str)
@pytest.mark.parametrize("policy", ["nearest_free", "sinkhorn", "extra_level"])
def test_twenty_thousand_identical_items_get_their_own_codes_in_seconds(sizes, policy):
    tokenizer = additive_tokenizer(sizes, dimension=128)
    vectors = np.tile(tokenizer.decode([[3] * len(sizes)]), (20_000, 1))
    begin = time.perf_counter()
    resolution = resolve(tokenizer.encode(vectors), vectors, tokenizer, policy)
    assert time.perf_counter() - begin < 10
    assert len(np.unique(row_keys(resolution.codes))) == 20_000
    assert len(resolution.moved) == 19_999


@pytest.mark.parametrize("policy", ["nearest_free", "sinkhorn"])
def test_too_few_codes_for_identical_items_says_how_many_are_needed(policy):
    tokenizer = additive_tokenizer((64, 256))
    vectors = np.tile(tokenizer.decode([[3, 3]]), (20_000, 1))
    with pytest.raises(InputError, match=r"20000 different semantic IDs.*make only 16384"):
        resolve(tokenizer.encode(vectors), vectors, tokenizer, policy)


@given(catalogs(), st.integers(0, 3), st.sampled_from([1, 40, 1 << 20]))
@settings(max_examples=150)
def test_sinkhorn_is_unique_in_range_and_says_whom_it_moved(catalog, seed, largest):
    sizes, codes = catalog
    tokenizer = additive_tokenizer(sizes, seed=seed)
    noise = np.random.default_rng(seed).normal(scale=0.2, size=(len(codes), 3))
    vectors = (tokenizer.decode(codes) + noise).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(last_level, "LARGEST", largest)
        resolution = resolve(codes, vectors, tokenizer, "sinkhorn")
    assert len(np.unique(resolution.codes, axis=0)) == len(codes)
    assert (resolution.codes >= 0).all()
    assert (resolution.codes < np.array(sizes)).all()
    changed = np.flatnonzero((resolution.codes != codes).any(axis=1))
    np.testing.assert_array_equal(changed, resolution.moved)
    assert len(changed) >= surplus_of(codes)


def squared_error(vectors, codes, tokenizer):
    return float(((vectors - tokenizer.decode(codes)) ** 2).sum())


def test_sinkhorn_moves_a_bystander_where_that_brings_all_nearer():
    tokenizer = RQKMeans()
    state = {"codebook.0": np.zeros((1, 1), "f4"), "codebook.1": np.array([[0], [1], [2]], "f4")}
    tokenizer._restore(state, dimension=1)
    tokenizer.dimension = 1
    vectors = np.array([[0.0], [0.4], [1.4]], np.float32)
    codes = tokenizer.encode(vectors)
    assert codes[:, 1].tolist() == [0, 0, 1]
    near = resolve(codes, vectors, tokenizer, "nearest_free")
    spread = resolve(codes, vectors, tokenizer, "sinkhorn")
    # 0.4 must leave 0; as 1 is held it would go to 2, at 1.6, but 1.4 may as well go there, at 0.6
    assert (near.codes[:, 1].tolist(), near.moved.tolist()) == ([0, 2, 1], [1])
    assert (spread.codes[:, 1].tolist(), spread.moved.tolist()) == ([0, 1, 2], [1, 2])


def test_sinkhorn_is_the_best_of_all_assignments_of_a_prefix():
    tokenizer = additive_tokenizer((1, 5))
    vectors = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32) / 4
    codes = tokenizer.encode(vectors)
    assert surplus_of(codes) > 0
    found = resolve(codes, vectors, tokenizer, "sinkhorn").codes
    every = [
        np.column_stack([np.zeros(4, np.int32), np.array(last, np.int32)])
        for last in itertools.permutations(range(5), 4)
    ]
    best = min(squared_error(vectors, one, tokenizer) for one in every)
    assert squared_error(vectors, found, tokenizer) == pytest.approx(best, rel=1e-5)


def test_a_prefix_without_collisions_keeps_its_codes():
    tokenizer = additive_tokenizer((3, 4))
    codes = np.array([[0, 0], [0, 1], [1, 2], [1, 2], [2, 3]], np.int32)
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    spread = spread_last_level(codes, vectors, tokenizer.decode, 4)
    np.testing.assert_array_equal(spread[[0, 1, 4]], codes[[0, 1, 4]])
    np.testing.assert_array_equal(spread[:, 0], codes[:, 0])
    assert len(np.unique(spread, axis=0)) == 5


def test_refuse_names_the_most_crowded_tuple_and_what_to_do():
    tokenizer = additive_tokenizer((4, 4))
    codes = np.array([[0, 1], [2, 2], [0, 1], [2, 2], [2, 2], [3, 3], [2, 2]], np.int32)
    names = ["Tent", "Rope", "Tarp", "Cord", "Line", "Cup", "String"]
    with pytest.raises(InputError) as refusal:
        resolve(codes, np.zeros((7, 3), "f4"), tokenizer, "refuse", names)
    for said in (
        "6 of 7 items",
        "[2, 2], is that of 4: 'Rope', 'Cord', 'Line' and 1 more",
        "more levels or more codes",
        "nearest_free",
    ):
        assert said in str(refusal.value)
    with pytest.raises(InputError, match="is that of 4: row 1, row 3, row 4 and"):
        resolve(codes, np.zeros((7, 3), "f4"), tokenizer, "refuse")


def test_refuse_lets_distinct_codes_pass():
    codes = np.array([[0, 1], [2, 2]], np.int32)
    resolution = resolve(codes, np.zeros((2, 3), "f4"), additive_tokenizer((4, 4)), "refuse")
    np.testing.assert_array_equal(resolution.codes, codes)
    assert len(resolution.moved) == 0
