"""Repeats: a fit notices whether users come back to items, and its recommender does what is right there."""

import csv
import json

import numpy as np
import pyarrow as pa
import pytest

from genrec import Cases, Catalog, GenerativeRecommender, Histories, Interactions
from genrec.fitting.repeats import choose_seen, repeated_share
from genrec.recommender.settings import FitSettings, read_settings

ITEMS = 24
QUICK = {
    "encoder": {"dimension": 8},
    "collaborative": {"dimension": 4},
    "language_model": {"compact": {"width": 16, "layers": 1, "heads": 2}},
    "training": {"max_steps": 4, "batch_items": 128, "validations": 1},
    "search": {"beams": 10},
}


def rebuyer(user):
    """Three items, over and over: who is next is always one of the history."""
    return [(5 * user + step % 3) % ITEMS for step in range(9)]


def explorer(user):
    """Always the next item of a round, so never one of the history."""
    return [(5 * user + step) % ITEMS for step in range(9)]


def subscriber(user):
    """One item a month."""
    return [user % ITEMS] * 6


def occasional(user):
    """An explorer, of whom every 40th comes back to the first item as the validation target."""
    items = explorer(user)
    return [*items[:-2], items[0], items[-1]] if user % 40 == 0 else items


def log_of(kind, users=40):
    catalog = Catalog.from_table(
        pa.table(
            {
                "item_id": [f"i{i}" for i in range(ITEMS)],
                "title": [f"lamp {i}" for i in range(ITEMS)],
            }
        )
    )
    return catalog, Interactions.of_histories(
        catalog, Histories.of([kind(u) for u in range(users)])
    )


def fitted(kind, **settings):
    catalog, log = log_of(kind)
    return GenerativeRecommender.fit(catalog, log, FitSettings(**(QUICK | settings)))


@pytest.fixture(scope="module")
def rebuying():
    return fitted(rebuyer)


def test_the_share_by_hand():
    cases = Cases(
        np.arange(4), Histories.of([[1, 2], [3], [], [5, 4, 5]]), np.array([2, 1, 0, 5], np.int32)
    )
    assert cases.repeated.tolist() == [True, False, False, True]
    assert repeated_share(cases) == 0.5
    assert repeated_share(Cases.none()) == 0


@pytest.mark.parametrize(
    ("kind", "share", "learned"),
    [
        (rebuyer, 1.0, False),
        (subscriber, 1.0, False),
        (explorer, 0.0, None),
        (occasional, 0.025, None),
    ],
)
def test_what_a_log_says_of_seen_items(kind, share, learned, caplog):
    caplog.set_level("INFO", logger="genrec")
    recommender = fitted(kind)
    assert recommender.settings.exclude_seen is learned
    assert recommender.exclude_seen is (learned is None)
    found = recommender.metrics["repeats"]
    assert found["share"] == share
    assert ("targets stand in their own history" in caplog.text) == (share > 0)
    assert ("kept" in found) == (learned is False)
    if learned is False:
        assert found["left_out"] == 0
        assert found["kept"] > 0.3
        assert recommender.metrics["validation"]["metrics"]["ndcg@10"] == pytest.approx(
            found["kept"], abs=1e-6
        )
        assert (
            max(
                step["ndcg@10"]
                for step in recommender.metrics["training"]["curve"]
                if "ndcg@10" in step
            )
            > 0
        )


def test_a_log_without_repeats_ranks_as_if_told_to_leave_them_out():
    """Nothing is tried there, so nothing changes: weights, figures and rankings."""
    asked, told = fitted(explorer), fitted(explorer, exclude_seen=True)
    histories = [["i1", "i2"], []]
    assert asked.recommend(histories) == told.recommend(histories)
    assert asked.settings.memory == told.settings.memory
    for part in ("metrics", "confidence", "protocol"):
        assert asked.metrics["validation"][part] == told.metrics["validation"][part]
    assert asked.metrics["components"] == told.metrics["components"]


def test_who_says_it_is_not_asked(tmp_path):
    keeping = fitted(explorer, exclude_seen=False)
    assert not keeping.exclude_seen
    keeping.save_pretrained(tmp_path / "kept")
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "- Items of the history: recommended again, unless a request says otherwise\n" in card
    assert not GenerativeRecommender.from_pretrained(tmp_path / "kept").exclude_seen
    recommender = fitted(rebuyer, exclude_seen=True)
    assert recommender.exclude_seen
    assert recommender.metrics["repeats"] == {"share": 1.0}
    assert recommender.metrics["validation"]["metrics"]["recall@10"] == 0


def test_it_recommends_what_it_validated(rebuying):
    history = ["i5", "i6", "i7", "i5", "i6"]
    [found] = rebuying.recommend([history], k=3)
    assert {item.item_id for item in found} & set(history)
    [without] = rebuying.recommend([history], k=3, exclude_seen=True)
    assert not {item.item_id for item in without} & set(history)
    assert found == rebuying.recommend([history], k=3, exclude_seen=False)[0]
    assert rebuying.recommend([history], k=3, explain=1)[0][0].reasons is not None
    assert rebuying.recommend([history], k=3, query="lamp 7")


