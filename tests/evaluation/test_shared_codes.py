"""Hits by codes, by hand."""

import numpy as np

from genrec.evaluation.ranking import Ranking
from genrec.evaluation.shared_codes import hits_by_codes

CODES = np.array([[5, 5], [5, 5], [6, 6], [7, 7]])


def test_items_that_share_codes_add_up():
    """Items 0 and 1 have .3 and .25 together, more than item 2 with its .4."""
    scores = np.log([[0.4, 0.3, 0.25]] * 3).astype(np.float32)
    ranking = Ranking(np.array([[2, 1, 0]] * 3), scores)
    targets = np.array([0, 2, 3])
    assert hits_by_codes(ranking, CODES, targets, k=1).tolist() == [True, False, False]
    assert hits_by_codes(ranking, CODES, targets, k=2).tolist() == [True, True, False]


def test_places_without_an_item_count_for_nothing():
    scores = np.array([[0.0, -np.inf], [-np.inf, -np.inf]], np.float32)
    ranking = Ranking(np.array([[3, -1], [-1, -1]]), scores)
    assert hits_by_codes(ranking, CODES, np.array([3, 0]), k=2).tolist() == [True, False]
