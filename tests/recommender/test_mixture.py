"""The mixture by hand: probabilities, filters, rows where a component knows nothing."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from genrec.evaluation.ranking import Ranking
from genrec.recommender.mixture import Share, join, mix

MODEL = Ranking(
    np.array([[0, 1, 2], [3, -1, -1]], np.int32),
    np.log(np.array([[0.5, 0.3, 0.1], [0.8, 1e-30, 1e-30]], np.float32)),
)
COUNTS = csr_matrix(np.array([[0, 0, 0.25, 0, 0.75], [0, 0, 0, 0, 0]]))


def weighing(distribution, weight):
    """A share of one weight in all rows."""
    return Share(distribution, np.full(distribution.shape[0], weight))


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


def test_an_empty_row_leaves_its_weight_to_the_model():
    counts = csr_matrix(np.array([[1.0, 0], [0, 0], [0, 0]]))
    texts = csr_matrix(np.array([[0, 1.0], [0, 1], [0, 0]]))
    joined = join([counts, texts], (0.3, 0.1))
    np.testing.assert_allclose(joined.distribution.toarray(), [[0.75, 0.25], [0, 1], [0, 0]])
    np.testing.assert_allclose(joined.weight, [0.4, 0.1, 0.0])
