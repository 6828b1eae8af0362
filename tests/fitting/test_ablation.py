"""What each part of a mixture brings: planted parts, the whole against `rank`, differences by hand."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from genrec import FitSettings, GenerativeRecommender
from genrec.common.errors import InputError
from genrec.data.histories import Cases, Histories
from genrec.decoding import BeamSearch
from genrec.evaluation.ranking import Ranking
from genrec.fitting.ablation import likeliest, measure_components
from genrec.recommender.components import with_weights
from genrec.recommender.measure import judge_of

PLANTED = {"counts": 0.4, "texts": 0.3, "text_model": 0.0}


@pytest.fixture(scope="module")
def fitted(shop, quick_settings):
    """A recommender that has every part: codes, pointer, counts, texts."""
    stated = {"text_model": {"weight": 0.0}, "memory": {"weight": 0.3, "text_weight": 0.2}}
    compact = quick_settings["language_model"] | {"pointer": True, "pointer_weight": 0.4}
    training = quick_settings["training"] | {"max_steps": 20}
    settings = quick_settings | stated | {"language_model": compact, "training": training}
    return GenerativeRecommender.fit(shop.catalog, shop.log, FitSettings.model_validate(settings))


class Said:
    """A component that says the same of the same history: `row(history)` is {item: probability}."""

    def __init__(self, name, row, n_items):
        self.name, self.row, self.n_items = name, row, n_items

    def scores(self, histories, allow=None):
        dense = np.zeros((len(histories), self.n_items))
        for place, history in enumerate(histories):
            for item, probability in self.row(history).items():
                dense[place, item] = probability
        return csr_matrix(dense)


@pytest.fixture(scope="module")
def answers(fitted):
    """The target after each history, validation and test."""
    parts = (fitted.split.valid, fitted.split.test)
    return {
        h.tobytes(): t
        for cases in parts
        for h, t in zip(cases.histories, cases.targets, strict=True)
    }


@pytest.fixture(scope="module")
def planted(fitted, answers):
    """Counts know what comes next nearly always, texts say anything at random."""
    n_items = len(fitted.catalog)

    def knows(history):
        rng = np.random.default_rng(int(history.sum()) + 1)
        other = int(rng.integers(n_items))
        named = int(answers[history.tobytes()]) if rng.random() < 0.8 else other
        return {named: 0.9}

    def anything(history):
        rng = np.random.default_rng(int(history.sum()))
        items = rng.choice(n_items, 10, replace=False).tolist()
        return dict(zip(items, rng.dirichlet(np.ones(10)), strict=True))

    recommender = fitted.changed(settings=with_weights(fitted.settings, PLANTED))
    said = Said("counts", knows, n_items), Said("texts", anything, n_items)
    vars(recommender)["components"] = said
    return recommender


@pytest.fixture(scope="module")
def rows(planted):
    return {row.name: row for row in measure_components(planted)}


def ndcg(row):
    """The ndcg@10 of each case, where no target is tied."""
    results = row.evaluation.results
    assert (results.tied == 1).all()
    return np.where(results.ranks < 10, 1 / np.log2(results.ranks + 2), 0.0)


def test_a_part_that_knows_the_answer_is_missed_and_noise_is_not(rows):
    known, noise = (
        rows[f"without the {part}"].differences["ndcg@10"]
        for part in ("counts of the log", "likeness of texts")
    )
    assert known.low > 0.3
    assert noise.low < 0.02
    assert abs(noise.value) < 0.05
    assert rows["counts of the log alone"].evaluation.metrics["recall@10"] > 0.75
    assert rows["likeness of texts alone"].evaluation.metrics["recall@10"] < 0.2
    assert rows["without the counts of the log"].weights["texts"] < 0.4


def test_every_part_has_its_rows(rows):
    assert list(rows) == [
        "genrec",
        "language model alone",
        "its codes alone",
        "counts of the log alone",
        "likeness of texts alone",
        "without the language model",
        "without the counts of the log",
        "without the likeness of texts",
    ]
    assert rows["genrec"].weights == {"language_model": 0.3, "counts": 0.4, "texts": 0.3}
    assert rows["counts of the log alone"].weights == {"counts": 1.0}
    for name, row in rows.items():
        assert sum(row.weights.values()) == pytest.approx(1, abs=0.002)
        assert (row.differences is None) == (not name.startswith("without"))
    assert rows["without the language model"].weights.keys() == {"counts", "texts"}
    assert rows["without the counts of the log"].weights.keys() == {"language_model", "texts"}


def test_differences_are_those_of_the_same_cases(rows):
    whole = ndcg(rows["genrec"])
    for name in ("language model", "counts of the log"):
        row = rows[f"without the {name}"]
        gains = whole - ndcg(row)
        found = row.differences["ndcg@10"]
        assert found.value == pytest.approx(gains.mean(), abs=1e-12)
        error = gains.std() / np.sqrt(len(gains))
        ends = gains.mean() - 1.96 * error, gains.mean() + 1.96 * error
        assert (found.low, found.high) == pytest.approx(ends, abs=0.3 * error)


@pytest.mark.parametrize(("exclude_seen", "ks"), [(True, (5, 10)), (False, (3,)), (True, (30,))])
def test_the_whole_is_what_the_recommender_ranks(fitted, exclude_seen, ks):
    judge = judge_of(fitted, "valid", ks, exclude_seen)
    [expected] = judge.measure([fitted])
    whole, model, codes, *_ = measure_components(fitted, judge)
    measured = judge.measure([fitted, fitted.alone(), fitted.codes_alone()])
    for row, expected in zip((whole, model, codes), measured, strict=True):
        for name in ("top", "ranks", "tied", "probabilities"):
            found = getattr(row.evaluation.results, name)
            np.testing.assert_array_equal(found, getattr(expected.results, name))
        assert row.evaluation.metrics == expected.metrics
    assert len({row.evaluation.metrics["ndcg@" + str(ks[0])] for row in (whole, model, codes)}) == 3


def test_language_model_and_its_teacher_have_a_row_without_both(recommender):
    weights = {"counts": 0.2, "texts": 0.2, "text_model": 0.3}
    settings = with_weights(recommender.settings, weights)
    rows = {row.name: row for row in measure_components(recommender.changed(settings=settings))}
    both = rows["without the language model and the text model"]
    assert both.weights.keys() == {"counts", "texts"}
    alone = dict.fromkeys(weights, 0.0) | {"text_model": 0.3}
    settings = with_weights(recommender.settings, alone)
    rows = {row.name: row for row in measure_components(recommender.changed(settings=settings))}
    assert "without the language model and the text model" not in rows, "nothing would be left"
    assert "without the language model" in rows


def mixing(fitted, counts, texts):
    """The recommender with these rows {item: probability} of a history as its components."""
    recommender = fitted.changed(settings=with_weights(fitted.settings, PLANTED))
    n_items = len(fitted.catalog)
    vars(recommender)["components"] = Said("counts", counts, n_items), Said("texts", texts, n_items)
    return recommender


def test_each_part_reads_each_case_once(fitted, monkeypatch):
    """Also where ties are cut, which asks again about a few cases: half of the counts' lists are all ties."""
    recommender = mixing(
        *(fitted, lambda history: dict.fromkeys(range(40 * (int(history.sum()) % 2)), 0.025)),
        lambda history: {int(history[0] + 1) % 120: 1.0},
    )
    read, scored = [], []
    search, scores = BeamSearch.search, Said.scores

    def searched(self, prompts, *more, **named):
        read.append(len(prompts))
        return search(self, prompts, *more, **named)

    def said(self, histories, *more):
        scored.append((self.name, len(histories)))
        return scores(self, histories, *more)

    monkeypatch.setattr(BeamSearch, "search", searched)
    monkeypatch.setattr(Said, "scores", said)
    measure_components(recommender)
    assert read == [100, 300], "validation cases as many as a fit draws, then the test"
    first = [("counts", 100), ("texts", 100), ("counts", 300), ("texts", 300)]
    assert scored[:4] == first
    again = scored[4:]
    assert len(again) > 1
    assert all(count < 300 for _, count in again)


