"""PCTM and sequential rules counted by hand and by their formulas, and their kernels chosen on validation."""

from __future__ import annotations

from math import log, log10

import numpy as np
import pytest

from genrec.common.config import load_settings
from genrec.common.errors import ConfigError
from genrec.data.histories import Cases, Histories, Split
from genrec.evaluation.baselines import PCTM, PCTMConfig, SeqRules, SeqRulesConfig, choice, chosen
from genrec.evaluation.baselines.kernels import (
    Exponential,
    Head,
    Logarithmic,
    Power,
    kernel_weights,
    step_weights,
)

N = 9


@pytest.fixture
def train():
    """Draw sequences in which every item but the last is sold."""
    rng = np.random.default_rng(0)
    return Histories.of([rng.choice(N - 1, rng.integers(1, 7), replace=False) for _ in range(30)])


@pytest.fixture
def histories():
    rng = np.random.default_rng(1)
    return Histories.of([rng.integers(0, N - 1, length) for length in (1, 2, 5, 8, 12)])


def test_step_weights_by_hand():
    assert step_weights(Power(power=0), 3).tolist() == [1, 1, 1]
    assert step_weights(Power(power=2), 3).tolist() == [1, 1 / 4, 1 / 9]
    assert step_weights(Power(power=0.5), 4)[3] == pytest.approx(1 / 2)
    assert step_weights(Exponential(decay=0.5), 4).tolist() == [1, 1 / 2, 1 / 4, 1 / 8]
    expected = [1 / log10(2.7), 1 / log10(3.7)]  # 2.318 and 1.760
    assert step_weights(Logarithmic(), 2).tolist() == pytest.approx(expected)


def weights_of(sequences, kernel, max_history=50):
    weights = kernel_weights(Histories.of(sequences), N, kernel, max_history)
    return weights.toarray().tolist()


def test_kernel_weights_by_hand():
    """Oldest first: the newest item of [0, 1, 2] is 2."""
    halves = weights_of([[0, 1, 2], [], [4]], Exponential(decay=0.5))
    assert halves[0] == pytest.approx([1 / 7, 2 / 7, 4 / 7] + [0] * 6)
    assert halves[1:] == [[0] * N, [0] * 4 + [1] + [0] * 4]
    newest = weights_of([[0, 1, 2]], Power(power=1), max_history=2)
    assert newest[0] == pytest.approx([0, 1 / 3, 2 / 3] + [0] * 6)


def test_the_head_shares_its_part_and_the_others_the_rest():
    """Newest two share 0.75 as 2 to 1; the three others get a third of 0.25 each. No other: all is theirs."""
    kernel = Head(items=2, share=0.75, decay=0.5)
    rows = weights_of([[0, 1, 2, 3, 4], [5, 6], [7]], kernel)
    assert rows[0] == pytest.approx([1 / 12, 1 / 12, 1 / 12, 0.25, 0.5, 0, 0, 0, 0])
    assert rows[1] == pytest.approx([0] * 5 + [1 / 3, 2 / 3, 0, 0])
    assert rows[2] == pytest.approx([0] * 7 + [1, 0])


def test_a_repeated_item_adds_up():
    assert weights_of([[3, 4, 3]], Power(power=0))[0][3] == pytest.approx(2 / 3)


def test_pctm_by_hand():
    """Counted up to two steps as 1 and 1/2: 0 to 1 twice, 1 to 2 once, 0 to 2 a half, 3 to 1 once."""
    log_ = Histories.of([[0, 1, 2], [0, 1], [3, 1], [4, 4]])
    config = PCTMConfig(
        window=2,
        counting=Power(power=1),
        prior=0.5,
        reading=Exponential(decay=0.5),
        popularity_weight=0,
    )
    ranking = PCTM.fit(log_, 6, config).rank(Histories.of([[3, 0]]), 6, exclude_seen=True)
    # 0 is newest and weighs 2/3, 3 weighs 1/3.
    one = 2 / 3 * log(1 + 2 / 0.5) + 1 / 3 * log(1 + 1 / 0.5)
    two = 2 / 3 * log(1 + 0.5 / 0.5)
    assert ranking.items.tolist() == [[1, 2, 4, 5, -1, -1]], "then by popularity"
    assert ranking.scores[0, :4].tolist() == pytest.approx([one, two, 0, 0])


