"""Indexings without vectors: planted structure comes out, nothing leaks in, nobody is left out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from genrec.common.errors import DataError, InputError, RecommenderError
from genrec.data import Catalog, Interactions, leave_one_out, temporal, user_holdout
from genrec.data.histories import Histories
from genrec.semantic_ids import AnyItemTokenizerSettings
from genrec.semantic_ids.building import (
    build_semantic_ids,
    codes_before,
    fit_any,
    load_any,
)
from genrec.semantic_ids.indexing.indexing import ItemIndexing
from genrec.semantic_ids.indexing.numbering import FreeTuples, digit_sizes, digits, first_appearance
from genrec.semantic_ids.indexing.settings import (
    CategoryIndexingSettings,
    CollaborativeIndexingSettings,
    HybridIndexingSettings,
    RandomIndexingSettings,
    SequentialIndexingSettings,
    TitleIndexingSettings,
)
from genrec.semantic_ids.indexing.spectral import _clusters, spectral_paths

KINDS = ["random", "sequential", "category", "title", "collaborative", "hybrid"]
N = 90
GROUPS = np.arange(N) % 3


def settings_of(kind, **more):
    return TypeAdapter(AnyItemTokenizerSettings).validate_python({"kind": kind, **more})


def catalog_of(count, start=0):
    rows = [
        {
            "item_id": f"i{i}",
            "title": f"{('red', 'blue')[i % 2]} {('tent', 'rope', 'lamp')[i % 3]} {i}",
            "categories": ["Shop", ("Camp", "Climb")[i % 2], f"sub{i % 5}"],
        }
        for i in range(start, start + count)
    ]
    return Catalog.from_table(pa.Table.from_pylist(rows))


@pytest.fixture(scope="module")
def catalog():
    return catalog_of(N)


@pytest.fixture(scope="module")
def log(catalog):
    """Users stay within one of three groups of 28 items; the last 6 items are never bought."""
    generator = np.random.default_rng(0)
    members = [np.flatnonzero(group == GROUPS[: N - 6]) for group in range(3)]
    users = [generator.choice(members[u % 3], 9, replace=False) for u in range(120)]
    return Interactions.of_histories(catalog, Histories.of(users))


@pytest.fixture(scope="module")
def split(log):
    return leave_one_out(log)


@pytest.fixture(scope="module", params=KINDS)
def indexing(request, catalog, split):
    return ItemIndexing(settings_of(request.param)).fit(catalog, split)


class TestEveryKind:
    def test_every_item_has_a_tuple_of_its_own(self, indexing, catalog):
        ids = indexing.semantic_ids(catalog)
        assert len(np.unique(indexing.codes, axis=0)) == N == len(ids)
        assert (indexing.codes < np.array(indexing.codebook_sizes)).all()
        assert indexing.codes.dtype == np.int32
        assert ids.moved == 0

    def test_test_and_validation_interactions_change_nothing(self, indexing, catalog, log):
        """The leak: order and graph must come from the training part alone."""
        other = log.histories.items.copy()
        ends = log.histories.offsets[1:]
        generator = np.random.default_rng(1)
        for back in (1, 2):  # test, validation
            other[ends - back] = generator.integers(0, N, len(ends))
        changed = Interactions.of_histories(catalog, Histories(other, log.histories.offsets))
        again = ItemIndexing(indexing.settings).fit(catalog, leave_one_out(changed))
        np.testing.assert_array_equal(again.codes, indexing.codes)

    def test_a_training_part_that_holds_the_answers_is_refused(self, indexing, catalog, log, split):
        leaky = replace(split, train=log.histories)
        with pytest.raises(InputError, match=r"120 users .* hold what their validation cases"):
            ItemIndexing(indexing.settings).fit(catalog, leaky)

    def test_same_settings_same_codes(self, indexing, catalog, split):
        again = ItemIndexing(indexing.settings).fit(catalog, split)
        np.testing.assert_array_equal(again.codes, indexing.codes)

    def test_saved_and_loaded_is_equal(self, indexing, catalog, tmp_path):
        indexing.save(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
        loaded = load_any(tmp_path)
        assert isinstance(loaded, ItemIndexing)
        np.testing.assert_array_equal(loaded.codes, indexing.codes)
        assert loaded.settings == indexing.settings
        assert loaded.codebook_sizes == indexing.codebook_sizes
        new = catalog_of(7, start=N)
        both = [each.add(indexing.semantic_ids(catalog), new).codes for each in (loaded, indexing)]
        np.testing.assert_array_equal(*both)

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_incomplete_folder_is_refused(self, indexing, tmp_path, name):
        indexing.save(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(RecommenderError, match=name.split(".")[0]):
            load_any(tmp_path)

    def test_files_that_do_not_fit_are_refused(self, indexing, tmp_path):
        indexing.save(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        config["codebook_sizes"].append(4)
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(RecommenderError, match="codes must be a table"):
            load_any(tmp_path)

    def test_new_items_get_codes_and_nobody_moves(self, indexing, catalog):
        ids = indexing.semantic_ids(catalog)
        grown = indexing.add(ids, catalog_of(12, start=N))
        assert len(grown) == N + 12  # SemanticIds refuses equal tuples by itself
        np.testing.assert_array_equal(grown.codes[:N], ids.codes)
        again = indexing.add(ids, catalog_of(12, start=N))
        np.testing.assert_array_equal(again.codes, grown.codes)

    def test_an_item_that_is_there_is_refused(self, indexing, catalog):
        with pytest.raises(InputError, match="'i3' occurs twice"):
            indexing.add(indexing.semantic_ids(catalog), catalog_of(1, start=3))

    def test_one_item(self, indexing):
        one = catalog_of(1)
        log = Interactions.of_histories(one, Histories.of([[0, 0, 0]]))
        assert len(ItemIndexing(indexing.settings).fit(one, leave_one_out(log)).codes) == 1

    def test_stands_in_an_item_tokenizers_place(self, indexing, catalog, split):
        vectors = np.ones((N, 3), np.float32)
        fitted = fit_any(indexing.settings, vectors, catalog, split)
        ids = build_semantic_ids(fitted, catalog, vectors, "extra_level")
        np.testing.assert_array_equal(ids.codes, indexing.codes)
        np.testing.assert_array_equal(codes_before(fitted, ids, vectors), ids.codes)

    def test_use_before_fit_is_refused(self, indexing, catalog, tmp_path):
        with pytest.raises(InputError, match="not fitted"):
            ItemIndexing(indexing.settings).semantic_ids(catalog)
        with pytest.raises(InputError, match="not fitted"):
            ItemIndexing(indexing.settings).save(tmp_path)


@pytest.mark.parametrize("kind", ["sequential", "collaborative"])
def test_training_interactions_do_change_codes(kind, catalog, log, split):
    """So that the test of the leak can fail."""
    other = Histories(log.histories.items[::-1].copy(), log.histories.offsets)
    changed = leave_one_out(Interactions.of_histories(catalog, other))
    first, second = (ItemIndexing(settings_of(kind)).fit(catalog, s) for s in (split, changed))
    assert (first.codes != second.codes).any()


def test_every_split_is_free_of_leaks(log, catalog):
    times = np.arange(len(log.histories.items)) % 9
    timed = Interactions.of_histories(catalog, log.histories, times)
    timed.timestamps[0] = -1  # users must not all start at one moment
    for split in (temporal(timed, 5, 7), user_holdout(log, 0.1, 0)):
        ItemIndexing(SequentialIndexingSettings()).fit(catalog, split)


def test_first_appearance_by_hand():
    train = Histories.of([[4, 2], [], [2, 0, 4], [5]])
    assert first_appearance(train, 7).tolist() == [4, 2, 0, 5, 1, 3, 6]


def test_sequential_by_hand():
    catalog = catalog_of(6)
    # Training keeps all but the last two: [4, 2], [0, 4].
    log = Interactions.of_histories(catalog, Histories.of([[4, 2, 1, 3], [0, 4, 5, 1]]))
    settings = SequentialIndexingSettings(codes=4)
    indexing = ItemIndexing(settings).fit(catalog, leave_one_out(log))
    assert indexing.codebook_sizes == (2, 4)  # room for 8: a quarter more than 6
    order = [4, 2, 0, 1, 3, 5]  # seen in training, then the others by row
    assert indexing.codes[order].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [1, 1]]
    grown = indexing.add(indexing.semantic_ids(catalog), catalog_of(2, start=6))
    assert grown.codes[6:].tolist() == [[1, 2], [1, 3]]
    with pytest.raises(InputError, match=r"all 8 tuples of codes \[2, 4\] are held"):
        indexing.add(grown, catalog_of(1, start=8))


def test_random_depends_on_the_seed_and_on_nothing_else(catalog, split):
    first, second = (
        ItemIndexing(RandomIndexingSettings(codes=16, seed=seed)).fit(catalog, split).codes
        for seed in (0, 1)
    )
    assert (first != second).any(axis=1).mean() > 0.8
    number = first @ [16, 1]
    assert abs(np.corrcoef(number, np.arange(N))[0, 1]) < 0.3
    assert sorted(number) == list(range(N))


def test_category_codes_are_names(catalog, split):
    indexing = ItemIndexing(CategoryIndexingSettings()).fit(catalog, split)
    # Every item is in "Shop", which therefore has no code.
    assert indexing.codebook_sizes[:2] == (3, 6)
    for name, level in (([f"{i % 2}" for i in range(N)], 0), ([f"{i % 5}" for i in range(N)], 1)):
        pairs = set(zip(name, indexing.codes[:, level].tolist(), strict=True))
        assert len(pairs) == len(set(name))
        assert 0 not in {code for _, code in pairs}


def test_new_items_join_their_categories_and_unknown_ones_code_zero(catalog, split):
    indexing = ItemIndexing(CategoryIndexingSettings()).fit(catalog, split)
    rows = [
        {"item_id": "a", "title": "x", "categories": ["Shop", "Climb", "sub3"]},
        {"item_id": "b", "title": "x", "categories": ["Shop", "Garden", "sub3"]},
        {"item_id": "c", "title": "x", "categories": None},
    ]
    new = Catalog.from_table(pa.Table.from_pylist(rows))
    codes = indexing.add(indexing.semantic_ids(catalog), new).codes[N:]
    assert codes[0, :2].tolist() == indexing.codes[3, :2].tolist()  # i3: Climb, sub3
    assert codes[1, :2].tolist() == [0, indexing.codes[3, 1]]
    assert codes[2, :2].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        (["A|x", "A|y", "B|x"], (3, 3)),  # x is one name under A and B
        ([["A", "x"], ["A"], None], (3,)),  # A is common to all that have any
        (["A", "A", "A"], ()),
        ([[["Z"], ["A", "x"]], [["A", "y"]], [["B"]]], (3, 3)),  # of several paths the last
        (["red", "blue", ""], (3,)),
        ([None, None, None], ()),
    ],
)
def test_categories_of_every_shape(values, sizes):
    table = pa.table({"item_id": ["a", "b", "c"], "categories": values})
    catalog = Catalog.from_table(table)
    log = Interactions.of_histories(catalog, Histories.of([[0, 1, 2]]))
    indexing = ItemIndexing(CategoryIndexingSettings()).fit(catalog, leave_one_out(log))
    assert indexing.codebook_sizes[:-1] == sizes
    assert len(np.unique(indexing.codes, axis=0)) == 3


def test_a_level_that_nearly_all_share_has_no_code_of_its_own():
    paths = ["Shop|A", "Shop|B"] * 20 + ["Other|A"]
    table = pa.table({"item_id": [f"i{i}" for i in range(41)], "categories": paths})
    catalog = Catalog.from_table(table)
    log = Interactions.of_histories(catalog, Histories.of([[0, 1, 2]]))
    indexing = ItemIndexing(CategoryIndexingSettings()).fit(catalog, leave_one_out(log))
    assert indexing.codebook_sizes[:-1] == (4,)  # Shop > A, Shop > B, Other > A, and none
    assert len({indexing.codes[i, 0] for i in (0, 1, 40)}) == 3


def test_rare_names_share_code_zero(catalog, split):
    indexing = ItemIndexing(CategoryIndexingSettings(names=2)).fit(catalog, split)
    # Five equally frequent names: ties go by name.
    assert indexing.codes[:5, 1].tolist() == [1, 2, 0, 0, 0]


def test_a_missing_category_column_is_refused(catalog, split):
    with pytest.raises(
        DataError,
        match=r"'category': item_tokenizer\.column names no column.*did you mean 'categories'.*title",
    ):
        ItemIndexing(CategoryIndexingSettings(column="category")).fit(catalog, split)


def test_titles_become_the_codes_of_their_words(catalog, split):
    indexing = ItemIndexing(TitleIndexingSettings(levels=2)).fit(catalog, split)
    assert indexing.codebook_sizes[:2] == (3, 4)
    first, second = indexing.codes[:, 0], indexing.codes[:, 1]
    assert len({(i % 2, int(first[i])) for i in range(N)}) == 2
    assert len({(i % 3, int(second[i])) for i in range(N)}) == 3


def test_clusters_are_the_planted_groups(catalog, split):
    settings = CollaborativeIndexingSettings(branches=3, group=30)
    indexing = ItemIndexing(settings).fit(catalog, split)
    first = indexing.codes[:, 0]
    bought = set(zip(GROUPS[:84].tolist(), first[:84].tolist(), strict=True))
    assert len(bought) == 3
    assert set(first[84:].tolist()) == {3}  # never bought: a code to themselves
    grown = indexing.add(indexing.semantic_ids(catalog), catalog_of(2, start=N))
    assert set(grown.codes[N:, 0].tolist()) == {3}


@pytest.mark.parametrize("group", [1, 4, 10])
def test_groups_are_of_bounded_size(log, split, group):
    settings = CollaborativeIndexingSettings(branches=4, group=group)
    paths, sizes = spectral_paths(split.train, N, settings)
    _, counts = np.unique(paths, axis=0, return_counts=True)
    assert counts.max() <= group
    assert (paths < np.array(sizes)).all()


def test_a_full_cluster_sends_the_farthest_away():
    points = np.array([[0.0], [0.1], [0.2], [0.3], [9.0]])
    chosen = _clusters(points, 2, largest=3, seed=0)
    assert np.bincount(chosen).max() == 3
    assert chosen[4] != chosen[1]
    assert chosen[0] == chosen[1] == chosen[2] or chosen[1] == chosen[2] == chosen[3]


def test_sparse_and_dense_eigenvectors_find_the_same_groups(log, split, monkeypatch):
    settings = CollaborativeIndexingSettings(branches=3, group=30)
    dense, _ = spectral_paths(split.train, N, settings)
    monkeypatch.setattr("genrec.semantic_ids.indexing.spectral.DENSE", 0)
    sparse, _ = spectral_paths(split.train, N, settings)
    assert len(np.unique(np.column_stack([dense[:, 0], sparse[:, 0]]), axis=0)) == 4


@pytest.mark.parametrize("users", [[[0, 0, 0, 0]], [[i, i, i] for i in range(40)]])
def test_a_log_without_co_occurrence_still_indexes(users, catalog):
    log = Interactions.of_histories(catalog, Histories.of(users))
    settings = CollaborativeIndexingSettings(branches=2, group=4)
    indexing = ItemIndexing(settings).fit(catalog, leave_one_out(log))
    assert len(np.unique(indexing.codes, axis=0)) == N
    assert indexing.codebook_sizes[-1] == 5  # groups of 4, and room for one more


def test_hybrid_is_its_paths_and_a_number(catalog, split):
    paths = ["title", {"kind": "category", "levels": 1}]
    indexing = ItemIndexing(settings_of("hybrid", paths=paths)).fit(catalog, split)
    titles = ItemIndexing(TitleIndexingSettings()).fit(catalog, split)
    categories = ItemIndexing(CategoryIndexingSettings(levels=1)).fit(catalog, split)
    np.testing.assert_array_equal(indexing.codes[:, :3], titles.codes[:, :3])
    np.testing.assert_array_equal(indexing.codes[:, 3], categories.codes[:, 0])
    assert isinstance(indexing.settings, HybridIndexingSettings)


def test_items_of_one_path_are_numbered_in_the_order_asked_for():
    table = pa.table({"item_id": list("abcd"), "categories": ["X", "Y", "X", "X"]})
    catalog = Catalog.from_table(table)
    log = Interactions.of_histories(catalog, Histories.of([[3, 0, 1, 2]]))
    for order, expected in (("catalog", [0, 0, 1, 2]), ("sequential", [1, 0, 2, 0])):
        settings = CategoryIndexingSettings(order=order)
        codes = ItemIndexing(settings).fit(catalog, leave_one_out(log)).codes
        assert codes[:, 1].tolist() == expected


def test_digits_by_hand():
    assert digit_sizes(1, 256) == (1,)
    assert digit_sizes(256, 256) == (256,)
    assert digit_sizes(257, 256) == (2, 256)
    assert digit_sizes(65537, 256) == (2, 256, 256)
    assert digits(np.array([0, 257, 511]), (2, 256)).tolist() == [[0, 0], [1, 1], [1, 255]]


def test_a_full_path_gives_the_nearest_free_tuple():
    free = FreeTuples((2, 2, 2), np.array([[0, 0, 0], [0, 0, 1], [1, 1, 0]], np.int32))
    taken = [free.take([0, 0]) for _ in range(2)]
    assert taken == [[0, 1, 0], [0, 1, 1]]  # under the same first code
    assert free.take([0, 0]) == [1, 0, 0]  # no more there
    assert free.take([1, 1]) == [1, 1, 1]
    assert free.take([]) == [1, 0, 1]
    with pytest.raises(InputError, match="all 8 tuples"):
        free.take([1])


def test_tuples_beyond_64_bits():
    sizes = (256,) * 10
    free = FreeTuples(sizes, np.array([[255] * 10, [255] * 9 + [0]], np.int32))
    assert free.take([255] * 9) == [255] * 9 + [1]
