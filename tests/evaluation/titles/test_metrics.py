"""Titles judged: BLEU against sacrebleu's own calls, the rest by hand."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genrec.common.config import validate
from genrec.common.errors import ConfigError, DataError, InputError, MissingExtraError
from genrec.data import Catalog
from genrec.data.histories import Cases, Histories
from genrec.evaluation.bootstrap import Bootstrap
from genrec.evaluation.titles.evaluation import (
    TitleSettings,
    TitleTargets,
    bleu_difference,
    evaluate_titles,
)
from genrec.evaluation.titles.metrics import (
    BleuSettings,
    bleu_of_sums,
    bleu_statistics,
    distinct,
    exact_match,
    normalize_title,
    rouge_l,
    title_words,
)
from genrec.evaluation.titles.report import compare_titles

TARGETS = [
    "Acme red tent for two people, 2 kg",
    "Blue rope of 20 metres by Acme",
    "Tin cup with a handle",
    "Größe M Zelt für Kinder in grün",
]
ANSWERS = [
    "Acme red tent for three people, 3 kg",
    "Blue rope of 20 metres by Other",
    "",
    "Größe L Zelt für Kinder in grün",
]
FEW = Bootstrap(samples=50)


def corpus_bleu(answers, targets, settings=None):
    """BLEU of a whole corpus, from what is kept of each case."""
    return bleu_of_sums(bleu_statistics(answers, targets, settings or BleuSettings()).sum(axis=0))


def targets_of(titles, users=None, known=()):
    numbers = np.arange(len(titles)) if users is None else np.asarray(users)
    return TitleTargets(list(titles), numbers, frozenset(map(normalize_title, known)))


def judged(answers, titles, users=None, *, samples=50, name="it", **more):
    settings = TitleSettings(bootstrap=Bootstrap(samples=samples), **more)
    rows = [answer if isinstance(answer, list) else [answer] for answer in answers]
    return evaluate_titles(name, rows, targets_of(titles, users), settings)


def random_titles(cases, seed=0, wrong=0.4):
    """Targets of random words, and answers with a part of the words replaced and others cut off."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 60, rng.integers(3, 12)) for _ in range(cases)]
    answers = []
    for row in rows:
        changed = np.where(rng.random(len(row)) < wrong, rng.integers(0, 60, len(row)), row)
        answers.append(changed[: rng.integers(2, len(row) + 1)])
    texts = [[" ".join(f"w{word}" for word in row) for row in part] for part in (answers, rows)]
    return texts[0], texts[1]


# BLEU


