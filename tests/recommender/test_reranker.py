"""Reranker: its numbers by hand, its order, its file, and its place in a recommender."""

import json

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from genrec import GenerativeRecommender
from genrec.common.errors import RecommenderError
from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking
from genrec.recommender.components import weights_of, with_weights
from genrec.recommender.mixture import named_by
from genrec.recommender.reranker import FILE, Layers, Reranker

HISTORIES = Histories.of([[3, 5], [17, 4, 99], [61], [118, 0, 61, 5, 30]])


def layers_of(parts, hidden=2, seed=None, **given):
    """Layers that change nothing, or drawn ones."""
    read = 2 * parts
    shapes = {"mean": read, "scale": read, "inner": (read, hidden), "bias": hidden}
    shapes |= {"outer": hidden, "straight": read, "shift": 1}
    drawn = np.random.default_rng(seed)
    made = {
        name: np.zeros(shape) if seed is None else drawn.normal(0, 0.3, shape)
        for name, shape in shapes.items()
    }
    return Layers(**made | {"scale": np.ones(read)} | given)


def test_its_scores_by_hand():
    """One component at .5, the language model at .5: x = ln .2 + .5 * sqrt(.05) for the second item."""
    inner = np.array([[1.0], [0.0], [0.0], [0.5]])  # ln p of the component, root of the model's
    layers = layers_of(2, hidden=1, inner=inner, outer=np.array([2.0]), shift=np.array([0.25]))
    reranker = Reranker({"counts": 0.5, "texts": 0.0}, layers)
    found = reranker.scores(np.array([[1.0, 1.0], [0.2, 0.05]]))
    x = np.array([0.5, np.log(0.2) + 0.5 * np.sqrt(0.05)])
    changed = 2 * torch.nn.functional.gelu(torch.from_numpy(x), approximate="tanh").numpy() + 0.25
    odds = np.array([(1 - 1e-6) / 1e-6, 0.125 / 0.875]) * np.exp(changed)
    np.testing.assert_allclose(found, np.log(odds / (1 + odds)))


def test_layers_that_change_nothing_score_by_the_mixture():
    reranker = Reranker({"counts": 0.7, "texts": 0.3}, layers_of(2))
    said = np.array([[[0.4, 0.1], [0.0, 0.2]]])  # without weight, the language model is not read
    np.testing.assert_allclose(np.exp(reranker.scores(said)), [[0.31, 0.06]])


def test_a_part_that_knows_nothing_of_a_case_says_what_the_language_model_does():
    reranker = Reranker({"counts": 0.6, "texts": 0.2}, layers_of(3))
    parts = {"counts": csr_matrix([[0.0, 1.0], [0, 0]]), "texts": csr_matrix([[0.3, 0.7]] * 2)}
    found = reranker.said(np.array([[0, 1], [0, 1]]), np.array([[0.9, 0.1], [0.8, 0.2]]), parts)
    said = [[[0.0, 0.3, 0.9], [1.0, 0.7, 0.1]], [[0.8, 0.3, 0.8], [0.2, 0.7, 0.2]]]
    np.testing.assert_allclose(found, said)


def test_items_are_ordered_by_score_and_missing_ones_stay_behind():
    outer = {"straight": np.array([0.0, 0, 3, 0])}  # the language model's logarithm counts most
    reranker = Reranker({"counts": 0.5}, layers_of(2, **outer))
    model = Ranking(np.array([[4, 2, 7], [1, 0, 3]]), np.log([[0.1, 0.5, 0.1], [0.2, 0.2, 0.3]]))
    mixed = Ranking(
        np.array([[7, 4, 2], [1, 0, -1]]), np.array([[-1.0, -2, -3], [-1, -2, -np.inf]])
    )
    counts = {"counts": csr_matrix((2, 9))}
    found = reranker.rank(mixed, named_by(model, 9), counts, 2)
    assert found.items.tolist() == [[2, 4], [0, 1]], "equal ones by catalog index"
    whole = reranker.rank(mixed, named_by(model, 9), counts, 3)
    assert whole.items.tolist() == [[2, 4, 7], [0, 1, -1]]
    assert whole.scores[1, 2] == -np.inf
    assert (whole.scores[0] < 0).all()


