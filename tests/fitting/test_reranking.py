"""Fit of a reranker: a planted law that no weights can follow, and what it leaves alone."""

import numpy as np
import pytest

from genrec.fitting.ablation import measure_components
from genrec.fitting.reranking import fit_reranker
from genrec.fitting.weighing import Weighing
from genrec.fitting.weights import choose_weights
from genrec.recommender.components import weights_of, with_weights
from genrec.recommender.measure import judge_of

WEIGHTS = {"one": 0.5, "other": 0.3, "unused": 0.0}


def evaluate(recommender):
    """What it reaches on test."""
    return judge_of(recommender).measure([recommender])[0]


def planted(cases, law, seed=0, rivals=8):
    """Cases in which one item has .25 of every part, and each rival .9 of one of them."""
    drawn = np.random.default_rng(seed)
    table = np.zeros((cases, rivals, 4))
    table[:, :, :] = 1e-4
    sure = drawn.choice([0, 1, 3], (cases, rivals))
    np.put_along_axis(table, sure[:, :, None], 0.9, axis=2)
    agreed = drawn.integers(0, rivals, cases)
    table[np.arange(cases), agreed] = [0.25, 0.25, 0.0, 0.25]
    target = agreed if law == "agreed" else drawn.integers(0, rivals, cases)
    starts = np.arange(cases + 1) * rivals
    return Weighing(
        ("one", "other", "unused"),
        table.reshape(-1, 4),
        starts,
        starts[:-1] + target,
    )


def test_what_all_parts_expect_is_found_though_no_weights_find_it():
    weighing = planted(900, "agreed")
    assert weighing.ndcg(WEIGHTS).mean() < 0.9
    best = weighing.best({"one": None, "other": None, "unused": 0.0})
    assert weighing.ndcg(best).mean() < 0.9, "no weights tell agreement from certainty"
    reranker, tried = fit_reranker(weighing, WEIGHTS)
    assert tried["reranked"] > 0.99
    assert reranker.weights == WEIGHTS
    said = planted(50, "agreed", seed=1)
    scores = reranker.scores(said.probabilities[:, [0, 1, 3]]).reshape(50, -1)
    assert (scores.argmax(1) == said.targets - said.starts[:-1]).mean() > 0.95


def test_the_items_keep_their_probability_together():
    weighing = planted(900, "agreed")
    reranker, _ = fit_reranker(weighing, WEIGHTS)
    after = np.exp(reranker.scores(weighing.probabilities[:, [0, 1, 3]])).sum()
    before = (weighing.probabilities @ weighing.vector(WEIGHTS)).sum()
    assert after == pytest.approx(before, rel=1e-6)


def test_what_is_not_clearly_better_is_not_kept():
    assert fit_reranker(planted(900, "chance"), WEIGHTS) == (None, {})


def test_few_cases_and_a_single_part_have_none():
    assert fit_reranker(planted(299, "agreed"), WEIGHTS) == (None, {})
    assert fit_reranker(planted(900, "agreed"), {"one": 1.0, "other": 0.0}) == (None, {})


def test_the_same_seed_gives_the_same_one():
    weighing = planted(600, "agreed")
    one, same, other = (fit_reranker(weighing, WEIGHTS, seed)[0] for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.layers.inner, same.layers.inner)
    assert (one.layers.inner != other.layers.inner).any()


def test_a_fit_keeps_it_and_its_row_is_measured(recommender, monkeypatch):
    monkeypatch.setattr("genrec.fitting.reranking._FEWEST", 20)
    monkeypatch.setattr("genrec.fitting.reranking.clearly_better", lambda scores, others: True)
    open_ones = dict.fromkeys(weights_of(recommender.settings))
    asked = recommender.changed(settings=with_weights(recommender.settings, open_ones))
    chosen, tried = choose_weights(asked, recommender.split)
    assert chosen.reranking is not None
    assert "reranked" in tried
    rows = {row.name: row for row in measure_components(chosen)}
    whole, without = rows[chosen.name], rows["without the reranker"]
    found, mixture = evaluate(chosen), evaluate(chosen.changed(reranker=None))
    assert whole.evaluation.metrics == pytest.approx(found.metrics)
    assert without.evaluation.metrics == pytest.approx(mixture.metrics)
    assert without.weights == whole.weights
    assert without.differences is not None
