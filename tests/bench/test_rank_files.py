"""Files of ranks: the numbers come back, and what does not belong together is refused."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.rank_files import collect_ranks, read_ranks, write_ranks
from genrec.common.errors import DataError, InputError
from genrec.data.histories import Cases, Histories
from genrec.evaluation import Protocol, Ranking, evaluate, paired_differences
from genrec.evaluation.case_files import write_cases

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
