"""Weighing of the mixture's parts: against the mixture itself, and the choice of weights by hand."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from genrec.data.histories import Cases, Histories
from genrec.evaluation.metrics import METRICS, rank_of_target
from genrec.evaluation.ranking import Ranking
from genrec.fitting.weighing import Weighing
from genrec.fitting.weights import best_weight, choose_weights, mixed_ndcg
from genrec.recommender.components import weights_of, with_weights
from genrec.recommender.mixture import join

SECOND = 1 / np.log2(3)
"""ndcg of a target at the second place."""


def model_of(*rows):
    """A ranking of rows {item: probability}."""
    width = max(len(row) for row in rows)
    items, scores = np.full((len(rows), width), -1, np.int32), np.full((len(rows), width), -np.inf)
    for place, row in enumerate(rows):
        best = sorted(row, key=lambda item: -row[item])
        items[place, : len(row)] = best
        scores[place, : len(row)] = np.log([row[item] for item in best])
    return Ranking(items, scores.astype(np.float32))


def part_of(*rows, n_items=20):
    """A component's rows {item: probability}, an empty one for nothing."""
    dense = np.zeros((len(rows), n_items))
    for place, row in enumerate(rows):
        dense[place, list(row)] = list(row.values())
    return csr_matrix(dense)


def cases_of(*targets, seen=()):
    """Cases with these targets, all with the same history."""
    return Cases(np.arange(len(targets)), Histories.of([seen] * len(targets)), np.array(targets))


def drawn_rows(rng, barred, n_items, named, empty):
    """Random distributions over a few items of each row, some of them of nothing."""
    rows = []
    for row in barred:
        free = np.setdiff1d(np.arange(n_items), row)
        items = rng.choice(free, named, replace=False)
        few = rng.dirichlet(np.ones(named))
        rows.append({} if rng.random() < empty else dict(zip(items.tolist(), few, strict=True)))
    return rows


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_any_weights_give_what_the_mixture_gives(seed, exclude_seen):
    rng = np.random.default_rng(seed)
    histories = [rng.choice(20, 4, replace=False) for _ in range(60)]
    nothing = [[]] * 60
    model = model_of(*drawn_rows(rng, histories if exclude_seen else nothing, 20, 6, 0.0))
    parts = {
        name: part_of(*drawn_rows(rng, nothing, 20, 5, 0.3)) for name in ("one", "two", "three")
    }
    cases = Cases(np.arange(60), Histories.of(histories), rng.integers(0, 20, 60))
    weighing = Weighing.of(model, parts, cases, exclude_seen)
    for zero in range(4):
        weights = rng.dirichlet(np.ones(4))
        weights[:zero] = 0  # of some components; what is left to 1 is the model's
        named = dict(zip(parts, weights, strict=False))
        share = join([parts[name] for name in parts], [named[name] for name in parts])
        expected = mixed_ndcg(model, share, cases, exclude_seen, k=5)
        found = Weighing(*(vars(weighing) | {"k": 5}).values()).ndcg(named)
        np.testing.assert_allclose(found, expected)
        assert 0.05 < expected.mean() < 0.95