@pytest.mark.parametrize("words", ["13a", "intl", "char", "zh", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_bleu_is_sacrebleus(words, lowercase):
    import sacrebleu

    answers = [answer.upper() if i == 1 else answer for i, answer in enumerate(ANSWERS)]
    options = {"tokenize": words, "lowercase": lowercase}
    expected = sacrebleu.corpus_bleu(answers, [TARGETS], **options).score
    assert 0 < expected < 100
    settings = BleuSettings(words=words, lowercase=lowercase)
    assert corpus_bleu(answers, TARGETS, settings) == expected
    sums = bleu_statistics(answers, TARGETS, settings).sum(axis=0)
    assert bleu_of_sums(sums) == pytest.approx(expected, abs=1e-12)
    result = judged(answers, TARGETS, words=words, lowercase=lowercase)
    assert result.metrics["bleu"] == pytest.approx(expected, abs=1e-12)


def test_bleu_by_hand():
    # 4 of 5 words agree, and 3 of 4, 2 of 3, 1 of 2 runs; as long as the target: no brevity penalty.
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert corpus_bleu(["a b c d x"], ["a b c d e"]) == pytest.approx(expected)
    rows = bleu_statistics(["a b c d x", ""], ["a b c d e", "a b"], BleuSettings())
    assert rows.tolist() == [[5, 5, 4, 3, 2, 1, 5, 4, 3, 2], [0, 2, *[0] * 8]]
    # The empty answer's 2 words are missing: exp(1 - 7 / 5).
    both = corpus_bleu(["a b c d x", ""], ["a b c d e", "a b"])
    assert both == pytest.approx(expected * np.exp(1 - 7 / 5))


def test_runs_that_never_agree_are_smoothed_as_sacrebleu_does():
    # 2 of 4 words, 1 of 3 pairs; then 0 of 2 counts half of one, 0 of 1 a quarter.
    expected = 100 * (2 / 4 * 1 / 3 * 1 / 4 * 1 / 4) ** 0.25
    result = judged(["a b x y"], ["a b c d"])
    assert result.metrics["bleu"] == pytest.approx(expected)
    assert result.confidence["bleu"] == pytest.approx((expected, expected))  # one case, no doubt


def test_the_signature_says_which_bleu():
    import sacrebleu

    result = judged(ANSWERS, TARGETS, words="intl", lowercase=True)
    version = sacrebleu.__version__
    signature = f"nrefs:1|case:lc|eff:no|tok:intl|smooth:exp|version:{version}"
    assert result.bleu_signature == signature
    assert "case:mixed|eff:no|tok:13a|smooth:exp" in judged(ANSWERS, TARGETS).bleu_signature


def test_titles_that_end_in_full_stops_raise_no_warning(caplog):
    corpus_bleu(["red tent ."] * 200, ["red tent ."] * 200)
    assert not caplog.records


def test_a_way_to_cut_words_that_needs_a_download_is_refused():
    with pytest.raises(ConfigError, match="words"):
        validate(TitleSettings, {"words": "flores200"}, "options")


# ROUGE-L, exact match, distinct


def test_rouge_l_by_hand():
    answers = ["red tent", "the red warm tent", "tent red", "", "Red TENT!", "...", "tent"]
    titles = ["red tin cup", "red tent", "red tent", "red tent", "red tent", "...", ""]
    # 1 of 2 + 3 words; "red … tent" of 4 + 2; one of two in order; nothing; case and marks aside.
    expected = [2 / 5, 4 / 6, 2 / 4, 0, 1, 0, 0]
    assert rouge_l(answers, titles).tolist() == pytest.approx(expected)


def longest_common(a, b):
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + longest_common(a[:-1], b[:-1])
    return max(longest_common(a[:-1], b), longest_common(a, b[:-1]))


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_rouge_l_is_the_longest_common_subsequence(a, b):
    expected = 2 * longest_common(a, b) / max(1, len(a) + len(b))
    assert rouge_l([" ".join(a)], [" ".join(b)])[0] == pytest.approx(expected)


def test_words_of_any_script():
    assert title_words("Größe_M: 2.5kg") == ["größe", "m", "2", "5kg"]
    assert title_words("USB充電ケーブル 2m") == ["usb", "充", "電", *"ケーブル", "2m"]
    assert title_words("ชุดชั้นใน हिन्दी") == ["ชุดชั้นใน", "हिन्दी"]  # marks do not cut a word
    assert title_words(" \t—!🎒 ") == []
    assert title_words(unicodedata.normalize("NFD", "Café")) == ["café"]


def test_a_japanese_title_is_scored():
    assert rouge_l(["赤いテント"], ["青いテント"])[0] == pytest.approx(2 * 4 / 10)
    assert corpus_bleu(["赤いテント"], ["青いテント"], BleuSettings(words="char")) > 50


def test_exact_match_sees_no_case_and_no_spaces():
    answers = ["  red   TENT ", "STRASSE", unicodedata.normalize("NFD", "é"), "red-tent", "", " "]
    titles = ["Red tent", "Straße", "é", "red tent", "", ""]
    assert exact_match(answers, titles).tolist() == [1, 1, 1, 0, 0, 0]


def test_distinct_by_hand():
    answers = [["red tent", "red cup"], ["Red tent"]]
    assert distinct(answers, 1) == 3 / 6  # red, tent, cup
    assert distinct(answers, 2) == 2 / 3  # "red tent", "red cup"
    assert distinct([["red"], [""]], 2) == 0


# The whole evaluation


def test_every_metric_by_hand():
    answers = [["Red Tent", "blue  tent"], ["", "tin cup"], ["tin can", "tin can"]]
    titles = ["red tent", "tin cup", "tin cup"]
    targets = targets_of(titles, known=["red tent", "tin cup", "blue tent"])
    settings = TitleSettings(bootstrap=FEW)
    near = np.array([1, 0, 0.5])
    result = evaluate_titles("it", answers, targets, settings, similarity=near)
    assert result.metrics == {
        "bleu": pytest.approx(corpus_bleu(["Red Tent", "", "tin can"], titles)),
        "rouge_l": pytest.approx((1 + 0 + 0.5) / 3),
        "exact_match": pytest.approx(1 / 3),
        "catalog_titles": pytest.approx((2 / 2 + 1 / 2 + 0) / 3),
        "empty": pytest.approx(1 / 3),
        "similarity": pytest.approx(0.5),
        "distinct_1": pytest.approx(6 / 10),  # red tent blue tin cup can
        "distinct_2": pytest.approx(4 / 5),
    }
    assert set(result.confidence) == set(result.metrics) - {"distinct_1", "distinct_2"}
    for name, (low, high) in result.confidence.items():
        assert low <= result.metrics[name] <= high
    assert result.answers == 6


def test_the_result_is_a_json_document():
    result = judged(ANSWERS, TARGETS, users=[3, 3, 5, 6])
    document = json.loads(json.dumps(result.to_json()))
    assert (document["cases"], document["users"], document["answers"]) == (4, 3, 4)
    assert document["metrics"] == result.metrics
    assert document["confidence"]["bleu"] == list(result.confidence["bleu"])
    assert document["settings"]["words"] == "13a"
    assert "statistics" not in document


def test_targets_come_from_the_catalog():
    titles = ["Red  tent", None, "tin cup"]
    catalog = Catalog.from_table(pa.table({"item_id": list("abc"), "title": titles}))
    cases = Cases(np.array([7, 8]), Histories.of([[0], [1]]), np.array([2, 0], np.int32))
    targets = TitleTargets.of(cases, catalog)
    assert targets.titles == ["tin cup", "Red tent"]
    assert targets.users.tolist() == [7, 8]
    assert targets.known == {"red tent", "b", "tin cup"}


@pytest.mark.parametrize("n", [1, 2])
def test_empty_answers_and_targets_never_agree(n):
    targets = targets_of(["", ""], known=[""])
    settings = TitleSettings(bootstrap=FEW)
    result = evaluate_titles("it", [[""] * n, ["tent"] * n], targets, settings)
    agreement = [result.metrics[name] for name in ("bleu", "rouge_l", "exact_match")]
    assert agreement == [0, 0, 0]
    assert result.metrics["empty"] == 0.5
    assert result.metrics["catalog_titles"] == 0
    assert np.isfinite(list(result.confidence.values())).all()


def test_bleu_intervals_are_those_of_resampling_whole_users():
    answers, titles = (
        [text for text in part for _ in range(2)] for part in random_titles(60, wrong=0.1)
    )
    users = np.repeat(np.arange(60), 2)  # whose two cases are alike
    low, high = judged(answers, titles, users, samples=2000).confidence["bleu"]
    rng, scores = np.random.default_rng(1), []
    for _ in range(150):
        rows = np.concatenate([[2 * u, 2 * u + 1] for u in rng.integers(0, 60, 60)])
        scores.append(corpus_bleu([answers[i] for i in rows], [titles[i] for i in rows]))
    expected = np.quantile(scores, [0.025, 0.975])
    width = expected[1] - expected[0]
    assert [low, high] == pytest.approx(expected, abs=0.25 * width)
    alone_low, alone_high = judged(answers, titles, samples=2000).confidence["bleu"]
    assert high - low > 1.2 * (alone_high - alone_low)


def test_the_seed_decides_the_interval():
    first, second = (judged(*random_titles(40)) for _ in range(2))
    assert first == second
    settings = TitleSettings(bootstrap=FEW.replace(seed=1))
    answers, titles = random_titles(40)
    other = evaluate_titles("it", [[a] for a in answers], targets_of(titles), settings)
    assert other.metrics == first.metrics
    assert other.confidence != first.confidence


# Two systems


def test_a_paired_difference_is_surer_than_two_intervals():
    answers, titles = random_titles(300)
    better = [title if i % 5 == 0 else answers[i] for i, title in enumerate(titles)]
    strong, weak = judged(better, titles, samples=400), judged(answers, titles, samples=400)
    gap = bleu_difference(strong, weak)
    assert gap.value == pytest.approx(corpus_bleu(better, titles) - corpus_bleu(answers, titles))
    assert 0 < gap.low < gap.value < gap.high
    (low, high), (weak_low, weak_high) = strong.confidence["bleu"], weak.confidence["bleu"]
    assert gap.high - gap.low < 0.8 * (high - low + weak_high - weak_low)
    back = bleu_difference(weak, strong)
    assert back.value == pytest.approx(-gap.value)
    width = gap.high - gap.low
    assert [back.low, back.high] == pytest.approx([-gap.high, -gap.low], abs=0.25 * width)


def test_a_system_is_not_ahead_of_itself():
    result = judged(*random_titles(30))
    gap = bleu_difference(result, result)
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"titles": TARGETS[::-1]}, "data_hash"), ({"words": "intl"}, "settings")],
)
def test_what_was_judged_otherwise_is_not_compared(change, field):
    model = judged(ANSWERS, TARGETS, name="genrec")
    other = judged(ANSWERS, **({"titles": TARGETS} | change), name="last title")
    with pytest.raises(InputError, match=f"genrec and last title cannot be compared: {field}"):
        compare_titles(model, [other])