def pctm_formula(train, history, config):
    """Sum of weighted logarithms of smoothed probabilities, as it is written: slow, and for all items."""
    counts = np.zeros((N, N))
    for sequence in train:
        for place, later in enumerate(sequence):
            for steps in range(1, min(config.window, place) + 1):
                counts[sequence[place - steps], later] += steps**-0.5
    tau = config.prior * N
    chances = (counts + tau / N) / (counts.sum(axis=1, keepdims=True) + tau)
    newest = history[::-1]
    weights = 0.6 ** np.arange(len(newest))
    scores = weights / weights.sum() @ np.log(chances[newest])
    events = np.bincount(train.items, minlength=N)
    return scores + config.popularity_weight * np.log((events + 1) / (events.sum() + N))


@pytest.mark.parametrize("weight", [0.0, -0.04, -0.9, 0.9])
def test_pctm_is_its_formula_less_what_all_items_share(train, histories, weight):
    """Also where an item without any evidence comes before one that has some (weight -0.9)."""
    config = PCTMConfig(window=3, prior=0.7, popularity_weight=weight)
    ranker = PCTM.fit(train, N, config)
    for k in (3, N):
        ranking = ranker.rank(histories, k, exclude_seen=False)
        for row, history in enumerate(histories):
            expected = pctm_formula(train, history, config)[: N - 1]
            items = ranking.items[row, : min(k, N - 1)]
            assert sorted(items) == sorted(np.argsort(-expected)[: len(items)])
            gaps = ranking.scores[row, : len(items)] - expected[items]
            np.testing.assert_allclose(gaps, gaps[0], atol=1e-5)  # scores are float32
    assert (ranking.items[:, -1] == N - 1).all(), "what was never sold comes last"


def test_pctm_without_evidence_gives_the_most_popular():
    """Nothing ever followed 2, and an empty history says nothing: no reason to hold popular items back."""
    log_ = Histories.of([[0, 1], [0, 1], [0, 2]])
    ranking = PCTM.fit(log_, 4, PCTMConfig(popularity_weight=-0.5)).rank(
        Histories.of([[], [2], [0]]), 4, exclude_seen=True
    )
    assert ranking.items.tolist() == [[0, 1, 2, 3], [0, 1, 3, -1], [1, 2, 3, -1]]
    assert ranking.scores[0].tolist() == [0, 0, 0, 0]


def test_pctm_ranks_an_item_without_evidence_before_a_popular_one_with_some():
    """1 followed 0 once, worth log 2 = 0.69, and was sold 21 times to once: worth 0.9 log 11 = 2.16 less."""
    log_ = Histories.of([[0, 1], [2], [3], *[[1]] * 20])
    ranker = PCTM.fit(log_, 4, PCTMConfig(popularity_weight=-0.9))
    for k in (1, 2, 3):
        ranking = ranker.rank(Histories.of([[0], [2, 0]]), k, exclude_seen=True)
        assert ranking.items.tolist() == [[2, 3, 1][:k], [3, 1, -1][:k]]


def test_sequential_rules_by_hand():
    """Counted as 1/log10(2.7) and 1/log10(3.7): 0 to 1 once and 1 to 2 once near, 0 to 2 near and far."""
    near, far = 1 / log10(2.7), 1 / log10(3.7)
    log_ = Histories.of([[0, 1, 2], [0, 2], [3], [3], [3]])
    ranking = SeqRules.fit(log_, 5).rank(Histories.of([[1, 0]]), 4, exclude_seen=False)
    # By the inverse square of its age, 0 weighs 1 and 1 weighs 1/4: together 5/4.
    two, one = 0.8 * (near + far) + 0.2 * near, 0.8 * near
    assert ranking.items.tolist() == [[2, 1, 3, 0]], "completed by popularity"
    assert ranking.scores[0].tolist() == pytest.approx([two, one, 0, 0])


