"""Measurement beside the standard baselines: fitted on what the judge says, for how it asks."""

import pytest

from genrec.recommender import measure as module
from genrec.recommender.measure import judge_of, measure


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_baselines_know_whether_seen_items_are_left_out(recommender, monkeypatch, exclude_seen):
    rankers, made = [], module.standard_baselines

    def kept(*words, **more):
        rankers.extend(made(*words, **more))
        return rankers

    monkeypatch.setattr(module, "standard_baselines", kept)
    judge = judge_of(recommender, exclude_seen=exclude_seen)
    _, baselines = measure(recommender, judge, baselines=True)
    names = ["popularity", "repeat_last", "cooccurrence", "pctm", "seqrules", "tfidf"]
    assert [baseline.name for baseline in baselines] == names
    assert [ranker.config.repeats for ranker in rankers[3:5]] == [not exclude_seen] * 2
