"""The real data sets read to exactly the counts that their README states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genrec import FitSettings, GenerativeRecommender
from genrec.data import Catalog, Interactions, leave_one_out
from genrec.recommender.measure import judge_of, measure

SETS = {  # files' endings, users, items, interactions, titles missing, items never bought
    "beauty": ("jsonl.gz", "csv.gz", 22_363, 12_101, 198_502, 7, 0),
    "toys": ("parquet", "parquet", 19_412, 11_924, 167_597, 59, 0),
    "industrial": ("jsonl.gz", "csv.gz", 3_285, 3_686, 22_743, 0, 145),
    "movies": ("csv", "csv", 671, 9_125, 100_004, 0, 59),
    "all_beauty_small": ("csv", "csv", 357, 479, 3_315, 0, 0),
}


@pytest.mark.parametrize("name", list(SETS))
def test_counts(shared_data: Path, name: str) -> None:
    items, events, n_users, n_items, n_events, untitled, unbought = SETS[name]
    catalog = Catalog.read(shared_data / name / f"items.{items}")
    path = shared_data / name / f"interactions.{events}"
    log = Interactions.read(path, catalog=catalog)
    assert (len(log.histories), len(catalog), len(log)) == (n_users, n_items, n_events)
    assert len(log.user_ids) == n_users
    assert log.report.rows == n_events
    assert not log.report.dropped
    notes = (f"{untitled:,} of {n_items:,} items have no title",) if untitled else ()
    assert catalog.report.notes == notes
    assert all(catalog.titles)
    assert (np.bincount(log.histories.items, minlength=n_items) == 0).sum() == unbought
    assert log.timestamps is not None
    steps = np.diff(log.timestamps)
    steps[log.histories.offsets[1:-1] - 1] = 0
    assert steps.min() >= 0
    split = leave_one_out(log)
    assert len(split.test) == (log.histories.lengths >= 2).sum()


def test_ties_keep_the_files_order(shared_data: Path) -> None:
    catalog = Catalog.read(shared_data / "beauty" / "items.jsonl.gz")
    log = Interactions.read(shared_data / "beauty" / "interactions.csv.gz", catalog=catalog)
    assert log.user_ids[0] == "A1YJEY40YUW4SE"
    first = [catalog.item_ids[i] for i in log.histories[0][:3]]
    assert first == ["B004756YJA", "B004ZT0SSG", "B0020YLEYK"]
    assert catalog.index_of(first).tolist() == log.histories[0][:3].tolist()


@pytest.mark.slow
def test_sets_whose_users_come_back(shared_data: Path) -> None:
    """A quarter of the targets were bought before: found as soon as they may be."""
    folder = shared_data / "all_beauty_small"
    catalog = Catalog.read(folder / "items.csv")
    log = Interactions.read(folder / "interactions.csv", catalog=catalog)
    settings = FitSettings(
        encoder={"dimension": 16},
        collaborative={"dimension": 8},
        language_model={"compact": {"width": 32, "heads": 2, "layers": 1}},
        training={"max_steps": 30, "validations": 1},
    )
    recommender = GenerativeRecommender.fit(catalog, log, settings)
    assert recommender.settings.exclude_seen is False
    found = recommender.metrics["repeats"]
    assert found["share"] == pytest.approx(0.244, abs=0.001)
    assert found["kept"] > 3 * found["left_out"]
    kept = measure(recommender)[0].metrics["recall@10"]
    assert (
        kept
        > 2 * measure(recommender, judge_of(recommender, exclude_seen=True))[0].metrics["recall@10"]
    )
