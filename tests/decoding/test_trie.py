"""The trie against a dictionary of sets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.decoding import LeafFilter, Trie
from genrec.errors import InputError
from genrec.testing.fakes import TinyCatalog

catalogs = st.builds(
    TinyCatalog.random,
    st.integers(1, 40),
    st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple),
    st.integers(0, 10_000),
)


@given(catalogs)
@settings(max_examples=100, deadline=None)
def test_every_prefix_has_exactly_its_children(catalog):
    trie = catalog.trie
    items = torch.arange(len(catalog.codes))
    for depth in range(trie.levels):
        nodes = trie.nodes_of(items, depth)
        masks = trie.child_mask(depth, nodes)
        for item, codes in enumerate(catalog.codes):
            expected = {
                int(other[depth])
                for other in catalog.codes
                if tuple(other[:depth]) == tuple(codes[:depth])
            }
            assert set(torch.nonzero(masks[item])[:, 0].tolist()) == expected


@given(catalogs)
@settings(max_examples=50, deadline=None)
def test_leaves_and_items_are_inverse(catalog):
    trie = catalog.trie
    items = torch.arange(len(trie))
    assert torch.equal(trie.leaf_item[trie.item_leaf], items)
    assert torch.equal(trie.nodes_of(items, trie.levels), trie.item_leaf)


def test_a_filter_counts_the_items_below_a_node():
    trie = Trie.build(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), (2, 2))
    filtered = LeafFilter.build(
        trie, allow=np.array([0, 2, 3]), deny=[np.array([0, 1]), np.array([2])]
    )
    first, end = trie.leaf_start[1][:-1], trie.leaf_start[1][1:]
    alive = filtered.alive(first.expand(2, 2), end.expand(2, 2))
    assert alive.tolist() == [[False, True], [True, True]]


def test_no_filter_is_none():
    trie = Trie.build(np.array([[0], [1]]), (2,))
    assert LeafFilter.build(trie) is None
    assert LeafFilter.build(trie, deny=[np.array([], int)]) is None


@pytest.mark.parametrize(
    ("codes", "sizes", "message"),
    [
        ([[0, 1], [0, 1]], (2, 2), "share the semantic ID"),
        ([[0, 2]], (2, 2), "level 1 has codes from 2 to 2"),
        ([[0, -1]], (2, 2), "level 1"),
        (np.empty((0, 2), int), (2, 2), "at least one item"),
        ([[0, 1]], (2, 2, 2), "got \\(1, 2\\)"),
    ],
)
def test_bad_codes_are_refused(codes, sizes, message):
    with pytest.raises(InputError, match=message):
        Trie.build(np.asarray(codes), sizes)
