"""Components of the mixture: the contract that every kind keeps, and their weights in the settings."""

from itertools import combinations

import numpy as np
import pytest

from genrec import FitSettings
from genrec.common.config import validate
from genrec.common.errors import ConfigError
from genrec.data.histories import Histories
from genrec.recommender.components import KINDS, weights_of, with_weights
from genrec.recommender.text_model import model as text_model

LONG = [item % 90 for item in range(0, 770, 7)]
HISTORIES = [[3], [], [17, 4, 4, 99], LONG, [4, 17, 99, 4], [118, 0, 61, 5, 30], []]
ALLOW = np.array([61, 2, 5, 7, 118, 30, 31, 32, 90, 4], np.int32)


@pytest.fixture(autouse=True)
def _short_rows(monkeypatch):
    """Rows name a few of 120 items, so that some that are asked for are not named."""
    monkeypatch.setattr(text_model, "NAMED", 20)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    """Every kind of component."""
    return request.param


@pytest.fixture
def alone(kind, recommender):
    """A fitted recommender that mixes nothing but this kind with its language model."""
    nothing = dict.fromkeys(weights_of(recommender.settings), 0.0)
    weights = nothing | {kind.name: 0.3}
    return recommender.changed(settings=with_weights(recommender.settings, weights))


@pytest.fixture
def component(kind, alone):
    """One of this kind."""
    made = kind.make(alone)
    assert made is not None
    return made


@pytest.fixture
def asked(recommender):
    """Seven items for each history, named or not, one of them twice."""
    drawn = np.random.default_rng(0).integers(0, len(recommender.catalog), (len(HISTORIES), 7))
    drawn[:, 6] = drawn[:, 0]
    drawn[:, 5] = 17
    return drawn.astype(np.int32)


def dense(matrix):
    return np.asarray(matrix.toarray(), np.float64)


class TestContract:
    """What `Component` promises, on a recommender of the shop."""

    def test_it_has_the_name_of_its_kind(self, kind, component):
        assert component.name == kind.name
        assert component.reads >= 1

    def test_a_row_is_a_distribution_or_empty(self, component, recommender):
        found = component.scores(Histories.of(HISTORIES))
        assert found.shape == (len(HISTORIES), len(recommender.catalog))
        assert (found.data >= 0).all()
        assert np.isfinite(found.data).all()
        filled = np.diff(found.indptr) > 0
        np.testing.assert_allclose(dense(found).sum(axis=1), filled, rtol=1e-6)
        assert filled.sum() >= 4, "it knows something of this shop"
        assert not filled[[1, 6]].any(), "nothing follows from no item"

    def test_it_tells_histories_and_items_apart(self, component):
        found = dense(component.scores(Histories.of([[3], [17], [61]])))
        assert len(np.unique(found, axis=0)) == 3
        assert (found.max(axis=1) > 2 / found.shape[1]).all()

    def test_what_may_be_returned_changes_no_probability(self, component):
        histories = Histories.of(HISTORIES)
        whole, found = (dense(component.scores(histories, allow)) for allow in (None, ALLOW))
        left_out = found == 0
        left_out[:, ALLOW] = False
        # An item that a row names is named still, if it may be; others may come in its train.
        named = whole.copy()
        named[left_out] = 0
        np.testing.assert_allclose(found[named > 0], named[named > 0], rtol=1e-6)
        assert (named > 0).any()
        everything = dense(component.scores_of(histories, np.tile(ALLOW, (len(histories), 1))))
        more = found[:, ALLOW] > 0
        np.testing.assert_allclose(found[:, ALLOW][more], everything[:, ALLOW][more], rtol=1e-6)
        assert component.scores(histories, np.empty(0, np.int32)).shape == whole.shape

    def test_scores_of_given_items_agree(self, component, asked):
        histories = Histories.of(HISTORIES)
        whole, found = (
            dense(component.scores(histories)),
            dense(component.scores_of(histories, asked)),
        )
        rows = np.arange(len(histories))[:, None]
        named = whole[rows, asked] > 0
        assert named.any()
        np.testing.assert_allclose(found[rows, asked][named], whole[rows, asked][named], rtol=1e-6)
        assert (found >= 0).all()
        assert not found[[1, 6]].any()
        # Who is not named is no likelier than who is.
        least = np.where(whole > 0, whole, np.inf).min(axis=1)[:, None]
        assert (found[rows, asked] <= least * (1 + 1e-6))[~named].all()

    def test_only_the_newest_items_count(self, component):
        newest = LONG[-component.reads :]
        histories = Histories.of([LONG, newest, [*range(100, 110), *newest]])
        found = dense(component.scores(histories))
        np.testing.assert_allclose(found[[0, 2]], found[[1, 1]], rtol=1e-5, atol=1e-9)

    def test_a_batch_is_its_histories_one_by_one(self, component, asked):
        histories = Histories.of(HISTORIES)
        whole = dense(component.scores(histories)), dense(component.scores_of(histories, asked))
        for row, history in enumerate(HISTORIES):
            one = Histories.of([history])
            found = component.scores(one), component.scores_of(one, asked[[row]])
            for part, expected in zip(found, whole, strict=True):
                np.testing.assert_allclose(dense(part)[0], expected[row], rtol=1e-4, atol=1e-8)

    def test_no_histories(self, component, recommender):
        nobody, shape = Histories.of([]), (0, len(recommender.catalog))
        assert component.scores(nobody).shape == shape
        assert component.scores(nobody, ALLOW).shape == shape
        assert component.scores_of(nobody, np.empty((0, 7), np.int32)).shape == shape

    def test_its_weight_is_its_share_of_the_mixture(self, kind, component, alone, asked):
        assert [part.name for part in alone.components] == [kind.name]
        assert alone.alone().components == ()
        histories = Histories.of(HISTORIES)
        codes = np.exp(alone.alone().score(histories, asked).astype(np.float64))
        own = dense(component.scores_of(histories, asked))[np.arange(len(asked))[:, None], asked]
        knows = np.diff(component.scores(histories).indptr) > 0
        expected = np.where(knows[:, None], 0.7 * codes + 0.3 * own, codes)
        np.testing.assert_allclose(np.exp(alone.score(histories, asked)), expected, rtol=1e-4)