@pytest.mark.parametrize(
    ("ways", "kept"), [([0.0, 0.0], False), ([0.2, 0.1], False), ([0.1, 0.2], True)]
)
def test_the_better_way_is_chosen_and_of_equal_ones_the_usual(rebuying, monkeypatch, ways, kept):
    from genrec.fitting import repeats

    scores = {True: ways[0], False: ways[1]}
    monkeypatch.setattr(
        repeats, "_ndcg", lambda way, cases: np.full(len(cases), scores[way.exclude_seen])
    )
    open_ = rebuying.changed(settings=rebuying.settings.replace(exclude_seen=None))
    chosen, found = choose_seen(open_, open_.split, lambda way: (way, {}))
    assert chosen.exclude_seen is not kept
    assert found["repeats"] == {"share": 1.0, "left_out": ways[0], "kept": ways[1]}


@pytest.mark.parametrize(("kind", "learned"), [(subscriber, False), (explorer, None)])
def test_without_a_validation_case_the_training_part_tells(kind, learned):
    from dataclasses import replace

    recommender = fitted(explorer)
    _, log = log_of(kind)
    split = replace(recommender.settings.split.apply(log, 0), valid=Cases.none())
    chosen, _ = choose_seen(recommender, split, lambda way: (way, {}))
    assert chosen.settings.exclude_seen is learned


def test_a_folder_that_says_nothing_leaves_seen_items_out():
    """As those of earlier versions, which are also cut as they were."""
    earlier = read_settings({"split": {"protocol": "leave-one-out"}}, "folder")
    assert earlier.exclude_seen is None
    assert earlier.split.heavy_user_share == 1.0


def written(tmp_path, kind):
    with (tmp_path / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["item_id", "title"], *([f"i{i}", f"lamp {i}"] for i in range(ITEMS))]
        )
    with (tmp_path / "log.csv").open("w", newline="") as file:
        rows = ([f"u{u}", f"i{item}", time] for u in range(40) for time, item in enumerate(kind(u)))
        csv.writer(file).writerows([["user_id", "item_id", "timestamp"], *rows])
    (tmp_path / "quick.yaml").write_text(json.dumps(QUICK))
    options = ["--items", tmp_path / "items.csv", "--interactions", tmp_path / "log.csv"]
    return [*options, "--config", tmp_path / "quick.yaml", "--out", tmp_path / "out"]


def test_the_command_says_so_and_follows(tmp_path, caplog, command):
    done = command("fit", *written(tmp_path, rebuyer))
    assert done.status == 0
    assert "100.0 % of the validation targets stand in their own history" in caplog.text
    assert "recommendations keep them (exclude_seen=false)" in caplog.text
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        "- Items of the history: recommended again, unless a request says otherwise; 100.0%" in card
    )
    assert "items of the history allowed" in card
    asked = ["recommend", tmp_path / "out", "--history", "i5,i6,i7,i5,i6", "--json"]

    def ids(*words):
        return {item["item_id"] for item in command(*asked, *words).json["recommendations"]}

    seen = {"i5", "i6", "i7"}
    assert ids() & seen
    assert ids("--keep-seen") == ids()
    assert not ids("--exclude-seen") & seen

    def measured(*words):
        return command("evaluate", tmp_path / "out", "--json", "-", *words).json

    own, out = measured(), measured("--exclude-seen")
    assert (own["protocol"]["exclude_seen"], out["protocol"]["exclude_seen"]) == (False, True)
    assert own["metrics"]["recall@10"] > 0.9
    assert out["metrics"]["recall@10"] == 0
    assert "seen items allowed" in command("evaluate", tmp_path / "out").out


@pytest.mark.parametrize(
    ("repeats", "events"), [("keep", 240), ("collapse_consecutive", 40), ("keep_first", 40)]
)
def test_repeats_of_the_command(tmp_path, caplog, command, repeats, events):
    words = written(tmp_path, subscriber)
    log = [row.split(",") for row in (tmp_path / "log.csv").read_text().split()[1:]]
    more = "".join(
        f"{user},i{(int(item[1:]) + 1) % ITEMS},{9 + int(time)}\n" for user, item, time in log[::6]
    )
    with (tmp_path / "log.csv").open("a") as file:
        file.write(more)
    done = command("fit", *words, "--repeats", repeats)
    assert done.status == 0
    dropped = 240 - events
    assert (
        f"280 rows read, {f'{dropped} dropped (repeated item), ' if dropped else ''}{events + 40} kept"
        in caplog.text
    )


def test_only_some_events_count(tmp_path, caplog, command):
    words = written(tmp_path, explorer)
    lines = (tmp_path / "log.csv").read_text().split()
    kinds = [
        "type",
        *(("view", "add_to_cart", "purchase")[row % 3] for row in range(len(lines) - 1)),
    ]
    (tmp_path / "log.csv").write_text(
        "".join(f"{line},{kind}\n" for line, kind in zip(lines, kinds, strict=True))
    )
    chosen = ["--event", "purchase, add_to_cart", "--event-column", "type"]
    done = command("fit", *words, *chosen)
    assert done.status == 0
    assert "360 rows read, 120 dropped (other event), 240 kept" in caplog.text
    refused = command("fit", *words, "--overwrite", "--event", "purchase")
    assert refused.status == 2
    assert "column 'event'" in refused.message
    refused = command("fit", *words, "--overwrite", "--event", ",")
    assert refused.status == 2
    assert "names no event" in refused.message
