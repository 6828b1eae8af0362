from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.common.errors import InputError
from genrec.semantic_ids import RQKMeans, RQKMeansSettings, SemanticIds

POLICIES = ["extra_level", "nearest_free", "sinkhorn"]


@pytest.fixture(scope="module")
def vectors():
    generator = np.random.default_rng(0)
    distinct = generator.normal(size=(40, 6)).astype(np.float32)
    return np.concatenate([distinct, distinct[:15], distinct[:3]])


@pytest.fixture(scope="module")
def tokenizer(vectors):
    return RQKMeans(RQKMeansSettings(levels=2, codes=12)).fit(vectors)


def ids_of(vectors, start=0):
    return [f"item-{i}" for i in range(start, start + len(vectors))]


@pytest.fixture(params=POLICIES)
def semantic_ids(request, vectors, tokenizer):
    return SemanticIds.build(ids_of(vectors), vectors, tokenizer, request.param)


def test_every_item_has_its_own_tuple(semantic_ids, vectors, tokenizer):
    assert len(np.unique(semantic_ids.codes, axis=0)) == len(vectors)
    before = tokenizer.encode(vectors)
    surplus = len(before) - len(np.unique(before, axis=0))
    assert semantic_ids.moved >= surplus > 15
    assert semantic_ids.moved == surplus or semantic_ids.policy == "sinkhorn"


def test_codes_lead_back_to_the_item(semantic_ids):
    shuffled = np.random.default_rng(1).permutation(len(semantic_ids))
    np.testing.assert_array_equal(semantic_ids.index_of(semantic_ids.codes[shuffled]), shuffled)


def test_tuples_of_no_item_lead_nowhere(semantic_ids):
    grid = np.stack(np.unravel_index(range(20), semantic_ids.codebook_sizes), axis=1)
    taken = {tuple(row): i for i, row in enumerate(semantic_ids.codes.tolist())}
    expected = [taken.get(tuple(row), -1) for row in grid.tolist()]
    assert -1 in expected
    assert semantic_ids.index_of(grid).tolist() == expected


def test_arrow_column_round_trip(semantic_ids):
    column = semantic_ids.to_arrow()
    assert column.type == pa.list_(pa.int32())
    for given_column in (column, pa.chunked_array([column[:7], column[7:]]), column[:]):
        again = SemanticIds.from_arrow(semantic_ids.item_ids, given_column, semantic_ids.describe())
        np.testing.assert_array_equal(again.codes, semantic_ids.codes)
        assert again.describe() == semantic_ids.describe()


def test_sliced_arrow_column_is_read_from_its_offset(semantic_ids):
    part = SemanticIds.from_arrow(
        semantic_ids.item_ids[5:9], semantic_ids.to_arrow()[5:9], semantic_ids.describe()
    )
    np.testing.assert_array_equal(part.codes, semantic_ids.codes[5:9])


def test_arrow_column_of_other_lengths_is_refused(semantic_ids):
    column = pa.array([[0, 0], [0]], pa.list_(pa.int32()))
    with pytest.raises(InputError, match=r"lengths \[1, 2\]"):
        SemanticIds.from_arrow(["a", "b"], column, semantic_ids.describe())


@given(st.lists(st.integers(0, 39), min_size=1, max_size=25), st.sampled_from(POLICIES))
@settings(max_examples=60)
def test_adding_items_moves_nobody_and_stays_unique(picks, policy):
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(40, 6)).astype(np.float32)
    tokenizer = RQKMeans(RQKMeansSettings(levels=2, codes=12, iterations=4)).fit(vectors)
    before = SemanticIds.build(ids_of(vectors), vectors, tokenizer, policy)
    after = before.add(ids_of(picks, start=100), vectors[picks], tokenizer)
    np.testing.assert_array_equal(after.codes[:40], before.codes)
    assert after.item_ids == before.item_ids + ids_of(picks, start=100)
    assert len(np.unique(after.codes, axis=0)) == len(after) == 40 + len(picks)
    assert after.codebook_sizes == before.codebook_sizes
    assert before.moved <= after.moved <= before.moved + len(picks)


def test_new_item_takes_the_lowest_free_number_of_its_bucket(tokenizer, vectors):
    before = SemanticIds.build(ids_of(vectors), vectors, tokenizer, "extra_level")
    own = tokenizer.encode(vectors[:1])[0]
    bucket = (before.codes[:, :2] == own).all(axis=1)
    gone = before.item_ids[np.flatnonzero(bucket & (before.codes[:, 2] == 1))[0]]
    after = before.remove([gone]).add(["new"], vectors[:1], tokenizer)
    assert after.codes[-1].tolist() == [*own, 1]


def test_full_bucket_spills_to_another_tuple(tokenizer, vectors):
    before = SemanticIds.build(ids_of(vectors), vectors, tokenizer, "extra_level")
    numbers = before.codebook_sizes[-1]
    after = before.add(
        ids_of(range(numbers + 1), 100), np.tile(vectors[:1], (numbers + 1, 1)), tokenizer
    )
    own = tokenizer.encode(vectors[:1])[0]
    assert (after.codes[:, :2] == own).all(axis=1).sum() == numbers
    assert (after.codes[-1, 0] == own[0]).all()