def test_rules_of_rare_items_count_more():
    """0 is sold 4 times and 1 twice, as all others: log 4/4 and log 4/2 make 0 and 1."""
    log_ = Histories.of([[0, 2], [0, 2], [0], [0], [1, 3], [1, 3]])
    history = Histories.of([[1, 0]])
    plain = SeqRules.fit(log_, 4).rank(history, 2, exclude_seen=True)
    assert plain.items.tolist() == [[2, 3]]
    rare = SeqRules.fit(log_, 4, SeqRulesConfig(rare_items=True))
    assert rare.rank(history, 2, exclude_seen=True).items.tolist() == [[3, 2]]
    even = Histories.of([[0, 2], [1, 3]])
    weighed = SeqRules.fit(even, 5, SeqRulesConfig(rare_items=True)).rules
    assert weighed.toarray().tolist() == SeqRules.fit(even, 5).rules.toarray().tolist()


@pytest.mark.parametrize("kind", [PCTM, SeqRules])
def test_ties_go_to_the_more_popular(kind):
    """1 and 2 follow 0 once each; 2 was sold once more."""
    log_ = Histories.of([[0, 1], [0, 2], [2]])
    config = PCTMConfig(popularity_weight=0) if kind is PCTM else None
    ranker = kind.fit(log_, 4, config)
    ranking = ranker.rank(Histories.of([[0]]), 3, exclude_seen=True)
    assert ranking.items.tolist() == [[2, 1, 3]]
    assert ranking.scores[0, 0] == ranking.scores[0, 1]
    assert ranker.tie_break.tolist() == [2, 1, 2, 0]


def test_only_the_strongest_are_kept(train):
    assert np.diff(PCTM.fit(train, N, PCTMConfig(max_neighbors=2)).pairs.indptr).max() == 2
    assert np.diff(SeqRules.fit(train, N, SeqRulesConfig(max_rules=2)).rules.indptr).max() == 2