def test_no_two_kinds_share_a_name_or_a_setting():
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert len({(kind.part, kind.weight) for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("weight", [0.25, 0.0, None])
def test_a_weight_is_read_where_it_was_written(kind, weight):
    start = FitSettings(memory={"weight": 0.1, "text_weight": 0.2}, text_model={"weight": 0.3})
    before = weights_of(start)
    changed = with_weights(start, {kind.name: weight})
    assert weights_of(changed) == before | {kind.name: weight}
    assert getattr(getattr(changed, kind.part), kind.weight) == weight
    assert kind.weight_of(changed) == weight
    assert with_weights(changed, before) == start, "nothing else was touched"


def test_all_weights_at_once():
    weights = {kind.name: place / 16 for place, kind in enumerate(KINDS, start=1)}
    changed = with_weights(FitSettings(), weights)
    assert weights_of(changed) == weights
    assert with_weights(changed, {}) == changed
    assert list(weights_of(changed)) == [kind.name for kind in KINDS]


@pytest.mark.parametrize(
    "pair", combinations(KINDS, 2), ids=lambda pair: f"{pair[0].name}-{pair[1].name}"
)
def test_weights_above_one_are_refused(pair):
    nothing = with_weights(FitSettings(), {kind.name: 0.0 for kind in KINDS})
    one, other = (kind.name for kind in pair)
    exactly = with_weights(nothing, {one: 0.4, other: 0.6})
    assert sum(weights_of(exactly).values()) == 1
    values = {part: {} for part in {kind.part for kind in pair}}
    for kind, weight in zip(pair, (0.41, 0.6), strict=True):
        values[kind.part][kind.weight] = weight
    says = [f"{kind.part}.{kind.weight} = {w}" for kind, w in zip(pair, (0.41, 0.6), strict=True)]
    with pytest.raises(ConfigError, match="more than 1 together; lower them") as refused:
        validate(FitSettings, values, source="settings.yaml")
    assert all(words in str(refused.value) for words in says)
    with pytest.raises(ValueError, match="more than 1 together"):
        with_weights(nothing, {one: 0.41, other: 0.6})
