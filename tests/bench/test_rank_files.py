"""Files of ranks: the numbers come back, what does not belong together is refused, and a table by hand."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.rank_files import collect_ranks, read_ranks, write_ranks
from bench.rank_tables import slices_table
from genrec.common.errors import DataError, InputError
from genrec.data.histories import Cases, Histories
from genrec.evaluation import Evaluation, Protocol, Ranking, evaluate, paired_differences
from genrec.evaluation.case_files import write_cases
from genrec.evaluation.case_results import CaseResults

N = 9
RNG = np.random.default_rng(0)
CASES = Cases(
    np.repeat(np.arange(10), 2),
    Histories.of([[i % N] for i in range(20)]),
    RNG.integers(0, N, 20).astype(np.int32),
)
IDS, USERS = [f"i{n}" for n in range(N)], [f"u{n}" for n in range(10)]


class Ranker:
    """Ranks by the history's one item, with ties."""

    def __init__(self, name, seed):
        self.name = name
        self.table = np.random.default_rng(seed).integers(0, 4, (N, N)).astype(np.float32)

    def rank(self, histories, k, *, exclude_seen):
        scores = self.table[histories.items]
        items = np.argsort(-scores, axis=1, kind="stable")
        short = ((0, 0), (0, max(0, k - N)))
        ordered = np.take_along_axis(scores, items, axis=1)
        return Ranking(
            np.pad(items, short, constant_values=-1)[:, :k].astype(np.int32),
            np.pad(ordered, short, constant_values=-np.inf)[:, :k],
        )


def measured(name, seed, cases=CASES):
    protocol = Protocol(ks=(1, 3), exclude_seen=False)
    return evaluate(Ranker(name, seed), cases, protocol, N)


@pytest.fixture
def files(tmp_path):
    made = {"one": measured("a", 1), "other": measured("a", 2)}
    for name, evaluation in made.items():
        write_cases(evaluation, tmp_path / f"{name}.parquet", IDS, USERS)
    return made, {name: tmp_path / f"{name}.parquet" for name in made}


def test_every_number_of_the_ranks_comes_back(files, tmp_path):
    made, paths = files
    write_ranks(collect_ranks(paths), tmp_path / "ranks.parquet")
    found = read_ranks(tmp_path / "ranks.parquet")
    assert [row.name for row in found] == ["one", "other"]
    for row, expected in zip(found, made.values(), strict=True):
        assert row.protocol == expected.protocol
        assert row.confidence == expected.confidence
        assert row.metrics == {name: expected.metrics[name] for name in expected.confidence}
    assert paired_differences(*found) == paired_differences(*made.values())


def test_other_cases_are_refused(files, tmp_path):
    _, paths = files
    fewer = measured("a", 1, CASES.take(np.arange(7)))
    write_cases(fewer, tmp_path / "fewer.parquet", IDS, USERS)
    with pytest.raises(InputError, match="one and fewer cannot be compared"):
        collect_ranks({**paths, "fewer": tmp_path / "fewer.parquet"})


