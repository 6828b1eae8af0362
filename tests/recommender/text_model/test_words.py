"""Words that a text model knows: their TF-IDF by hand, their file, and texts as bags of them."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from genrec.common.errors import RecommenderError
from genrec.recommender.text_model import words as module
from genrec.recommender.text_model.words import KnownWords, WordBags

TEXTS = ["Red hat", "red scarf", "RED hat hat", "blue sea"]
CPU = torch.device("cpu")


@pytest.fixture
def known():
    return KnownWords.fit(TEXTS)


def test_a_word_of_one_text_is_left_out(known):
    assert known.words == ["hat", "red"]
    assert len(known) == 2


def test_rows_by_hand(known):
    # Of 4 texts, 2 hold "hat" and 3 "red": ln((1 + 4) / (1 + n)) + 1. Twice counts 1 + ln 2.
    hat, red = math.log(5 / 3) + 1, math.log(5 / 4) + 1
    np.testing.assert_allclose(known.idf, [hat, red])
    twice = (1 + math.log(2)) * hat
    expected = [
        [hat / math.hypot(hat, red), red / math.hypot(hat, red)],
        [0, 1],
        [twice / math.hypot(twice, red), red / math.hypot(twice, red)],
        [0, 0],
    ]
    np.testing.assert_allclose(known.rows(TEXTS).toarray(), expected, rtol=1e-6)
    new = known.rows(["a hat, a HAT in red!", "sea", ""])
    np.testing.assert_allclose(new.toarray(), [expected[2], [0, 0], [0, 0]], rtol=1e-6)
    assert new.dtype == np.float32


def test_the_most_frequent_words_are_kept(monkeypatch):
    monkeypatch.setattr(module, "_MOST_WORDS", 2)
    known = KnownWords.fit(["aa bb cc dd", "aa bb cc", "bb dd cc"])
    assert known.words == ["bb", "cc"], "three texts hold these, two hold the others"


@pytest.mark.parametrize("texts", [[], ["", "…"], ["one", "two"]], ids=["none", "wordless", "once"])
def test_a_catalog_without_a_word_to_know(texts):
    known = KnownWords.fit(texts)
    assert len(known) == 0
    assert known.rows(["one", "two"]).shape == (2, 0)
    assert known.start(known.rows(texts), 4, seed=0).shape == (0, 4)


def test_no_texts_have_no_rows(known):
    assert known.rows([]).shape == (0, 2)
    assert known.start(known.rows([]), 4, seed=0).tolist() == [[0] * 4] * 2


def test_words_of_the_same_texts_start_alike():
    texts = ["hat wool", "hat wool red", "sea blue", "sea blue red"]
    known = KnownWords.fit(texts)
    start = known.start(known.rows(texts), 8, seed=0)
    hat, wool, sea, blue = (start[known.words.index(w)] for w in ("hat", "wool", "sea", "blue"))
    torch.testing.assert_close(hat, wool)
    torch.testing.assert_close(sea, blue)
    assert abs(hat @ sea) < 0.1 < hat @ hat
    assert start[:, :3].abs().sum(0).min() > 0.1
    assert start[:, 3:].abs().sum() == 0, "hat or sea, with red or not: three directions"


def test_saved_and_loaded_words_give_the_same_rows(tmp_path):
    texts = ["Größe 帽子 ½", "größe 帽子 ½ ½", "帽子"]
    known = KnownWords.fit(texts)
    assert len(known) > 3
    known.save(tmp_path)
    loaded = KnownWords.load(tmp_path, known.idf)
    assert loaded.words == known.words
    assert (loaded.rows(texts) != known.rows(texts)).nnz == 0


DAMAGED = {
    "cut": '["hat", "re',
    "not text": b"\xff\xfe",
    "too few": '["hat"]',
    "too many": '["hat", "red", "sea"]',
    "twice the same": '["hat", "hat"]',
    "numbers": "[1, 2]",
    "lists": '[["hat"], ["red"]]',
    "an object": '{"hat": 0, "red": 1}',
    "a number": "2",
    "a word": '"ha"',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_words_are_refused(known, content, tmp_path):
    raw = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "words.json").write_bytes(raw)
    with pytest.raises(RecommenderError, match=r"words\.json cannot be read"):
        KnownWords.load(tmp_path, known.idf)


def test_missing_words_are_refused(known, tmp_path):
    with pytest.raises(RecommenderError, match=r"words\.json cannot be read"):
        KnownWords.load(tmp_path, known.idf)
    (tmp_path / "words.json").write_text(json.dumps(known.words))
    assert KnownWords.load(tmp_path, known.idf).words == known.words


def unpacked(bags):
    """Each bag as a list of (word, weight)."""
    entries = list(zip(bags.words.tolist(), bags.weights.tolist(), strict=True))
    starts = bags.starts.tolist()
    return [entries[a:b] for a, b in itertools.pairwise(starts)]


def test_bags_hold_what_the_rows_hold():
    rows = csr_matrix(np.array([[0, 0.5, 0.25], [0, 0, 0], [1, 0, 0]]))
    bags = WordBags.of(rows, CPU)
    assert len(bags) == 3
    assert unpacked(bags) == [[(1, 0.5), (2, 0.25)], [], [(0, 1.0)]]


@given(st.data())
def test_taken_bags_are_those_of_a_plain_loop(data):
    sizes = data.draw(st.lists(st.integers(0, 3), max_size=6))
    items = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=8)) if sizes else []
    starts = torch.tensor([0, *np.cumsum(sizes, dtype=int)])
    numbers = torch.arange(sum(sizes))
    bags = WordBags(numbers + 100, numbers / 8, starts)
    taken = bags.take(torch.tensor(items, dtype=torch.long))
    assert len(taken) == len(items)
    assert unpacked(taken) == [unpacked(bags)[item] for item in items]
