from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from genrec.data import (
    Catalog,
    Histories,
    Interactions,
    SyntheticData,
    SyntheticShop,
    generate,
    leave_one_out,
)


@pytest.fixture(scope="module")
def data() -> SyntheticData:
    return generate()


def test_same_settings_same_shop(data: SyntheticData) -> None:
    again, other = generate(), generate(SyntheticShop(seed=1))
    assert again.catalog.table.equals(data.catalog.table)
    np.testing.assert_array_equal(again.log.histories.items, data.log.histories.items)
    np.testing.assert_array_equal(again.transitions, data.transitions)
    assert not other.catalog.table.equals(data.catalog.table)


def test_sizes_and_titles(data: SyntheticData) -> None:
    assert len(data.catalog) == 500
    assert len(set(data.catalog.titles)) == 500
    assert len(data.log.histories) == 2500
    assert data.log.histories.lengths.min() >= 3
    assert abs(data.log.histories.lengths.mean() - 8) < 0.2
    row = data.catalog.table.slice(0, 1).to_pylist()[0]
    assert row["brand"] in row["title"]
    assert row["categories"][-1] in row["title"]
    assert all(len(set(h.tolist())) == len(h) for h in data.log.histories)
    assert data.log.timestamps is not None
    assert data.log.timestamps.min() >= 1_704_067_200


def test_backwards_the_same_products_are_bought_along_the_chains_from_their_ends() -> None:
    onward, back = (generate(SyntheticShop(items=100, backwards=way)) for way in (False, True))
    assert back.catalog.table.equals(onward.catalog.table)
    np.testing.assert_array_equal(back.popularity, onward.popularity)
    kinds = [row["categories"][-1] for row in onward.catalog.table.to_pylist()]
    tent = np.array([kind == "Dome Tent" for kind in kinds])
    sheet = np.array([kind == "Tent Groundsheet" for kind in kinds])
    assert (
        onward.transitions[np.ix_(tent, sheet)].sum()
        > 10 * back.transitions[np.ix_(tent, sheet)].sum()
    )
    assert (
        back.transitions[np.ix_(sheet, tent)].sum()
        > 10 * onward.transitions[np.ix_(sheet, tent)].sum()
    )


def test_rows_are_distributions(data: SyntheticData) -> None:
    np.testing.assert_allclose(data.transitions.sum(axis=1), 1)
    assert (np.diag(data.transitions) == 0).all()
    assert data.transitions.min() >= 0
    np.testing.assert_allclose(data.popularity.sum(), 1)


def test_next_item_probabilities_by_hand(data: SyntheticData) -> None:
    histories = Histories.of([[3, 5], [], [7]])
    rows = data.next_item_probabilities(histories)
    expected = data.transitions[5].copy()
    expected[[3, 5]] = 0
    np.testing.assert_allclose(rows[0], expected / expected.sum())
    np.testing.assert_allclose(rows[1], data.popularity)
    np.testing.assert_allclose(rows[2], data.transitions[7])


def test_best_recall_equals_exhaustive_search(data: SyntheticData) -> None:
    histories = data.log.histories.take(np.arange(40))
    total = 0.0
    for history in histories:
        weights = {
            item: data.transitions[history[-1], item]
            for item in range(len(data.catalog))
            if item not in history
        }
        best = sorted(weights.values(), reverse=True)[:10]
        total += sum(best) / sum(weights.values())
    assert data.best_recall(histories, 10) == pytest.approx(total / 40)
    assert data.best_recall(histories, 500) == pytest.approx(1)
    assert data.best_recall(histories, 1) < data.best_recall(histories, 2)
    with pytest.raises(ValueError, match="k >= 1"):
        data.best_recall(histories, 0)


def test_chunks_do_not_change_best_recall(data: SyntheticData) -> None:
    histories = data.log.histories.take(np.arange(50))
    whole = data.best_recall(histories, 5)
    assert data.best_recall(histories, 5, at_once=7) == pytest.approx(whole)


def test_the_oracle_reaches_the_best_and_popularity_does_not(data: SyntheticData) -> None:
    split = leave_one_out(data.log)
    best = data.best_recall(split.test.histories, 10)
    assert 0.5 < best < 0.8
    rows = data.next_item_probabilities(split.test.histories)
    oracle = recall(np.argsort(-rows, axis=1)[:, :10], split.test.targets)
    # 2,500 Bernoulli trials: three standard deviations are 0.03
    assert oracle == pytest.approx(best, abs=0.03)
    counts = np.bincount(split.train.items, minlength=len(data.catalog))
    popular = np.argsort(-counts)[None, :10].repeat(len(split.test), axis=0)
    assert recall(popular, split.test.targets) * 5 < best


def recall(top: np.ndarray, targets: np.ndarray) -> float:
    return float((top == targets[:, None]).any(axis=1).mean())


def test_log_follows_the_planted_law() -> None:
    data = generate(SyntheticShop(items=60, users=20_000, mean_length=3))
    histories = data.log.histories
    first = histories.items[histories.offsets[:-1]]
    second = histories.items[histories.offsets[:-1] + 1]
    counts = np.zeros((60, 60))
    np.add.at(counts, (first, second), 1)
    seen = counts.sum(axis=1, keepdims=True)
    # Every cell within five standard deviations of its binomial, rare ones within three events
    deviation = np.sqrt(data.transitions * (1 - data.transitions) / seen)
    assert (np.abs(counts / seen - data.transitions) <= 5 * deviation + 3 / seen).all()
    shares = np.bincount(first, minlength=60) / len(first)
    np.testing.assert_allclose(shares, data.popularity, atol=0.006)


def test_likely_followers_share_attributes(data: SyntheticData) -> None:
    items = data.catalog.table.to_pylist()
    likely = np.argsort(-data.transitions, axis=1)[:, 0]
    pairs = [(items[i], items[j]) for i, j in enumerate(likely)]
    assert np.mean([a["categories"][1] == b["categories"][1] for a, b in pairs]) > 0.95
    assert np.mean([a["brand"] == b["brand"] for a, b in pairs]) > 0.8


def test_written_files_read_back(data: SyntheticData, tmp_path: Path) -> None:
    items, interactions = data.write(tmp_path / "shop")
    catalog = Catalog.read(items)
    log = Interactions.read(interactions, catalog=catalog)
    assert catalog.item_ids == data.catalog.item_ids
    assert catalog.texts() == data.catalog.texts()
    np.testing.assert_array_equal(catalog.labels(), data.catalog.labels())
    assert log.user_ids == data.log.user_ids
    np.testing.assert_array_equal(log.histories.items, data.log.histories.items)
    np.testing.assert_array_equal(log.timestamps, data.log.timestamps)


@pytest.mark.parametrize(
    "setting", [{"items": 10}, {"users": 1}, {"mean_length": 2}, {"seed": -1}, {"colours": 3}]
)
def test_settings_are_checked(setting: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        SyntheticShop.model_validate(setting)


@pytest.mark.parametrize("items", [60, 2000])
def test_extreme_sizes(items: int) -> None:
    data = generate(SyntheticShop(items=items, users=20, mean_length=25))
    assert data.log.histories.lengths.max() <= items // 2