def test_equal_names_and_other_files_are_refused(files, tmp_path):
    made, paths = files
    with pytest.raises(InputError, match="a name of its own; given: a, a"):
        write_ranks(list(made.values()), tmp_path / "ranks.parquet")
    with pytest.raises(DataError, match="is not a file of ranks"):
        read_ranks(paths["one"])
    with pytest.raises(DataError, match="there is no such file"):
        read_ranks(tmp_path)
    write_ranks([made["one"]], tmp_path / "whole.parquet")
    table = pq.read_table(tmp_path / "whole.parquet")
    for damaged in (table.slice(0, 5), table.drop_columns(["tied0"])):
        pq.write_table(damaged, tmp_path / "damaged.parquet")
        with pytest.raises(DataError, match="has lost rows or columns"):
            read_ranks(tmp_path / "damaged.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_ranks(tmp_path / "text.parquet")


def by_hand(name, ranks, same=None):
    """An evaluation of one case a user, from the 0-based places of the targets; 3 is absent."""
    cases = len(ranks)
    protocol = Protocol(ks=(1, 3), users=cases, cases=cases, items=N, data_hash="0" * 16)
    results = CaseResults(
        np.arange(cases),
        np.zeros(cases, np.int32),
        np.array(ranks),
        np.ones(cases, np.int64),
        np.zeros((cases, 3), np.int32),
        np.zeros((cases, 4), np.int64),
        slices={} if same is None else {"head": np.ones(cases, bool), "same_time": np.array(same)},
    )
    return Evaluation.of(name, protocol, results, 1.0)


SAME = [True, False, True, False, False]


def test_targets_of_the_same_time_stand_apart(tmp_path):
    rows = {"good": [0, 1, 3, 2, 3], "bad": [3, 3, 3, 3, 3]}
    paths = {}
    for name, ranks in rows.items():
        paths[name] = tmp_path / f"{name}.parquet"
        write_cases(by_hand(name, ranks, SAME), paths[name], IDS, USERS)
    write_ranks(collect_ranks(paths), tmp_path / "ranks.parquet")
    good, _ = found = read_ranks(tmp_path / "ranks.parquet")
    assert good.results.slices["same_time"].tolist() == SAME
    assert {name: part.cases for name, part in good.slices.items()} == {
        "same_time": 2,
        "other_time": 3,
    }
    # Same time: at the first place and absent. Another time: second, third and absent.
    same, other = good.slices["same_time"].metrics, good.slices["other_time"].metrics
    assert (same["recall@1"], same["recall@3"], same["ndcg@3"]) == (0.5, 0.5, 0.5)
    assert other["recall@3"] == pytest.approx(2 / 3)
    assert other["ndcg@3"] == pytest.approx((1 / np.log2(3) + 1 / np.log2(4)) / 3)
    assert good.confidence == by_hand("good", rows["good"]).confidence

    head, _, *lines, _, caption = slices_table(found, ["recall@3", "ndcg@3"]).splitlines()
    cells = [
        [cell.split(" (")[0].strip() for cell in line.split("|")[1:-1]] for line in (head, *lines)
    ]
    assert cells == [
        [
            "ranker",
            "recall@3, same time",
            "ndcg@3, same time",
            "recall@3, another time",
            "ndcg@3, another time",
            "recall@3 from the same time",
        ],
        ["good", "0.5000", "0.5000", "0.6667", "0.3770", "33 %"],  # one of three hits
        ["bad", "0.0000", "0.0000", "0.0000", "0.0000", ""],
    ]
    assert caption.startswith(
        "*Same time*: the 2 of 5 cases (40.0 %) whose target has the timestamp"
    )


def test_files_that_do_not_tell_the_times_are_read_as_before(tmp_path):
    write_ranks([by_hand("old", [0, 1, 3, 2, 3])], tmp_path / "ranks.parquet")
    assert "same_time" not in pq.read_table(tmp_path / "ranks.parquet").column_names
    [old] = read_ranks(tmp_path / "ranks.parquet")
    assert old.slices == {}
    assert slices_table([old], ["recall@3", "ndcg@3"]) == ""


def test_no_table_where_all_cases_are_of_one_kind():
    rows = [by_hand("all", [0, 1], [True, True]), by_hand("none", [0, 1], [False, False])]
    assert [slices_table([row], ["recall@3"]) for row in rows] == ["", ""]


def test_one_file_of_several_is_enough_to_tell_the_times(tmp_path):
    ranks = [0, 1, 3, 2, 3]
    write_ranks([by_hand("old", ranks), by_hand("new", ranks, SAME)], tmp_path / "ranks.parquet")
    assert [row.slices["same_time"].cases for row in read_ranks(tmp_path / "ranks.parquet")] == [
        2,
        2,
    ]
