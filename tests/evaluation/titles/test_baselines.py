"""Titles without a model: the right one, cut at the right place."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from genrec.common.errors import DataError, InputError
from genrec.data import Catalog
from genrec.data.histories import Cases, Histories
from genrec.evaluation.titles import baselines as title_baselines
from genrec.evaluation.titles.baselines import (
    choose_title_length,
    last_titles,
    shortened,
    top_item_titles,
)
from genrec.evaluation.titles.metrics import BleuSettings, bleu_of_sums, bleu_statistics


def corpus_bleu(answers, targets, settings=None):
    """BLEU of a whole corpus, from what is kept of each case."""
    return bleu_of_sums(bleu_statistics(answers, targets, settings or BleuSettings()).sum(axis=0))


def catalog_of(*titles):
    ids = [f"i{n}" for n in range(len(titles))]
    return Catalog.from_table(pa.table({"item_id": ids, "title": list(titles)}))


def cases_of(histories, targets):
    users = np.arange(len(targets))
    return Cases(users, Histories.of(histories), np.array(targets, np.int32))


@pytest.fixture
def catalog():
    return catalog_of("red tent", "blue rope", None, "tin cup")


def test_the_last_title_is_that_of_the_newest_item(catalog):
    cases = cases_of([[0, 1], [], [3], [1, 2]], [3, 3, 3, 3])
    assert last_titles(cases, catalog) == [["blue rope"], [""], ["tin cup"], ["i2"]]


def test_shortened_titles_keep_leading_words():
    answers = [["a  b\tc d", "a"], [""]]
    assert shortened(answers, 2) == [["a b", "a"], [""]]
    assert shortened(answers, 9) == [["a b c d", "a"], [""]]
    with pytest.raises(InputError, match="words = 0"):
        shortened(answers, 0)


def planted(right, boast, items=60):
    """A catalog whose titles share `right` leading words by pairs, then have `boast` words of their own."""
    rng = np.random.default_rng(0)
    titles = []
    for pair in range(items // 2):
        shared = [f"p{pair}w{i}" for i in range(right)]
        for _ in range(2):
            own = [f"x{word}" for word in rng.integers(0, 10**6, boast)]
            titles.append(" ".join(shared + own))
    return catalog_of(*titles), cases_of([[i] for i in range(items)], [i ^ 1 for i in range(items)])


def test_the_length_with_the_highest_bleu_is_chosen():
    catalog, cases = planted(right=6, boast=4)
    chosen = choose_title_length(cases, catalog)
    targets = [catalog.titles[item] for item in cases.targets]
    answers = last_titles(cases, catalog)
    scores = {
        words: corpus_bleu([title for [title] in shortened(answers, words)], targets)
        for words in range(1, 11)
    }
    assert chosen == max(scores, key=scores.get)
    # Precision is lost with each word that is not shared, brevity is punished before.
    assert 6 <= chosen < 10
    assert scores[chosen] > scores[10]


def test_a_title_that_comes_back_whole_is_kept_whole():
    catalog = catalog_of("a b c d e", "a b c d e", "a title that no case has seen")
    assert choose_title_length(cases_of([[0], [1]], [1, 0]), catalog) == 7


def test_every_length_is_tried_up_to_the_longest():
    own = " ".join(map(str, range(60)))
    catalog = catalog_of(f"{own} x y z", f"{own} u v w", "0 1")
    assert choose_title_length(cases_of([[0], [2]], [1, 2]), catalog) == 60


def test_of_equal_lengths_the_fewest_words_are_chosen():
    catalog = catalog_of("a b c d", "e f g h")
    assert choose_title_length(cases_of([[0]], [1]), catalog) == 1  # BLEU is 0 at every length


def test_the_bleu_of_the_settings_decides():
    # With case, "A B" never agrees and is dead weight behind what does.
    catalog = catalog_of("a b c d A B", "a b c d a b")
    cases = cases_of([[0]], [1])
    assert choose_title_length(cases, catalog, BleuSettings(lowercase=True)) == 6
    assert choose_title_length(cases, catalog) < 6


def test_of_many_cases_some_are_taken_at_even_distances(monkeypatch):
    seen = []

    def spy(answers, targets, settings):
        seen.append(targets)
        return bleu_statistics(answers, targets, settings)

    monkeypatch.setattr(title_baselines, "bleu_statistics", spy)
    catalog = catalog_of(*[f"t{i}" for i in range(11)])
    cases = cases_of([[0]] * 11, list(range(11)))
    choose_title_length(cases, catalog, most_cases=3)
    assert seen == [["t0", "t5", "t10"]]


def test_cases_without_any_history_still_give_a_length(catalog):
    assert choose_title_length(cases_of([[], []], [0, 1]), catalog) == 2


def test_no_case_and_wrong_limits_are_refused(catalog):
    with pytest.raises(DataError, match="no validation case"):
        choose_title_length(cases_of([], []), catalog)
    with pytest.raises(InputError, match="most_cases = 0"):
        choose_title_length(cases_of([[0]], [1]), catalog, most_cases=0)


def test_top_items_give_their_titles(catalog):
    rankings = np.array([[3, 0, 1], [1, -1, -1], [-1, -1, -1]])
    assert top_item_titles(rankings, catalog) == [["tin cup"], ["blue rope"], [""]]
    two = [["tin cup", "red tent"], ["blue rope"], [""]]
    assert top_item_titles(rankings, catalog, n=2) == two


@pytest.mark.parametrize(
    ("rankings", "n", "message"),
    [
        (np.array([[0, 1]]), 3, r"3 titles a case .* shape \(1, 2\)"),
        (np.array([[0, 1]]), 0, "0 titles a case"),
        (np.array([0, 1]), 1, r"shape \(2,\)"),
        (np.array([[4]]), 1, "items 4 to 4, the catalog has 0 to 3"),
        (np.array([[-2]]), 1, "items -2 to -2"),
    ],
)
def test_wrong_rankings_are_refused(catalog, rankings, n, message):
    with pytest.raises(InputError, match=message):
        top_item_titles(rankings, catalog, n)