# Tables


@pytest.fixture
def comparison():
    model = judged(TARGETS, TARGETS, name="genrec")
    return compare_titles(model, [judged(ANSWERS, TARGETS, name="last [title]")])


def test_markdown_has_a_row_a_system(comparison):
    lines = comparison.markdown_table(percent=True).splitlines()
    assert lines[0].startswith("| titles | BLEU | ROUGE-L | exact | distinct-1 | distinct-2 |")
    assert lines[0].endswith("| in catalog | empty | BLEU ahead by |")
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert lines[2].startswith("| genrec | 100.00 (100.00 to 100.00) | 100.00 (100.00 to 100.00) |")
    assert lines[2].endswith("|  |")
    gap = comparison.ahead[0]
    assert f"| {gap.value:+.2f} ({gap.low:+.2f} to {gap.high:+.2f}) |" in lines[3]
    assert "| 25.00 (" in lines[3]  # one of four is empty
    assert "tok:13a" in lines[-1]
    assert "4 users, 4 targets" in lines[-1]
    assert "95 % intervals" in lines[-1]


def test_fractions_are_the_default_and_bleu_stays_as_it_is(comparison):
    lines = comparison.markdown_table().splitlines()
    assert lines[2].startswith("| genrec | 100.00 (100.00 to 100.00) | 1.0000 (1.0000 to 1.0000) |")


