"""Every case counted, every result with its protocol, and refusals that say why."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from genrec.common.errors import DataError, InputError
from genrec.data.histories import Cases, Histories
from genrec.evaluation import Bootstrap, Evaluation, Protocol, Ranking, compare, evaluate
from genrec.evaluation.protocol import hash_cases
from genrec.evaluation.report import markdown_table, rich_table

N = 6


@dataclass
class Fixed:
    """Answers every history with the row chosen by its first item."""

    rows: np.ndarray
    name: str = "fixed"
    padded: bool = True

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        items = self.rows[[history[0] for history in histories]][:, :k].astype(np.int32)
        if self.padded:
            items = np.pad(items, [(0, 0), (0, k - items.shape[1])], constant_values=-1)
        scores = np.broadcast_to(-np.arange(items.shape[1], dtype=np.float32), items.shape)
        return Ranking(items, np.where(items == -1, -np.inf, scores).astype(np.float32))


@pytest.fixture
def cases():
    histories = Histories.of([[0], [1, 4], [2], [3]])
    return Cases(np.array([7, 8, 9, 9]), histories, np.array([1, 2, 3, 4], np.int32))


@pytest.fixture
def rows():
    return np.array([[1, 2, 3], [0, 2, 3], [4, 5, 0], [5, -1, -1]])


@pytest.fixture
def protocol():
    return Protocol(ks=(3, 1), bootstrap=Bootstrap(samples=200))


def test_means_by_hand(cases, rows, protocol):
    result = evaluate(Fixed(rows), cases, protocol, N)
    assert result.ranks.tolist() == [0, 1, 3, 3]
    assert result.metrics["recall@1"] == 0.25
    assert result.metrics["recall@3"] == 0.5
    assert result.metrics["ndcg@3"] == pytest.approx((1 + 1 / np.log2(3)) / 4)
    assert result.metrics["mrr@3"] == pytest.approx(1.5 / 4)
    assert result.metrics["coverage@1"] == pytest.approx(4 / 6)
    assert result.metrics["coverage@3"] == 1
    assert result.invalid == 0
    assert set(result.confidence) == {
        f"{name}@{k}" for name in ("recall", "ndcg", "mrr", "hit", "map") for k in (1, 3)
    }
    for name, (low, high) in result.confidence.items():
        assert 0 <= low <= result.metrics[name] <= high <= 1


def test_the_protocol_states_what_was_counted(cases, rows, protocol):
    stated = evaluate(Fixed(rows), cases, protocol, N).protocol
    assert (stated.ks, stated.users, stated.cases, stated.items) == ((1, 3), 3, 4, N)
    assert stated.data_hash == hash_cases(cases, N)
    again = evaluate(Fixed(rows), cases, stated, N)
    assert again.protocol == stated
    with pytest.raises(InputError, match="cases = 4 but the cases have 2"):
        evaluate(Fixed(rows), cases.take(np.array([2, 3])), stated.replace(users=None), N)


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_chunks_change_nothing(cases, rows, protocol, chunk_size):
    whole = evaluate(Fixed(rows), cases, protocol, N)
    parts = evaluate(Fixed(rows), cases, protocol, N, chunk_size=chunk_size)
    assert parts.ranks.tolist() == whole.ranks.tolist()
    assert parts.metrics == whole.metrics
    assert parts.confidence == whole.confidence


def test_violations_are_counted(cases, rows, protocol):
    rows[0] = [6, 2, 2]  # outside the catalog, then twice the same
    rows[1] = [1, 4, 0]  # both seen
    result = evaluate(Fixed(rows), cases, protocol, N, chunk_size=1)
    assert (result.audit.invalid, result.audit.duplicates, result.audit.seen) == (1, 1, 2)
    assert result.invalid == 4
    allowed = evaluate(Fixed(rows), cases, protocol.replace(exclude_seen=False), N)
    assert allowed.invalid == 2


def test_a_ranker_may_not_leave_columns_out(cases, rows, protocol):
    with pytest.raises(InputError, match=r"shape \(4, 2\) where \(4, 4\)"):
        evaluate(Fixed(rows[:, :2], padded=False), cases, protocol, N)


def test_probabilities_are_measured_where_scores_are_such(cases, rows, protocol):
    class Sure(Fixed):
        log_probabilities = True

    # Scores of first items are 0: sure each time, right once in four.
    result = evaluate(Sure(rows), cases, protocol, N)
    assert result.results.probabilities.tolist() == [1, 1, 1, 1]
    assert result.metrics["ece"] == 0.75
    nothing = evaluate(Sure(np.full_like(rows, -1)), cases, protocol, N)
    assert nothing.results.probabilities.tolist() == [0, 0, 0, 0]
    assert nothing.metrics["ece"] == nothing.metrics["gini@3"] == 0
    assert "ece" not in evaluate(Fixed(rows), cases, protocol, N).metrics


def test_log_probabilities_above_0_are_refused(cases, rows, protocol):
    class Loud(Fixed):
        log_probabilities = True

        def rank(self, histories, k, *, exclude_seen):
            ranking = super().rank(histories, k, exclude_seen=exclude_seen)
            return Ranking(ranking.items, ranking.scores + 2)

    with pytest.raises(InputError, match="scores are log-probabilities, but gave 2"):
        evaluate(Loud(rows), cases, protocol, N)


def test_a_protocol_of_other_rules_is_refused(cases, rows, protocol):
    assert evaluate(Fixed(rows), cases, protocol, N).protocol.version == 2
    with pytest.raises(InputError, match="version 1, and this genrec measures by version 2"):
        evaluate(Fixed(rows), cases, protocol.replace(version=1), N)


def test_every_user_must_be_counted(cases, rows, protocol):
    from genrec.evaluation.case_results import summary

    result = evaluate(Fixed(rows), cases, protocol, N)
    with pytest.raises(AssertionError, match="every user must be counted"):
        summary(result.results, result.protocol.replace(users=2))
    with pytest.raises(AssertionError, match="every case must be counted"):
        summary(result.results, result.protocol.replace(cases=5))


def test_cases_outside_the_catalog_are_refused(cases, rows, protocol):
    with pytest.raises(DataError, match=r"column 'target', value 4.*indices 0 to 3"):
        evaluate(Fixed(rows), cases, protocol, 4)


def test_no_case_is_an_error(cases, rows, protocol):
    with pytest.raises(DataError, match="no case"):
        evaluate(Fixed(rows), cases.take(np.array([], np.int64)), protocol, N)


def test_progress_goes_to_stderr(cases, rows, protocol, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # the bar is drawn on terminals only
    evaluate(Fixed(rows), cases, protocol, N, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "evaluate fixed" in shown.err
    evaluate(Fixed(rows), cases, protocol, N)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["history", "target", "order", "items", "user"])
def test_the_hash_sees_every_change(cases, change):
    changed = {
        "history": (Cases(cases.users, Histories.of([[0], [4, 1], [2], [3]]), cases.targets), N),
        "target": (Cases(cases.users, cases.histories, cases.targets[::-1]), N),
        "order": (cases.take(np.array([1, 0, 2, 3])), N),
        "items": (cases, N + 1),
        "user": (Cases(cases.users + 1, cases.histories, cases.targets), N),
    }
    assert hash_cases(*changed[change]) != hash_cases(cases, N)


@pytest.fixture
def evaluations(cases, rows, protocol) -> tuple[Evaluation, Evaluation]:
    worse = np.roll(rows, 1, axis=0)
    return (
        evaluate(Fixed(rows, "model"), cases, protocol, N),
        evaluate(Fixed(worse, "popularity"), cases, protocol, N),
    )


def test_compare_has_the_published_shape(evaluations):
    model, baseline = evaluations
    document = json.loads(json.dumps(compare(model, [baseline])))
    keys = ["protocol", "metrics", "confidence", "users", "invalid", "rates", "slices"]
    assert list(document) == [*keys, "baselines", "differences"]
    assert document["metrics"]["recall@3"] == 0.5
    assert document["confidence"]["recall@3"] == list(model.confidence["recall@3"])
    assert document["baselines"] == {"popularity": baseline.metrics}
    assert (document["users"], document["invalid"]) == (3, 0)
    assert document["rates"] == {"invalid": 0, "duplicates": 0, "seen": 0}
    difference = document["differences"]["popularity"]["recall@3"]
    assert difference["value"] == pytest.approx(0.5 - baseline.metrics["recall@3"])
    assert list(difference) == ["value", "low", "high", "p"]
    assert compare(model, [baseline], differences=False)["differences"] == {}
    assert Protocol.model_validate(document["protocol"]) == model.protocol


def test_compare_refuses_another_protocol(evaluations, cases, rows, protocol):
    other = evaluate(Fixed(rows, "other"), cases, protocol.replace(exclude_seen=False), N)
    with pytest.raises(
        InputError, match="model and other cannot be compared: protocol field 'exclude_seen'"
    ):
        compare(evaluations[0], [other])


def test_tables_show_values_intervals_and_protocol(evaluations):
    from io import StringIO

    from rich.console import Console

    model, baseline = evaluations
    low, high = model.confidence["recall@3"]
    text = markdown_table(model, [baseline])
    lines = text.splitlines()
    assert lines[0].startswith("| recommender | recall@1 | recall@3 |")
    assert {line.count("|") for line in lines[:4]} == {len(model.metrics) + 4}
    assert f"0.5000 ({low:.4f} to {high:.4f})" in lines[2]
    assert "3 users, 4 targets, 6 items ranked in full" in text
    assert "ties counted by expectation" in text
    assert "50.00 (" in markdown_table(model, percent=True)
    output = StringIO()
    Console(file=output, width=300).print(rich_table(model, [baseline]))
    assert "popularity" in output.getvalue()
    assert f"({low:.4f} to {high:.4f})" in output.getvalue()
    two = markdown_table(model, metrics=("ndcg@3", "coverage@1")).splitlines()[0]
    assert two == "| recommender | ndcg@3 | coverage@1 | invalid | seconds |"
    with pytest.raises(InputError, match="'recall@7' was not computed; known: recall@1"):
        rich_table(model, metrics=("recall@7",))
