from __future__ import annotations

import itertools

import numpy as np
import pytest

from genrec.semantic_ids.neighborhoods import neighborhoods


def expected(codes, vectors, k):
    """The mean overlap over all ways in which ties of the shared prefix can be broken."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    overlaps = []
    for item in range(len(codes)):
        others = [other for other in range(len(codes)) if other != item]
        near = set(sorted(others, key=lambda other: -unit[item] @ unit[other])[:k])
        shared = {
            other: next((n for n, same in enumerate(codes[item] == codes[other]) if not same), 9)
            for other in others
        }
        choices = [
            set(choice)
            for choice in itertools.combinations(others, k)
            if min(shared[i] for i in choice)
            >= max([shared[i] for i in others if i not in choice], default=0)
        ]
        overlaps.append(np.mean([len(near & choice) / k for choice in choices]))
    return np.mean(overlaps)


def test_overlap_is_the_mean_over_all_breakings_of_ties():
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 3, size=(9, 2)).astype(np.int32)
    vectors = generator.normal(size=(9, 4))
    found = neighborhoods(codes, vectors, k=3)
    assert (found.k, found.items) == (3, 9)
    assert found.overlap == pytest.approx(expected(codes, vectors, 3))
    assert found.chance == pytest.approx(3 / 8)


def test_codes_that_follow_the_vectors_keep_everything_and_random_codes_chance():
    generator = np.random.default_rng(1)
    group = np.repeat(np.arange(20), 5)
    vectors = np.eye(20)[group] + generator.normal(scale=0.01, size=(100, 20))
    codes = np.column_stack([group, np.tile(np.arange(5), 20)]).astype(np.int32)
    assert neighborhoods(codes, vectors, k=4).overlap == 1
    shuffled = codes[generator.permutation(100)]
    assert neighborhoods(shuffled, vectors, k=4).overlap < 0.15


def test_length_of_the_vectors_does_not_matter_and_the_sample_is_drawn_by_seed():
    generator = np.random.default_rng(2)
    codes = generator.integers(0, 4, size=(200, 2)).astype(np.int32)
    vectors = generator.normal(size=(200, 8)).astype(np.float32)
    longer = vectors * generator.uniform(1, 9, size=(200, 1)).astype(np.float32)
    some = neighborhoods(codes, vectors, sample=50)
    assert some.items == 50
    assert neighborhoods(codes, longer, sample=50) == some
    assert neighborhoods(codes, vectors, sample=50, seed=1).overlap != some.overlap


@pytest.mark.parametrize(("items", "k"), [(1, 0), (2, 1)])
def test_tiny_catalogs(items, k):
    found = neighborhoods(np.zeros((items, 2), np.int32), np.ones((items, 3)))
    assert (found.k, found.overlap) == (k, float(items > 1))