def test_a_part_without_weight_names_nothing(fitted, answers):
    """Any weight of the counts up to a half is as good as none, so they get none."""
    recommender = mixing(
        *(fitted, lambda history: {int(answers[history.tobytes()] + 1) % 120: 0.9}),
        lambda history: {int(answers[history.tobytes()]): 1.0},
    )
    [row] = [r for r in measure_components(recommender) if r.name == "without the language model"]
    assert row.weights == {"counts": 0.0, "texts": 1.0}
    top = row.evaluation.results.top
    np.testing.assert_array_equal(top[:, 0], row.evaluation.results.targets)
    assert (top[:, 1:] == -1).all()


def test_without_a_language_model_an_empty_row_is_the_others(fitted, answers):
    def odd(history):
        return int(history.sum()) % 2 == 1

    def answer(history, off=0):
        return int(answers[history.tobytes()] + off) % 120

    recommender = mixing(
        *(fitted, lambda history: {answer(history): 0.8} if odd(history) else {}),
        lambda history: {answer(history, off=odd(history)): 0.9},
    )
    [row] = [r for r in measure_components(recommender) if r.name == "without the language model"]
    # The texts are wrong where the counts are right, so the counts have the larger share, the first is .6.
    assert row.weights["counts"] == pytest.approx(0.6)
    empty = np.array([not odd(history) for history in fitted.split.test.histories])
    np.testing.assert_allclose(row.evaluation.results.probabilities[empty], 0.9)
    np.testing.assert_allclose(row.evaluation.results.probabilities[~empty], 0.48)


