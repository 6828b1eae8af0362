"""Baselines on data with the answer planted, and the promises every ranker keeps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from genrec.common.errors import DataError, InputError
from genrec.data.histories import Cases, Histories, Split
from genrec.evaluation import Protocol, audit, evaluate
from genrec.evaluation import ranking as ranking_module
from genrec.evaluation.baselines import (
    CoOccurrence,
    CoOccurrenceConfig,
    Popularity,
    Recency,
    RepeatLast,
    TextNeighbors,
    TextNeighborsConfig,
    standard_baselines,
)
from genrec.evaluation.baselines.cooccurrence import weigh_pairs

N = 12
COLORS = ["crimson scarlet", "azure cobalt"]


@pytest.fixture
def train():
    """Draw a checkerboard: a user buys only even or only odd items, each after the one 2 below."""
    rng = np.random.default_rng(0)
    starts, lengths = rng.integers(0, N, 300), rng.integers(3, 6, 300)
    return Histories.of(
        [(start + 2 * np.arange(length)) % N for start, length in zip(starts, lengths, strict=True)]
    )


@pytest.fixture
def split(train):
    targets = np.arange(N, dtype=np.int32)
    cases = Cases(np.arange(N), Histories.of(((targets - 2) % N)[:, None]), targets)
    return Split("checkerboard", train, cases, cases)


@pytest.fixture
def texts():
    return [f"{COLORS[item % 2]} number{item}" for item in range(N)]


@pytest.fixture
def histories():
    rng = np.random.default_rng(1)
    return Histories.of([rng.integers(0, N, length) for length in (0, 1, 2, 5, 9, 30)])


def names(rankers):
    return [ranker.name for ranker in rankers]


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize(
    "position",
    range(6),
    ids=["popularity", "repeat_last", "cooccurrence", "pctm", "seqrules", "tfidf"],
)
class TestEveryBaseline:
    @pytest.fixture
    def ranker(self, split, texts, position):
        return standard_baselines(split, N, texts)[position]

    def test_returns_allowed_distinct_items_best_first(self, ranker, histories, exclude_seen):
        ranking = ranker.rank(histories, 5, exclude_seen=exclude_seen)
        assert ranking.items.shape == (len(histories), 5)
        assert (ranking.items.dtype, ranking.scores.dtype) == (np.int32, np.float32)
        assert audit(ranking, histories, N, exclude_seen).total == 0
        assert ((ranking.items == -1) == (ranking.scores == -np.inf)).all()
        later, earlier = ranking.scores[:, 1:], ranking.scores[:, :-1]
        assert (later <= earlier).all()

    def test_a_batch_equals_single_cases(self, ranker, histories, exclude_seen, monkeypatch):
        batch = ranker.rank(histories, 5, exclude_seen=exclude_seen)
        singles = [ranker.rank(Histories.of([h]), 5, exclude_seen=exclude_seen) for h in histories]
        assert batch.items.tolist() == [single.items[0].tolist() for single in singles]
        monkeypatch.setattr(ranking_module, "CHUNK_CELLS", 20)
        chunked = ranker.rank(histories, 5, exclude_seen=exclude_seen)
        assert chunked.items.tolist() == batch.items.tolist()

    def test_fewer_than_k_end_in_padding(self, ranker, exclude_seen):
        histories = Histories.of([np.arange(N), []])
        ranking = ranker.rank(histories, N + 3, exclude_seen=exclude_seen)
        assert (ranking.items[:, N:] == -1).all()
        if exclude_seen:
            assert (ranking.items[0] == -1).all(), "everything was seen"

    def test_no_histories(self, ranker, exclude_seen):
        assert ranker.rank(Histories.of([]), 3, exclude_seen=exclude_seen).items.shape == (0, 3)


def test_popularity_counts_events_and_breaks_ties_by_index():
    ranker = Popularity.fit(Histories.of([[3, 1], [3, 3], [1, 0], [2]]), 6)
    histories = Histories.of([[3], []])
    ranking = ranker.rank(histories, 6, exclude_seen=True)
    assert ranking.items.tolist() == [[1, 0, 2, 4, 5, -1], [3, 1, 0, 2, 4, 5]]
    assert ranking.scores[1].tolist() == [3, 2, 1, 1, 0, 0]
    assert ranker.rank(histories, 2, exclude_seen=False).items[0].tolist() == [3, 1]


def test_repeat_last_is_newest_first_without_repeats():
    histories = Histories.of([[4, 2, 4, 1], [], [5, 5]])
    ranking = RepeatLast().rank(histories, 3, exclude_seen=False)
    assert ranking.items.tolist() == [[1, 4, 2], [-1, -1, -1], [5, -1, -1]]
    assert ranking.scores[0].tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert (RepeatLast().rank(histories, 3, exclude_seen=True).items == -1).all()


def test_pairs_are_counted_forward_within_the_window():
    counts = weigh_pairs(
        Histories.of([[0, 1, 2], [0, 1], [3, 3]]), 4, np.array([1, 1 / 2])
    ).toarray()
    expected = np.zeros((4, 4))
    expected[0, 1], expected[1, 2], expected[0, 2] = 2, 1, 0.5
    assert counts.tolist() == expected.tolist()
    assert weigh_pairs(Histories.of([]), 4, np.ones(2)).nnz == 0


def test_cooccurrence_finds_the_planted_successor(train):
    ranker = CoOccurrence.fit(train, N)
    last = np.arange(N)
    ranking = ranker.rank(Histories.of(last[:, None]), 3, exclude_seen=True)
    assert ranking.items[:, 0].tolist() == ((last + 2) % N).tolist()
    assert (ranking.items % 2 == last[:, None] % 2).all(), "never the other colour"


def test_cooccurrence_both_ways_also_finds_the_predecessor(train):
    ranker = CoOccurrence.fit(train, N, CoOccurrenceConfig(both_directions=True))
    ranking = ranker.rank(Histories.of([[6]]), 2, exclude_seen=True)
    assert set(ranking.items[0].tolist()) == {4, 8}


def test_cooccurrence_listens_to_the_newest_item_most():
    train = Histories.of([[0, 1], [2, 3]])
    recent = CoOccurrence.fit(train, 5).rank(Histories.of([[2, 0], [0, 2]]), 2, exclude_seen=True)
    assert recent.items.tolist() == [[1, 3], [3, 1]]
    assert recent.scores.tolist() == pytest.approx(np.array([[2 / 3, 1 / 3]] * 2))
    last_only = CoOccurrenceConfig(recency=Recency(max_history=1))
    scores = CoOccurrence.fit(train, 5, last_only).rank(
        Histories.of([[2, 0]]), 2, exclude_seen=True
    )
    assert scores.scores.tolist() == [[1, 0]]


def test_cooccurrence_fills_and_breaks_ties_by_popularity():
    train = Histories.of([[0, 1], [0, 2], [2], [3], [3], [3], [4]])
    ranking = CoOccurrence.fit(train, 6).rank(Histories.of([[0]]), 5, exclude_seen=True)
    assert ranking.items.tolist() == [[2, 1, 3, 4, 5]]  # 2 beats 1 by sales; then 3, 4, 5 by sales
    assert ranking.scores.tolist() == [[1, 1, 0, 0, 0]]


def test_cooccurrence_keeps_the_strongest_neighbors():
    train = Histories.of([[0, 1], [0, 1], [0, 2], [0, 3], [3], [3], [4, 2]])
    weights = CoOccurrence.fit(train, 5, CoOccurrenceConfig(max_neighbors=2)).weights.toarray()
    assert weights[0].tolist() == [0, 2, 0, 1, 0], "2 and 3 tie, 3 sold better"
    assert weights[4].tolist() == [0, 0, 1, 0, 0]


def test_cooccurrence_can_discount_popular_candidates():
    train = Histories.of([[0, 1], [0, 1], [0, 2], *[[1]] * 9])
    history = Histories.of([[0]])
    plain = CoOccurrence.fit(train, 3).rank(history, 2, exclude_seen=True)
    discounted = CoOccurrence.fit(train, 3, CoOccurrenceConfig(popularity_power=1.0))
    assert plain.items.tolist() == [[1, 2]]
    assert discounted.rank(history, 2, exclude_seen=True).items.tolist() == [[2, 1]]


@pytest.mark.parametrize("sparse", [False, True])
def test_text_neighbors_rank_by_cosine(sparse):
    vectors = np.array([[2, 0], [10, 1], [1, 1], [0, 3], [-1, 0], [0, 0]], np.float32)
    last_only = TextNeighborsConfig(recency=Recency(max_history=1))
    ranker = TextNeighbors(csr_matrix(vectors) if sparse else vectors, last_only)
    ranking = ranker.rank(Histories.of([[3, 0], [5]]), 4, exclude_seen=False)
    assert ranking.items.tolist() == [[0, 1, 2, -1], [-1] * 4]
    assert ranking.scores[0, :3].tolist() == pytest.approx([1, 10 / 101**0.5, 0.5**0.5], abs=1e-6)
    assert vectors[0, 0] == 2, "the caller's vectors stay as they were"


def test_text_neighbors_can_listen_to_the_whole_history():
    vectors = np.eye(4, dtype=np.float32)
    config = TextNeighborsConfig(recency=Recency(max_history=3, decay=0.5))
    ranking = TextNeighbors(vectors, config).rank(
        Histories.of([[3, 0, 1, 2]]), 4, exclude_seen=False
    )
    assert ranking.items.tolist() == [[2, 1, 0, -1]]
    assert ranking.scores[0, :3].tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=1e-6)


def test_equal_vectors_tie_to_the_lower_index():
    vectors = np.random.default_rng(0).normal(size=(1, 37)).repeat(50, axis=0).astype(np.float32)
    histories = Histories.of([[i] for i in range(50)])
    ranking = TextNeighbors(vectors).rank(histories, 3, exclude_seen=False)
    assert ranking.items.tolist() == [[0, 1, 2]] * 50


def test_tfidf_finds_the_planted_colour(texts):
    ranking = TextNeighbors.from_texts(texts).rank(Histories.of([[0], [1]]), N, exclude_seen=True)
    assert sorted(ranking.items[0][:5].tolist()) == [2, 4, 6, 8, 10]
    assert sorted(ranking.items[1][:5].tolist()) == [3, 5, 7, 9, 11]
    assert (ranking.items[:, 5:] == -1).all(), "no shared word, no neighbour"


def test_texts_without_words_are_refused():
    with pytest.raises(DataError, match="no item text holds a word"):
        TextNeighbors.from_texts(["", "?"])


def test_standard_baselines(split, texts):
    fitted = ["popularity", "repeat_last", "cooccurrence", "pctm", "seqrules"]
    assert names(standard_baselines(split, N, texts)) == [*fitted, "tfidf"]
    assert names(standard_baselines(split, N)) == fitted
    with pytest.raises(InputError, match="got 11 texts for 12 items"):
        standard_baselines(split, N, texts[1:])


def test_standard_counts_know_whether_seen_items_may_come_again(split):
    for exclude_seen in (True, False):
        counts = standard_baselines(split, N, exclude_seen=exclude_seen)[3:5]
        assert [ranker.config.repeats for ranker in counts] == [not exclude_seen] * 2


def test_planted_sequences_are_measured_as_such(split):
    ranker = CoOccurrence.fit(split.train, N)
    result = evaluate(ranker, split.test, Protocol(ks=(1,)), N)
    assert result.metrics["recall@1"] == 1
    assert result.metrics["coverage@1"] == 1