@pytest.mark.parametrize("cuts", [(0, 60), (0, 1, 60), (0, 17, 40, 60)])
def test_cases_asked_in_parts_are_those_asked_together(cuts):
    rng = np.random.default_rng(0)
    nothing = [[]] * 60
    rows = [drawn_rows(rng, nothing, 20, 5, empty) for empty in (0.0, 0.3, 0.6)]
    cases = Cases(np.arange(60), Histories.of(nothing), rng.integers(0, 20, 60))

    def weighed(first, last):
        model, one, other = (part[first:last] for part in rows)
        some = cases.take(np.arange(first, last))
        parts = {"one": part_of(*one), "other": part_of(*other)}
        return Weighing.of(model_of(*model), parts, some, exclude_seen=True)

    whole = weighed(0, 60)
    pieces = [weighed(*ends) for ends in pairwise(cuts)]
    found = Weighing.concatenate(pieces)
    assert (found.targets < 0).any()
    for name in ("probabilities", "starts", "targets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    weights = {"one": 0.3, "other": 0.2}
    np.testing.assert_array_equal(found.ndcg(weights), whole.ndcg(weights))


def test_seen_items_are_no_rivals_where_they_are_left_out():
    model, part = model_of({3: 0.5}), part_of({7: 0.9, 3: 0.1})
    cases = cases_of(3, seen=[7])
    left_out = Weighing.of(model, {"part": part}, cases, exclude_seen=True)
    kept = Weighing.of(model, {"part": part}, cases, exclude_seen=False)
    assert left_out.ndcg({"part": 1.0}).tolist() == [1.0]
    assert kept.ndcg({"part": 1.0}).tolist() == [pytest.approx(SECOND)]


def test_a_target_that_was_seen_is_never_found():
    weighing = Weighing.of(
        model_of({3: 0.5}), {"part": part_of({7: 1.0})}, cases_of(7, seen=[7]), True
    )
    assert weighing.ndcg({"part": 0.5}).tolist() == [0.0]


def test_an_empty_row_leaves_its_weight_to_the_language_model():
    model = model_of({1: 0.6, 2: 0.3}, {1: 0.6, 2: 0.3})
    parts = {"knows": part_of({2: 1.0}, {2: 1.0}), "nothing": part_of({}, {5: 1.0})}
    weighing = Weighing.of(model, parts, cases_of(1, 1), exclude_seen=False)
    # First case: 1 has .6 * (.3 + .5) = .48, and 2 has .3 * .8 + .2 = .44: the empty row is the model's.
    # Second: 1 has .6 * .3 = .18, behind 5 with .5 and 2 with .29.
    found = weighing.ndcg({"knows": 0.2, "nothing": 0.5})
    np.testing.assert_allclose(found, [1.0, 1 / np.log2(4)])


def test_a_case_that_nobody_says_anything_of():
    weighing = Weighing.of(
        *(Ranking.empty(2, 1), {"part": part_of({}, {4: 1.0})}, cases_of(3, 4), False)
    )
    assert weighing.ndcg({"part": 1.0}).tolist() == [0.0, 1.0]


def test_the_best_weights_of_many_draws_are_averaged():
    """Two cases need the component, one the model: each draw of three says .5, .1 or 0."""
    # Component right: its 1 w against the model's .9 (1 - w), from .5 on. Model right: up to .4.
    model = model_of({0: 0.9}, {0: 0.9}, {0: 0.8})
    part = part_of({1: 1.0}, {1: 1.0}, {1: 1.0})
    weighing = Weighing.of(model, {"part": part}, cases_of(1, 1, 0), exclude_seen=False)
    for weight, one in ((0.0, 0.0), (0.1, SECOND), (0.4, SECOND), (0.5, 1.0), (1.0, 1.0)):
        other = 0.0 if weight == 1 else 1.0 if weight < 0.5 else SECOND
        np.testing.assert_allclose(weighing.ndcg({"part": weight}), [one, one, other])
    drawn = np.random.default_rng(0).multinomial(3, [1 / 3] * 3, 200)
    says = np.array([0.0, 0.1, 0.5, 0.5])  # by how many of the three are of the first two cases
    chosen = weighing.best({"part": None})
    assert chosen == {"part": round(says[drawn[:, :2].sum(axis=1)].mean(), 3)}
    # So many are 0, 1, 2 or 3 in 1, 6, 12 and 8 of 27 draws.
    assert chosen["part"] == pytest.approx(says @ [1, 6, 12, 8] / 27, abs=0.03)


def test_a_language_model_without_weight_is_tried():
    """Ten wrong items of the model stand before the target as long as the model has a tenth."""
    model = model_of(dict.fromkeys(range(10), 0.1))
    part = part_of({10: 0.995, 11: 0.005})
    weighing = Weighing.of(model, {"part": part}, cases_of(11), exclude_seen=False)
    assert weighing.ndcg({"part": 0.9}).tolist() == [0.0]
    assert weighing.best({"part": None}) == {"part": 1.0}


def test_without_a_language_model_the_weights_are_the_whole():
    """The first component is right, and is ahead where .9 w >= 1 - w: from .6 on."""
    parts = {"right": part_of({1: 0.9}), "wrong": part_of({0: 1.0})}
    nothing = Ranking.empty(1, 1)
    weighing = Weighing.of(nothing, parts, cases_of(1), exclude_seen=False)
    best = weighing.best(dict.fromkeys(parts), language_model=False)
    assert best == {"right": 0.6, "wrong": 0.4}
    assert weighing.best({"right": None, "wrong": 0.2}, language_model=False) == {
        "right": 0.8,
        "wrong": 0.2,
    }
    alone = Weighing.of(nothing, {"right": parts["right"]}, cases_of(1), exclude_seen=False)
    assert alone.best({"right": None}, language_model=False) == {"right": 1.0}


def test_a_stated_weight_stays_and_the_others_share_what_it_leaves():
    model = model_of(dict.fromkeys(range(10), 0.1))
    parts = {"stated": part_of({10: 1.0}), "free": part_of({12: 1.0})}
    weighing = Weighing.of(model, parts, cases_of(12), exclude_seen=False)
    # The free one is first where w > .3: .35 is the first step of a tenth of .7 past it.
    assert weighing.best({"stated": 0.3, "free": None}) == {
        "stated": 0.3,
        "free": pytest.approx(0.35),
    }
    both = {"stated": 0.3, "free": 0.1}
    assert weighing.best(both) == both


def test_weights_chosen_before_stay_unless_others_are_clearly_better():
    part = part_of(*[{1: 1.0}] * 6)
    before = {"part": 0.2}

    def weighing(*targets):
        return Weighing.of(model_of(*[{0: 0.9}] * 6), {"part": part}, cases_of(*targets), False)

    clear, unclear = weighing(1, 1, 1, 1, 1, 1), weighing(1, 1, 1, 1, 0, 0)
    assert clear.best({"part": None}, before) == clear.best({"part": None}) == {"part": 0.5}
    assert unclear.best({"part": None})["part"] > 0.2
    assert unclear.best({"part": None}, before) == before


def test_what_was_tried_is_what_the_recommender_then_ranks(recommender):
    nothing_said = dict.fromkeys(weights_of(recommender.settings))
    asked = recommender.changed(settings=with_weights(recommender.settings, nothing_said))
    weighted, tried = choose_weights(asked, recommender.split)
    settings = recommender.settings
    cases = recommender.split.valid.draw(settings.mixture_users, settings.seed)

    def reached(way):
        found = way.rank(cases.histories, 10, exclude_seen=True)
        return METRICS["ndcg"](rank_of_target(found, cases.targets), 10).mean()

    assert None not in weights_of(weighted.settings).values()
    parts = {"mixture", "language_model", "without_language_model", *nothing_said}
    assert tried.keys() - {"reranked"} == parts
    assert tried["without_language_model"] >= max(tried[name] for name in nothing_said) - 0.01
    mixture = weighted.changed(reranker=None)
    assert tried["mixture"] == pytest.approx(reached(mixture), abs=1e-6)
    assert tried["language_model"] == pytest.approx(reached(weighted.alone()), abs=1e-6)
    assert tried["mixture"] > tried["language_model"]


def test_a_stated_weight_leaves_what_it_leaves_to_one_chosen_before(recommender):
    """Without a validation case there is nothing to try."""
    split = dataclasses.replace(recommender.split, valid=Cases.none())

    def chosen(before, **stated):
        asked = with_weights(recommender.settings, stated)
        prior = None if before is None else with_weights(recommender.settings, before)
        found, tried = choose_weights(recommender.changed(settings=asked), split, prior)
        assert tried == {}
        return weights_of(found.settings)

    before = {"counts": 0.3, "texts": 0.6, "text_model": 0.0}
    open_ones = {"counts": None, "texts": None, "text_model": 0.0}
    assert chosen(before, **open_ones) == before
    assert chosen(before, **open_ones | {"counts": 0.1}) == before | {"counts": 0.1}
    assert chosen(before, **open_ones | {"text_model": 0.4}) == {
        "counts": pytest.approx(0.2),
        "texts": pytest.approx(0.4),
        "text_model": 0.4,
    }
    assert chosen(None, **open_ones) == {"counts": 0.0, "texts": 0.0, "text_model": 0.0}
    assert chosen(None, **before) == before


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
