"""Results of every case: written, read back, and every metric computed again from the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from genrec.common.errors import DataError, InputError
from genrec.data.histories import Cases, Histories
from genrec.evaluation import Context, Protocol, Ranking, evaluate, paired_differences
from genrec.evaluation.case_files import read_cases, write_cases

N, U = 30, 200
ITEMS, USERS = [f"item {i}" for i in range(N)], [f"user {u}" for u in range(U)]


class Noisy:
    """Random scores with many ties, short rows, and now and then an item that is none."""

    log_probabilities = True

    def __init__(self, seed, name="noisy"):
        self.seed, self.name = seed, name

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        ranking = Ranking.empty(len(histories), k)
        for row, history in enumerate(histories):
            rng = np.random.default_rng([self.seed, int(history.sum())])
            scores = -rng.integers(1, 9, N).astype(np.float32) / 3
            best = np.argsort(-scores, kind="stable")[: k - int(history[0] % 3) * (k > 5)]
            ranking.items[row, : len(best)] = best
            ranking.scores[row, : len(best)] = scores[best]
            if history[0] == 7:
                ranking.items[row, 1] = N + 4
        return ranking


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(0)
    histories = Histories.of(rng.integers(0, N, rng.integers(1, 9)) for _ in range(U + 50))
    users = np.concatenate([np.arange(U), rng.integers(0, U, 50)])
    return Cases(users, histories, rng.integers(0, N, U + 50).astype(np.int32))


@pytest.fixture(scope="module")
def results(cases):
    train = Histories.of([history[:-1] for history in cases.histories][:U])
    times = np.arange(len(cases)) % 4 == 0
    labels = np.arange(N) % 5 - 1
    context = Context.of(cases, train, N, labels=labels, same_time=times)
    return [
        evaluate(Noisy(seed, name), cases, Protocol(ks=(1, 5, 8)), N, context=context)
        for seed, name in ((0, "a"), (1, "b"))
    ]


def test_every_number_follows_from_the_file(results, tmp_path):
    written = results[0]
    assert (written.results.tied > 1).any()
    assert written.audit.invalid
    write_cases(written, tmp_path / "cases.parquet", ITEMS, USERS)
    read = read_cases(tmp_path / "cases.parquet")
    assert read.to_json() == written.to_json()
    assert len(read.metrics) == 5 * 3 + 2 * 3 + 2 * 3 + 1
    assert read.seconds == written.seconds


def test_the_file_is_for_people_too(results, cases, tmp_path):
    path = tmp_path / "cases.parquet"
    write_cases(results[0], path, ITEMS, USERS)
    assert [file.name for file in tmp_path.iterdir()] == ["cases.parquet"]
    table = pq.read_table(path)
    assert table["user_id"].to_pylist() == [USERS[user] for user in cases.users]
    assert table["target_item_id"].to_pylist() == [ITEMS[item] for item in cases.targets]
    ranks = results[0].ranks
    assert table["rank"].to_pylist() == [int(r) + 1 if r < 8 else None for r in ranks]
    for row, top in zip(table["recommended"].to_pylist(), results[0].results.top, strict=True):
        assert row == [ITEMS[i] if i < N else None for i in top.tolist() if i != -1]
    columns = pq.ParquetFile(path).metadata.row_group(0)
    assert {columns.column(i).compression for i in range(columns.num_columns)} == {"ZSTD"}


def test_recomputed_by_hand_from_the_columns(results, tmp_path):
    write_cases(results[0], tmp_path / "cases.parquet", ITEMS, USERS)
    rows = pq.read_table(tmp_path / "cases.parquet").to_pylist()
    ndcg = 0.0
    for row in rows:
        if row["rank"] is not None:
            places = range(row["rank"], row["rank"] + row["tied"])
            ndcg += np.mean([1 / np.log2(place + 1) if place <= 5 else 0 for place in places])
    assert results[0].metrics["ndcg@5"] == pytest.approx(ndcg / len(rows))
    shown = {item for row in rows for item in row["recommended"][:5] if item is not None}
    assert results[0].metrics["coverage@5"] == pytest.approx(len(shown) / N)
    tail = [row for row in rows if row["slice:tail"]]
    assert results[0].slices["tail"].cases == len(tail)


def test_saved_results_are_compared_as_fresh_ones(results, tmp_path):
    for result in results:
        write_cases(result, tmp_path / result.name, ITEMS, USERS)
    ours, theirs = (read_cases(tmp_path / result.name) for result in results)
    fresh = paired_differences(*results)
    assert paired_differences(ours, theirs) == fresh
    assert paired_differences(results[0], theirs) == fresh
    assert paired_differences(ours, ours)["recall@5"].p == 1


def test_results_of_other_cases_are_not_compared(results, cases, tmp_path):
    fewer = cases.take(np.arange(100))
    other = evaluate(Noisy(0, "fewer"), fewer, Protocol(ks=(1, 5, 8)), N)
    write_cases(other, tmp_path / "fewer", ITEMS, USERS)
    with pytest.raises(InputError, match="protocol field 'users'"):
        paired_differences(results[0], read_cases(tmp_path / "fewer"))


def test_other_files_are_refused(results, tmp_path):
    (tmp_path / "text").write_text("no Parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_cases(tmp_path / "text")
    with pytest.raises(DataError, match="cannot be read"):
        read_cases(tmp_path / "missing")
    path = tmp_path / "cases.parquet"
    write_cases(results[0], path, ITEMS, USERS)
    table = pq.read_table(path)
    pq.write_table(table.slice(3), path)
    with pytest.raises(DataError, match="says 250 cases and has 247"):
        read_cases(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(DataError, match="is not a file of case results"):
        read_cases(path)
    old = results[0].protocol.replace(version=1)
    write_cases(replace(results[0], protocol=old), path, ITEMS, USERS)
    with pytest.raises(DataError, match="version 1 of the protocol"):
        read_cases(path)