def test_the_test_cases_choose_nothing(planted, rows):
    """Other targets of the test give other results, and the same weights."""
    parts = planted.split
    turned = dataclasses.replace(parts.test, targets=parts.test.targets[::-1])
    judge = dataclasses.replace(judge_of(planted), parts=dataclasses.replace(parts, test=turned))
    for row in measure_components(planted, judge):
        assert row.weights == rows[row.name].weights
    assert row.evaluation.metrics != rows[row.name].evaluation.metrics


def test_without_validation_cases_no_weights_can_be_chosen(fitted):
    judge = judge_of(fitted)
    parts = dataclasses.replace(judge.parts, valid=Cases.none())
    with pytest.raises(InputError, match="no user has a validation case"):
        measure_components(fitted, dataclasses.replace(judge, parts=parts))


class Network:
    """Scores the whole catalog: the answer highest."""

    name = "network"

    def __init__(self, answers, n_items):
        self.answers, self.n_items = answers, n_items

    def rank(self, histories, k, *, exclude_seen):
        assert (k, exclude_seen) == (self.n_items, False), "the whole catalog is scored"
        scores = np.tile(-np.arange(self.n_items, dtype=np.float32) / 50, (len(histories), 1))
        for place, history in enumerate(histories):
            scores[place, self.answers[history.tobytes()]] = 9.0
        items = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
        return Ranking(items, np.take_along_axis(scores, items, axis=1))


def test_another_network_takes_the_language_models_place(planted, answers, rows):
    network = Network(answers, len(planted.catalog))
    *same, placed = measure_components(planted, network=network)
    assert [row.evaluation.metrics for row in same] == [r.evaluation.metrics for r in rows.values()]
    assert placed.name == "network in the language model's place"
    assert placed.evaluation.metrics["ndcg@10"] > 0.99
    assert placed.differences["ndcg@10"].high < 0
    assert placed.weights["language_model"] > 0.5


def test_scores_become_a_distribution_over_the_catalog():
    scores = np.log(np.array([[4, 3, 2, 1], [5, 3, 1, 1]], np.float32))
    ranked = Ranking(np.array([[3, 1, 0, 2], [0, 2, 3, 1]], np.int32), scores + 7)
    whole = likeliest(ranked, 2)
    assert whole.items.tolist() == [[3, 1], [0, 2]]
    np.testing.assert_allclose(np.exp(whole.scores), [[0.4, 0.3], [0.5, 0.3]], rtol=1e-5)
    left = likeliest(ranked, 3, Histories.of([[3, 0], []]))
    assert left.items.tolist() == [[1, 2, -1], [0, 2, 3]]
    np.testing.assert_allclose(np.exp(left.scores), [[0.3, 0.1, 0], [0.5, 0.3, 0.1]], rtol=1e-5)
