"""Counts beside the language model: the mixture by hand, its filters, and the choice of its weight."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from genrec.common.errors import DataError
from genrec.data.histories import Cases, Histories
from genrec.evaluation.baselines import text_graph
from genrec.evaluation.baselines.text_neighbors import TextNeighbors
from genrec.evaluation.ranking import Ranking
from genrec.fitting.weights import best_weight, choose_weights
from genrec.recommender.memory import Memory, MemorySettings, compare_texts, join
from genrec.recommender.mixture import Component, mix

MODEL = Ranking(
    np.array([[0, 1, 2], [3, -1, -1]], np.int32),
    np.log(np.array([[0.5, 0.3, 0.1], [0.8, 1e-30, 1e-30]], np.float32)),
)
COUNTS = csr_matrix(np.array([[0, 0, 0.25, 0, 0.75], [0, 0, 0, 0, 0]]))


def weighing(distribution, weight):
    """A component of one weight for all rows."""
    return Component(distribution, np.full(distribution.shape[0], weight))


def test_the_mixture_by_hand():
    # 0: .5 * .6; 1: .3 * .6; 2: .1 * .6 + .25 * .4; 4: .75 * .4
    mixed = mix(MODEL, weighing(COUNTS, 0.4), 4)
    assert mixed.items[0].tolist() == [0, 4, 1, 2]
    np.testing.assert_allclose(np.exp(mixed.scores[0]), [0.3, 0.3, 0.18, 0.16], rtol=1e-5)
    assert mixed.items[1].tolist() == [3, -1, -1, -1], "an empty row changes nothing"
    assert np.exp(mixed.scores[1, 0]) == pytest.approx(0.8)
    assert np.isneginf(mixed.scores[1, 1:]).all()


def test_small_probabilities_keep_their_places():
    logs = np.array([[-105.0, -110.0, -800.0]], np.float32)
    model = Ranking(np.array([[4, 2, 1]], np.int32), logs)
    mixed = mix(model, weighing(csr_matrix(np.array([[0.5, 0, 0, 0.5, 0]])), 0.5), 5)
    assert mixed.items.tolist() == [[0, 3, 4, 2, 1]]
    np.testing.assert_allclose(mixed.scores[0, 2:4], logs[0, :2] + np.log(0.5), rtol=1e-5)
    assert np.isfinite(mixed.scores).all()


def test_no_weight_is_the_model_alone():
    alone = mix(MODEL, weighing(COUNTS, 0.0), 3)
    assert alone.items.tolist() == MODEL.items.tolist()
    np.testing.assert_allclose(alone.scores[0], MODEL.scores[0], rtol=1e-5)


def test_counts_are_a_distribution_over_what_may_be_returned():
    train = Histories.of([[0, 1, 2], [0, 1], [0, 3]])
    settings = MemorySettings(power=2, counts={"recency": {"decay": 1.0}})
    memory = Memory.of(train, 5, settings)
    histories = Histories.of([[0], [4], [1, 0]])
    whole = memory.probabilities(histories).toarray()
    # After 0 came 1 twice, 3 once, and 2 once at two steps.
    np.testing.assert_allclose(whole[0], [0, 4 / 5.25, 0.25 / 5.25, 1 / 5.25, 0], rtol=1e-6)
    assert whole[1].sum() == 0


def test_filters_leave_the_scores_of_what_passes_as_they_are():
    whole = mix(MODEL, weighing(COUNTS, 0.4), 5)
    only = Ranking(MODEL.items[:, :1], MODEL.scores[:, :1])
    denied = mix(
        only, weighing(COUNTS, 0.4), 5, deny=[np.array([4, 1], np.int32), np.array([], np.int32)]
    )
    assert denied.items[0].tolist() == [0, 2, -1, -1, -1]
    allowed = mix(only, weighing(COUNTS, 0.4), 5, allow=np.array([0, 4, 3]))
    assert allowed.items[0].tolist() == [0, 4, -1, -1, -1]
    np.testing.assert_array_equal(allowed.scores[0, :2], whole.scores[0, :2])


class Said:
    """A memory that expects what it is told."""

    def __init__(self, settings, counts, texts=None):
        self.settings, self.likeness = settings, texts
        self.probabilities = lambda histories: counts
        self.text_probabilities = lambda histories: texts


@pytest.mark.parametrize(("target", "wanted"), [(0, 0.0), (4, 0.5)])
def test_the_weight_is_what_ranks_the_targets_best(target, wanted):
    cases = Cases(np.arange(2), Histories.of([[9], [9]]), np.array([target, 3]))
    chosen, found = choose_weights(MODEL, Said(MemorySettings(), COUNTS), cases, k=2)
    assert found[f"{chosen.weight}+0.0"] == max(found.values())
    assert (chosen.weight, chosen.text_weight) == (wanted, 0.0)


def test_two_weights_are_chosen_together():
    """Only texts know item 1 of the first case; only counts know item 4 of the second."""
    model = Ranking(np.array([[0], [0]], np.int32), np.log(np.full((2, 1), 0.9, np.float32)))
    counts = csr_matrix(np.array([[0, 0, 0, 0, 0.0], [0, 0, 0, 0, 1]]))
    texts = csr_matrix(np.array([[0, 1.0, 0, 0, 0], [0, 0, 0, 0, 0]]))
    cases = Cases(np.arange(2), Histories.of([[3], [3]]), np.array([1, 4]))
    settings = MemorySettings(text_weight=None)
    chosen, found = choose_weights(model, Said(settings, counts, texts), cases, k=1)
    # Each alone has to outweigh .9 of the model in its own row: w > .9 (1 - w).
    assert found["0.0+0.0"] == 0.0
    assert max(found.values()) == 0.5  # both cannot weigh so much together
    assert max(chosen.weight, chosen.text_weight) == 0.5
    assert min(chosen.weight, chosen.text_weight) == 0.0
    stated = MemorySettings(weight=0.2, text_weight=None)
    chosen, found = choose_weights(model, Said(stated, counts, texts), cases, k=1)
    assert (chosen.weight, chosen.text_weight) == (0.2, 0.5)


def test_a_weight_that_is_stated_may_be_larger_than_any_that_is_tried():
    cases = Cases(np.arange(2), Histories.of([[9], [9]]), np.array([4, 3]))
    stated = MemorySettings(weight=0.95, text_weight=None)
    chosen, found = choose_weights(MODEL, Said(stated, COUNTS, COUNTS), cases, k=2)
    assert (chosen.weight, chosen.text_weight) == (0.95, 0.0)
    assert list(found) == ["0.95+0.0"]


def test_an_empty_row_leaves_its_weight_to_the_model():
    counts = csr_matrix(np.array([[1.0, 0], [0, 0], [0, 0]]))
    texts = csr_matrix(np.array([[0, 1.0], [0, 1], [0, 0]]))
    joined = join([counts, texts], (0.3, 0.1))
    np.testing.assert_allclose(joined.distribution.toarray(), [[0.75, 0.25], [0, 1], [0, 0]])
    np.testing.assert_allclose(joined.weight, [0.4, 0.1, 0.0])


def test_likeness_of_texts_is_that_of_the_neighbours(monkeypatch):
    texts = ["red wool hat", "red wool scarf", "blue sea", "blue sea deep", "red wool hat"]
    neighbors = TextNeighbors.from_texts(texts)
    monkeypatch.setattr(text_graph, "CELLS", 11)  # two rows at once
    likeness, everything = neighbors.graph(2).toarray(), neighbors.vectors
    cosines = np.round((everything @ everything.T).toarray(), 6)
    np.fill_diagonal(cosines, 0)
    for row, expected in zip(likeness, cosines, strict=True):
        best = np.argsort(-expected, kind="stable")[:2]
        kept = np.zeros(5)
        kept[best] = expected[best]
        np.testing.assert_allclose(row, kept, atol=1e-6)
    settings = MemorySettings(weight=0.0, text_weight=0.4, text_power=1)
    memory = Memory.of(Histories.of([[2, 3]]), 5, settings, compare_texts(texts, settings))
    component = memory.component(Histories.of([[0], []]))
    row = component.distribution.toarray()[0]
    assert np.flatnonzero(row).tolist() == [1, 4]
    np.testing.assert_allclose(row[4] / row[1], cosines[0, 4] / cosines[0, 1], rtol=1e-5)
    np.testing.assert_allclose(component.weight, [0.4, 0.0])


def test_weights_that_leave_nothing_for_the_model_are_refused():
    with pytest.raises(ValueError, match="leave nothing for the language model"):
        MemorySettings(weight=0.5, text_weight=0.5)


def test_texts_are_compared_where_that_is_wanted_and_can_be():
    texts = ["red hat", "red scarf", "sea"]
    assert compare_texts(texts, MemorySettings()).nnz == 2
    assert compare_texts(texts, MemorySettings(text_weight=0.0)) is None
    assert compare_texts(texts, MemorySettings(text_items=2)) is None
    assert compare_texts(texts, MemorySettings(text_items=2, text_weight=0.1)).nnz == 2
    assert compare_texts(["!", "-"], MemorySettings()) is None
    with pytest.raises(DataError, match="no item text holds a word"):
        compare_texts(["!", "-"], MemorySettings(text_weight=0.1))


def test_a_weight_chosen_before_stays_unless_another_is_clearly_better():
    gains = {0.2: np.array([0.5, 0.5, 0.0, 1.0]), 0.7: np.array([0.6, 0.4, 0.0, 1.05])}
    assert best_weight(gains) == 0.7
    assert best_weight(gains, 0.2) == 0.2, "by .0125, with a standard error of .04"
    nearly = gains | {0.7: np.array([0.6, 0.5, 0.1, 1.0])}
    assert best_weight(nearly, 0.2) == 0.2, "by .05, with a standard error of .029"
    clearly = gains | {0.7: np.array([0.6, 0.6, 0.1, 1.0])}
    assert best_weight(clearly, 0.2) == 0.7, "by .075, with a standard error of .025"
    one = {0.2: np.array([0.0]), 0.7: np.array([1.0])}
    assert best_weight(one, 0.2) == 0.2, "of one case nothing is known"
    assert best_weight({0.0: np.zeros(3), 0.5: np.zeros(3)}) == 0.0


def test_weights_of_a_memory_chosen_before_stay_on_a_few_cases():
    cases = Cases(np.arange(2), Histories.of([[9], [9]]), np.array([4, 3]))
    before = MemorySettings(weight=0.33, text_weight=0.1)
    said = Said(MemorySettings(), COUNTS, COUNTS)
    alone, _ = choose_weights(MODEL, said, cases, k=2)
    assert (alone.weight, alone.text_weight) != (0.33, 0.1)
    chosen, found = choose_weights(MODEL, said, cases, k=2, prior=before)
    assert (chosen.weight, chosen.text_weight) == (0.33, 0.1)
    assert "0.33+0.1" in found
    stated = Said(MemorySettings(weight=0.5), COUNTS, COUNTS)
    chosen, _ = choose_weights(MODEL, stated, cases, k=2, prior=before)
    assert (chosen.weight, chosen.text_weight) == (0.5, 0.1), (
        "what is stated is no matter of choice"
    )


def test_a_stated_weight_leaves_what_it_leaves_to_one_chosen_before():
    before = MemorySettings(weight=0.0, text_weight=0.95)
    assert MemorySettings(weight=0.1).filled(before).weights == (0.1, pytest.approx(0.89))
    assert MemorySettings().filled(before).weights == (0.0, 0.95)
    assert MemorySettings(weight=0.2, text_weight=0.3).filled(before).weights == (0.2, 0.3)