@pytest.mark.parametrize("kind", [PCTM, SeqRules])
def test_nothing_to_count(kind):
    ranking = kind.fit(Histories.of([[], [1]]), 3).rank(Histories.of([[0]]), 2, exclude_seen=True)
    assert ranking.items.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("kind", "word", "message"),
    [
        (
            PCTMConfig,
            "reading.kind=gauss",
            "'gauss'.*'power', 'exponential', 'logarithmic', 'head'",
        ),
        (PCTMConfig, "reading={kind: exponential, decay: 0}", "reading.decay = 0.*greater than 0"),
        (PCTMConfig, "reading={kind: head, items: 0}", "reading.items = 0"),
        (PCTMConfig, "counting={kind: head}", "'head'.*'power', 'exponential', 'logarithmic'"),
        (PCTMConfig, "prior=0", "prior = 0.*greater than 0"),
        (PCTMConfig, "popularity_weight=.nan", "popularity_weight"),
        (SeqRulesConfig, "counting={kind: power, power: -1}", "counting.power = -1"),
        (SeqRulesConfig, "window=0", "window = 0"),
        (SeqRulesConfig, "max_rules=0", "max_rules = 0"),
    ],
)
def test_unknown_kernels_and_values_are_refused(kind, word, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(kind, None, [word])


HUB, SHOP, USERS = 40, 41, 400


def planted(seed, users):
    """First items 0 to 19; second ones 20 to 39, in 40 % of the cases 20 + the first; HUB as the third.

    Who counts two steps at half of one or more puts HUB first, and who counts one step alone 20 + the first.
    """
    rng = np.random.default_rng(seed)
    first, other = rng.integers(0, 20, (2, users))
    second = 20 + np.where(rng.random(users) < 0.4, first, other)
    return np.column_stack([first, second, np.full(users, HUB)])


def planted_split(cases=100):
    last = planted(1, cases)[:, 0].astype(np.int32)
    valid = Cases(np.arange(cases), Histories.of(last[:, None]), 20 + last)
    return Split("planted", Histories.of(planted(0, USERS)), valid, valid)


@pytest.mark.parametrize("kind", [PCTM, SeqRules])
def test_validation_picks_the_planted_kernel(kind):
    split = planted_split()
    cases = split.valid
    before = kind.fit(split.train, SHOP).rank(cases.histories, 1, exclude_seen=True)
    assert (before.items[:, 0] == HUB).all()
    ranker = chosen(kind, split, SHOP)
    assert ranker.config.window == 1
    found = ranker.rank(cases.histories, 1, exclude_seen=True)
    assert (found.items[:, 0] == cases.targets).mean() > 0.9


@pytest.fixture
def counted(monkeypatch):
    """Events that each fit counted."""
    events = []
    for kind in (PCTM, SeqRules):
        fit = kind.fit.__func__

        def watched(cls, train, n_items, config=None, fit=fit):
            events.append(len(train.items))
            return fit(cls, train, n_items, config)

        monkeypatch.setattr(kind, "fit", classmethod(watched))
    return events


@pytest.mark.parametrize("kind", [PCTM, SeqRules])
def test_without_validation_cases_the_defaults_hold(kind, counted):
    split = planted_split()
    ranker = chosen(kind, Split("none", split.train, Cases.none(), split.test), SHOP)
    assert ranker.config == type(ranker.config)()
    assert counted == [3 * USERS], "nothing is tried"


@pytest.mark.parametrize("kind", [PCTM, SeqRules])
def test_the_choice_is_that_of_a_fit_with_it(kind):
    split = planted_split()
    ranker = chosen(kind, split, SHOP)
    again = kind.fit(split.train, SHOP, ranker.config)
    ask = split.valid.histories
    expected = again.rank(ask, 5, exclude_seen=True)
    found = ranker.rank(ask, 5, exclude_seen=True)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_each_setting_is_tried_with_what_the_ones_before_were_best_at(monkeypatch):
    """Points for window 1 and for prior 3: the second is worth nothing that gives up the first."""

    def points(ranker, cases, exclude_seen):
        return (ranker.config.window == 1) + (ranker.config.prior == 3)

    monkeypatch.setattr(choice, "_ndcg", points)
    config = chosen(PCTM, planted_split(), SHOP).config
    assert config == PCTMConfig(window=1, prior=3)


@pytest.mark.parametrize("kind", [PCTM, SeqRules])
def test_a_long_log_is_tried_in_part_and_counted_whole(kind, counted, monkeypatch):
    monkeypatch.setattr(choice, "MOST_EVENTS", 600)
    ranker = chosen(kind, planted_split(), SHOP)
    *tried, last = counted
    assert last == ranker.tie_break.sum() == 3 * USERS
    assert set(tried) == {600}
    assert ranker.config.window == 1


@pytest.mark.parametrize("kind", [PCTM, SeqRules])
def test_where_seen_items_may_come_again_they_follow_themselves(kind):
    log_ = Histories.of([[0, 0, 1], [0, 0], *[[2]] * 9])
    cases = Cases(np.arange(1), Histories.of([[0]]), np.array([0], np.int32))
    split = Split("repeats", log_, cases, cases)
    kept = chosen(kind, split, 3, exclude_seen=False)
    assert kept.config.repeats
    assert kept.rank(cases.histories, 1, exclude_seen=False).items.tolist() == [[0]]
    assert not chosen(kind, split, 3).config.repeats