def test_an_item_that_left_and_came_back_has_its_codes_again(semantic_ids, tokenizer, vectors):
    lone = 39
    name = semantic_ids.item_ids[lone]
    back = semantic_ids.remove([name]).add([name], vectors[lone : lone + 1], tokenizer)
    np.testing.assert_array_equal(back.codes[-1], semantic_ids.codes[lone])


def test_removing_keeps_the_others(semantic_ids):
    gone = [semantic_ids.item_ids[i] for i in (0, 7, 57)]
    left = semantic_ids.remove(gone)
    keep = [i for i in range(len(semantic_ids)) if i not in (0, 7, 57)]
    np.testing.assert_array_equal(left.codes, semantic_ids.codes[keep])
    assert left.item_ids == [semantic_ids.item_ids[i] for i in keep]
    assert left.codebook_sizes == semantic_ids.codebook_sizes


def test_new_catalog_within_the_codebooks_of_an_old_one(semantic_ids, tokenizer):
    other = np.random.default_rng(5).normal(size=(70, 6)).astype(np.float32)
    moved_in = SemanticIds.empty(semantic_ids.codebook_sizes, semantic_ids.policy).add(
        ids_of(other), other, tokenizer
    )
    assert moved_in.codebook_sizes == semantic_ids.codebook_sizes
    assert len(np.unique(moved_in.codes, axis=0)) == 70


def test_nothing_left_and_nothing_added(semantic_ids, tokenizer):
    empty = semantic_ids.remove(semantic_ids.item_ids)
    assert len(empty) == 0
    assert empty.index_of(semantic_ids.codes).tolist() == [-1] * len(semantic_ids)
    assert len(empty.add([], np.empty((0, 6)), tokenizer)) == 0


def test_errors_name_the_item(semantic_ids, tokenizer, vectors):
    with pytest.raises(InputError, match=r"'item-999'.*close: item-"):
        semantic_ids.remove(["item-999"])
    with pytest.raises(InputError, match=r"'item-3' occurs twice"):
        semantic_ids.add(["item-3"], vectors[3:4], tokenizer)
    with pytest.raises(InputError, match="2 item ids but 1 vectors"):
        semantic_ids.add(["a", "b"], vectors[:1], tokenizer)


def test_another_item_tokenizer_is_refused(semantic_ids, vectors):
    other = RQKMeans(RQKMeansSettings(levels=2, codes=5)).fit(vectors)
    with pytest.raises(InputError, match=r"\[5, 5\].*\[12, 12\]"):
        semantic_ids.add(["new"], vectors[:1], other)


def test_what_older_folders_say_of_their_semantic_ids_is_enough(semantic_ids):
    facts = {"codebook_sizes": list(semantic_ids.codebook_sizes), "policy": "nearest_free"}
    again = SemanticIds.from_arrow(
        semantic_ids.item_ids, semantic_ids.to_arrow(), facts | {"moved": 7}
    )
    np.testing.assert_array_equal(again.codes, semantic_ids.codes)
    assert (again.policy, again.moved) == ("nearest_free", 7)


def test_refuse_names_titles_and_goes_on_refusing():
    vectors = np.eye(4, dtype=np.float32)
    tokenizer = RQKMeans(RQKMeansSettings(levels=1, codes=4)).fit(vectors)
    ids, titles = ["a", "b"], ["Tent", "Rope"]
    with pytest.raises(InputError, match=r"is that of 2: 'Tent \(a\)', 'Rope \(b\)'"):
        SemanticIds.build(ids, vectors[[0, 0]], tokenizer, "refuse", titles)
    built = SemanticIds.build(ids, vectors[[0, 1]], tokenizer, "refuse", titles)
    assert len(built.add(["c"], vectors[2:3], tokenizer)) == 3
    with pytest.raises(InputError, match="is that of 2: 'b', 'c'"):
        built.add(["c"], vectors[1:2], tokenizer)


def test_no_room_left_is_refused():
    tokenizer = RQKMeans(RQKMeansSettings(levels=1, codes=3)).fit(np.eye(3))
    full = SemanticIds.build(["a", "b", "c"], np.eye(3), tokenizer, "nearest_free")
    with pytest.raises(InputError, match="4 different semantic IDs"):
        full.add(["d"], np.eye(3)[:1], tokenizer)


@pytest.mark.parametrize(
    ("items", "codes", "message"),
    [
        (["a", "b"], [[0, 1], [0, 1]], r"'a' and 'b' have the same codes \[0, 1\]"),
        (["a", "a"], [[0, 1], [0, 0]], "'a' occurs twice"),
        (["a"], [[0, 2]], "code 2 of level 1 is outside"),
        (["a", "b"], [[0, 1]], "2 item ids but 1 rows"),
        (["a"], [[0.0, 1.0]], "integers"),
    ],
)
def test_what_is_not_one_to_one_is_refused(items, codes, message):
    with pytest.raises(InputError, match=message):
        SemanticIds(items, np.array(codes), (2, 2), "nearest_free")