def test_a_saved_one_comes_back(tmp_path):
    assert Reranker.load(tmp_path) is None
    reranker = Reranker({"counts": 0.123456789012345, "texts": 0.0}, layers_of(2, seed=3))
    reranker.save(tmp_path)
    again = Reranker.load(tmp_path)
    said = np.random.default_rng(0).random((5, 2))
    assert again.weights == reranker.weights
    np.testing.assert_array_equal(again.scores(said), reranker.scores(said))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content["layers"].pop("bias"),
        lambda content: content["layers"].update(shift=[1.0, 2.0]),
        lambda content: content["layers"].update(shift=[float("nan")]),
        lambda content: content["weights"].update(texts=0.2),
    ],
    ids=["a layer is missing", "wrong shape", "not a number", "more parts than layers"],
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    Reranker({"counts": 0.5, "texts": 0.0}, layers_of(2)).save(tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    damage(content)
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(RecommenderError, match=f"{FILE} cannot be read"):
        Reranker.load(tmp_path)


@pytest.fixture(scope="module")
def reranking(recommender):
    """A recommender with a reranker that turns much around."""
    weights = {"counts": 0.3, "texts": 0.2, "text_model": 0.0}
    settings = with_weights(recommender.settings, weights)
    reranker = Reranker(weights_of(settings), layers_of(3, seed=1))
    return recommender.changed(settings=settings, reranker=reranker)


class TestInARecommender:
    def test_it_turns_the_order_around(self, reranking):
        found = reranking.rank(HISTORIES, 10, exclude_seen=True)
        mixture = reranking.changed(reranker=None).rank(HISTORIES, 10, exclude_seen=True)
        assert (found.items != mixture.items).any(axis=1).all()
        assert (np.diff(found.scores) <= 0).all()

    def test_what_it_ranks_is_scored_so_one_by_one(self, reranking):
        # With as many beams as items, the search names all, as scoring does.
        whole = reranking.with_beams(120)
        found = whole.rank(HISTORIES, 10, exclude_seen=True)
        np.testing.assert_allclose(whole.score(HISTORIES, found.items), found.scores, atol=1e-5)

    def test_filters_leave_scores_as_they_are(self, reranking):
        whole = reranking.with_beams(120)
        free = whole.rank(HISTORIES, 60, exclude_seen=True)
        allow = np.arange(0, 120, 2, dtype=np.int32)
        found = whole.rank(HISTORIES, 10, exclude_seen=True, allow=allow)
        compared = 0
        for all_items, all_scores, items, scores in zip(
            free.items, free.scores, found.items, found.scores, strict=True
        ):
            among = dict(zip(all_items.tolist(), all_scores.tolist(), strict=True))
            for item, score in zip(items.tolist(), scores.tolist(), strict=True):
                assert item % 2 == 0
                if item in among:
                    compared += 1
                    assert among[item] == pytest.approx(score, abs=1e-5)
        assert compared >= 20

    def test_it_is_of_one_mixture(self, reranking):
        other = with_weights(reranking.settings, {"counts": 0.31})
        assert reranking.changed(settings=other).reranking is None
        assert reranking.alone().reranking is None
        assert reranking.changed(settings=reranking.settings.replace()).reranking is not None

    def test_a_folder_keeps_it(self, reranking, tmp_path):
        reranking.save_pretrained(tmp_path / "kept")
        again = GenerativeRecommender.from_pretrained(tmp_path / "kept")
        found, before = (r.rank(HISTORIES, 10, exclude_seen=True) for r in (again, reranking))
        np.testing.assert_array_equal(found.items, before.items)
        np.testing.assert_allclose(found.scores, before.scores, atol=1e-5)

    def test_reasons_are_what_its_scores_change_by(self, reranking):
        whole = reranking.with_beams(120)
        ids = whole.catalog.item_ids
        history = [ids[item] for item in (17, 4, 99)]
        found = whole.recommend([history], k=3, explain=1)[0]
        reasons = [(said, reason) for said in found for reason in said.reasons]
        assert reasons
        for said, reason in reasons:
            items = whole.catalog.index_of([said.item_id])[None].astype(np.int32)
            kept = [whole.catalog.index_of([i])[0] for i in history if i != reason.item_id]
            without = whole.score(Histories.of([kept]), items)[0, 0]
            assert reason.score_change == pytest.approx(without - said.score, abs=1e-4)