def test_the_terminals_table_marks_the_best(comparison):
    table = comparison.rich_table()
    cells = {column.header: list(column.cells) for column in table.columns}
    assert [cell.startswith("[bold]") for cell in cells["BLEU"]] == [True, False]
    assert [cell.startswith("[bold]") for cell in cells["empty"]] == [True, False]
    assert not any("[bold]" in cell for cell in cells["in catalog"])
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    assert "last [title]" in text
    assert "tok:13a|smooth:exp" in text


def test_one_system_needs_no_lead(comparison):
    alone = compare_titles(comparison.model)
    assert "ahead" not in alone.markdown_table()
    assert len(alone.rich_table().columns) == 8


def test_similarity_is_a_column_where_all_have_it():
    targets, settings = targets_of(TARGETS), TitleSettings(bootstrap=FEW)
    rows = [[answer] for answer in ANSWERS]
    near = evaluate_titles("a", rows, targets, settings, similarity=np.ones(4))
    assert "similarity" in compare_titles(near, [near]).markdown_table()
    assert "similarity" not in compare_titles(near, [judged(ANSWERS, TARGETS)]).markdown_table()


def test_the_comparison_is_a_json_document(comparison):
    document = json.loads(json.dumps(comparison.to_json()))
    [other] = document["baselines"]
    assert (document["name"], other["name"]) == ("genrec", "last [title]")
    assert other["bleu_ahead"]["value"] == pytest.approx(100 - other["metrics"]["bleu"])


# Refusals


@pytest.mark.parametrize(
    ("answers", "similarity", "message"),
    [
        ([["a"]], None, "answers of 1 cases for 2 targets"),
        ([["a"], []], None, r"case 1: \[\] is not a list of one or more"),
        (["a", "b"], None, "case 0: 'a' is not a list"),
        ([["a"], ["b"]], np.ones(3), "similarity of 3 cases for 2 targets"),
    ],
)
def test_wrong_numbers_of_titles_are_refused(answers, similarity, message):
    with pytest.raises(InputError, match=message):
        evaluate_titles("it", answers, targets_of(["a", "b"]), similarity=similarity)


def test_no_case_is_an_error():
    with pytest.raises(DataError, match="no case"):
        evaluate_titles("it", [], targets_of([]))


@pytest.mark.parametrize("package", ["sacrebleu", "rapidfuzz"])
def test_a_missing_extra_names_the_command(package, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install 'genrec\[eval\]'"):
        judged(ANSWERS, TARGETS)