class TestMappedVectors:
    """Vectors in a file of 16 MiB (32 as float32), of which a few rows at a time are held in memory."""

    ITEMS, SIZE, MOST = 4096, 2048, 8 << 20

    @pytest.fixture(scope="class")
    def tokenizer(self):
        """Distinguishes by the first two values alone: 64 codes of each."""
        codebooks = np.zeros((2, 64, self.SIZE), np.float32)
        for level in range(2):
            codebooks[level, :, level] = np.arange(64) * 10
        tokenizer = RQKMeans()
        state = {f"codebook.{level}": codebook for level, codebook in enumerate(codebooks)}
        tokenizer._restore(state, self.SIZE)
        tokenizer.dimension = self.SIZE
        return tokenizer

    def mapped(self, path, codes):
        """Write float16 vectors that are encoded as `codes` `(N, 2)`; open them memory-mapped."""
        vectors = np.zeros((len(codes), self.SIZE), np.float16)
        vectors[:, :2] = 10 * codes
        vectors[:, 2] = np.arange(len(codes)) % 7 / 8
        np.save(path, vectors)
        return np.load(path, mmap_mode="r")

    @pytest.fixture(scope="class")
    def alone(self, tmp_path_factory):
        """Every item has its own tuple."""
        codes = np.stack(np.divmod(np.arange(self.ITEMS), 64), axis=1)
        return self.mapped(tmp_path_factory.mktemp("mapped") / "alone.npy", codes)

    @pytest.fixture(scope="class")
    def crowded(self, tmp_path_factory):
        """Half of the items have the same tuple, the others one that two share."""
        codes = np.stack(np.divmod(np.arange(self.ITEMS) // 2, 64), axis=1)
        codes[::2] = 63
        return self.mapped(tmp_path_factory.mktemp("mapped") / "crowded.npy", codes)

    @pytest.fixture
    def small_blocks(self, monkeypatch):
        import scipy.optimize  # noqa: F401  (its own memory must not count)

        monkeypatch.setattr("genrec.semantic_ids.base.BLOCK", 128)
        monkeypatch.setattr("genrec.semantic_ids.rows.BLOCK", 128)
        monkeypatch.setattr("genrec.semantic_ids.nearest_free.BLOCK", 128)

    def peak_of(self, work):
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("policy", [*POLICIES, "refuse"])
    def test_no_copy_is_made(self, small_blocks, alone, tokenizer, policy):
        ids = ids_of(alone)
        peak = self.peak_of(lambda: SemanticIds.build(ids, alone, tokenizer, policy))
        assert peak < self.MOST

    @pytest.mark.parametrize("policy", POLICIES)
    def test_nor_where_all_collide(self, small_blocks, crowded, tokenizer, policy):
        ids = ids_of(crowded)
        peak = self.peak_of(lambda: SemanticIds.build(ids, crowded, tokenizer, policy))
        assert peak < self.MOST

    def test_nor_when_items_come(self, small_blocks, alone, tokenizer):
        empty = SemanticIds.empty((64, 64), "nearest_free")
        assert self.peak_of(lambda: empty.add(ids_of(alone), alone, tokenizer)) < self.MOST

    @pytest.mark.parametrize("policy", POLICIES)
    def test_blocks_and_the_type_of_number_change_no_code(
        self, monkeypatch, crowded, tokenizer, policy
    ):
        part = crowded[:900]
        expected = SemanticIds.build(ids_of(part), np.float32(part), tokenizer, policy)
        monkeypatch.setattr("genrec.semantic_ids.base.BLOCK", 128)
        monkeypatch.setattr("genrec.semantic_ids.rows.BLOCK", 128)
        found = SemanticIds.build(ids_of(part), part, tokenizer, policy)
        np.testing.assert_array_equal(found.codes, expected.codes)
        assert found.moved == expected.moved > 0

    def test_items_that_collide_with_nobody_are_read_once(self, crowded, tokenizer):
        class Counting(np.ndarray):
            """Counts how many rows are asked for."""

            rows = 0

            def __getitem__(self, key):
                found = np.asarray(self)[key]
                Counting.rows += len(found)
                return found

        two = np.array([[0, 0], [0, 0]])
        codes = np.concatenate([two, np.stack(np.divmod(np.arange(1, 200), 64), axis=1)])
        vectors = np.zeros((len(codes), self.SIZE), np.float32)
        vectors[:, :2] = 10 * codes
        SemanticIds.build(ids_of(codes), vectors.view(Counting), tokenizer, "nearest_free")
        # All of them to encode, two to see who stays, one to find it a place.
        assert len(codes) <= Counting.rows <= len(codes) + 10

    def test_a_value_that_is_not_finite_is_found(self, tokenizer):
        vectors = np.zeros((3, self.SIZE))
        vectors[1, 5] = 1e300
        with pytest.raises(InputError, match="the first is row 1 of 3"):
            SemanticIds.build(["a", "b", "c"], vectors, tokenizer)
