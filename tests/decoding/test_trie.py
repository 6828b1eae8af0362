"""The trie against a dictionary of sets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.common.errors import InputError, RecommenderError
from genrec.decoding import LeafFilter, Trie
from genrec.testing.fakes import TinyCatalog

catalogs = st.builds(
    TinyCatalog.random,
    st.integers(1, 40),
    st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple),
    st.integers(0, 10_000),
)


shared_ids = st.integers(1, 4).flatmap(
    lambda levels: st.lists(st.tuples(*[st.integers(0, 3)] * levels), min_size=1, max_size=30)
)


@given(catalogs)
@settings(max_examples=100)
def test_every_prefix_has_exactly_its_children(catalog):
    trie = catalog.trie
    items = torch.arange(len(catalog.codes))
    for depth in range(trie.levels):
        child, real = trie.children(depth, trie.nodes_of(items, depth))
        for item, codes in enumerate(catalog.codes):
            expected = sorted(
                {
                    int(other[depth])
                    for other in catalog.codes
                    if tuple(other[:depth]) == tuple(codes[:depth])
                }
            )
            assert trie.code[depth][child[item][real[item]]].tolist() == expected
        first, end = trie.child_span(depth, trie.nodes_of(items, depth))
        codes = trie.child_codes(depth, first)
        for row, count, numbers in zip(codes, end - first, child, strict=True):
            assert row[:count].tolist() == trie.code[depth][numbers[:count]].tolist()


@given(shared_ids)
@settings(max_examples=100)
def test_items_that_share_a_semantic_id_are_the_leaves_of_one_node(rows):
    codes = np.array(rows)
    trie = Trie.build(codes, (4,) * codes.shape[1])
    items = torch.arange(len(rows))
    for depth in range(trie.levels + 1):
        first, end = trie.leaves(depth, trie.nodes_of(items, depth))
        for item, row in enumerate(rows):
            below = sorted(trie.leaf_item[int(first[item]) : int(end[item])].tolist())
            assert below == [i for i, other in enumerate(rows) if other[:depth] == row[:depth]]
    leaf, real = trie.children(trie.levels, trie.nodes_of(items, trie.levels))
    for item, row in enumerate(rows):
        found = trie.leaf_item[leaf[item][real[item]]].tolist()
        assert found == [i for i, other in enumerate(rows) if other == row]


@given(catalogs, st.data())
@settings(max_examples=100)
def test_following_a_code_finds_the_child_or_says_that_there_is_none(catalog, data):
    trie = catalog.trie
    depth = data.draw(st.integers(0, trie.levels - 1))
    nodes = trie.nodes_of(torch.arange(len(trie)), depth)
    for code in range(catalog.codebook_sizes[depth]):
        child, found = trie.child(depth, nodes, torch.full_like(nodes, code))
        for item in range(len(trie)):
            first, end = trie.leaves(depth + 1, child[item])
            wanted = (*catalog.codes[item][:depth], code)
            exists = any(tuple(row[: depth + 1]) == wanted for row in catalog.codes)
            assert bool(found[item]) == exists
            if exists:
                below = trie.leaf_item[int(first) : int(end)]
                assert all(tuple(catalog.codes[i][: depth + 1]) == wanted for i in below.tolist())


@pytest.mark.parametrize("sizes", [(65_536,), (65_536, 65_536), (2,) * 8, (65_536,) * 8])
def test_wide_and_deep_codes_keep_their_values(sizes):
    codes = np.stack([np.random.default_rng(0).integers(0, size, 300) for size in sizes], axis=1)
    codes[:2] = np.array(sizes) - 1, np.zeros(len(sizes))
    trie = Trie.build(codes, sizes)
    items = torch.arange(300)
    for level in range(len(sizes)):
        found = trie.code[level][trie.nodes_of(items, level + 1)].long()
        np.testing.assert_array_equal(found.numpy(), codes[:, level])


def test_a_saved_trie_comes_back_whole(tmp_path):
    for codes in ([[0, 1], [2, 1], [2, 0]], [[1, 1], [1, 1], [0, 2]]):
        trie = Trie.build(np.array(codes), (3, 3))
        trie.save(tmp_path / "trie.safetensors")
        back = Trie.load(tmp_path / "trie.safetensors")
        assert (back.codebook_sizes, back.widest) == (trie.codebook_sizes, trie.widest)
        for name in ("code", "child_start"):
            pairs = zip(getattr(trie, name), getattr(back, name), strict=True)
            assert all(a.dtype == b.dtype and torch.equal(a.long(), b.long()) for a, b in pairs)
        assert torch.equal(trie.leaf_item, back.leaf_item)
        assert torch.equal(trie.item_leaf, back.item_leaf)


def test_a_file_that_is_no_trie_is_refused_by_name(tmp_path):
    path = tmp_path / "trie.safetensors"
    for content in (b"", b"not a trie at all", b"\x02\0\0\0\0\0\0\0{}"):
        path.write_bytes(content)
        with pytest.raises(RecommenderError, match=r"trie\.safetensors"):
            Trie.load(path)


def test_a_node_takes_five_bytes_and_an_item_eight():
    trie = TinyCatalog.random(20_000, (256, 256, 256, 256)).trie
    nodes = sum(trie.node_count(depth + 1) for depth in range(trie.levels))
    assert trie.nbytes <= 8 * 20_000 + 5 * nodes + 1000


@given(catalogs)
@settings(max_examples=50)
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
    nodes = torch.arange(2).expand(2, 2)
    assert filtered.alive(trie, 1, nodes).tolist() == [[False, True], [True, True]]
    shared = LeafFilter.build(trie, allow=np.array([0, 2, 3]))
    alone = LeafFilter.denying(trie, shared, [np.array([2])])
    assert alone.alive(trie, 1, nodes[:1]).tolist() == [[True, True]]


def test_no_filter_is_none():
    trie = Trie.build(np.array([[0], [1]]), (2,))
    assert LeafFilter.build(trie) is None
    assert LeafFilter.build(trie, deny=[np.array([], int)]) is None


@pytest.mark.parametrize(
    ("codes", "sizes", "message"),
    [
        ([[0]], (65_537,), "at most 65536 codes"),
        ([[0] * 9], (2,) * 9, "1 to 8 levels"),
        ([[0, 2]], (2, 2), "level 1 has codes from 2 to 2"),
        ([[0, -1]], (2, 2), "level 1"),
        (np.empty((0, 2), int), (2, 2), "at least one item"),
        ([[0, 1]], (2, 2, 2), "got \\(1, 2\\)"),
    ],
)
def test_bad_codes_are_refused(codes, sizes, message):
    with pytest.raises(InputError, match=message):
        Trie.build(np.asarray(codes), sizes)


def test_off_the_cpu_wide_codes_are_of_a_type_that_can_be_indexed(tmp_path):
    """CUDA indexes no 16-bit unsigned integers; ``meta`` stands in for it, and the file stays as it was."""
    catalog = TinyCatalog.random(60, (300, 4), seed=1)
    here = Trie.build(catalog.codes, catalog.codebook_sizes)
    away = here.to("meta")
    assert [code.dtype for code in here.code] == [torch.uint16, torch.uint8]
    assert [code.dtype for code in away.code] == [torch.int32, torch.uint8]
    wide = replace(here, code=(here.code[0].int(), here.code[1]))
    wide.save(tmp_path / "wide")
    here.save(tmp_path / "here")
    assert (tmp_path / "wide").read_bytes() == (tmp_path / "here").read_bytes()
    assert wide.nbytes == here.nbytes
    first = wide.child_span(0, torch.zeros(1, dtype=torch.long))[0]
    assert torch.equal(wide.child_codes(0, first), here.child_codes(0, first))
