"""Words of texts: with spaces as ever, without spaces by characters, and words of one character."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.data.words import any_word, words_of
from genrec.evaluation.baselines.text_neighbors import TextNeighbors
from genrec.language_model.likeness import Likeness
from genrec.recommender.query import QuerySettings, QueryWords


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("phone case model 7", ["phone", "case", "model", "7"]),
        ("Shirt, size S (5%)", ["Shirt", "size", "S", "5"]),
        ("price: 12. brand: X", ["price", "12", "brand", "X"]),
        ("women's 7.5 cm, U.S., l'eau", ["women", "cm", "eau"]),
        ("红灯", ["红", "灯", "红灯"]),
        ("灯", ["灯"]),
        ("iPhone手机 7", ["iPhone", "手", "机", "手机", "7"]),
        ("赤いランプ", ["赤", "赤い", "いラ", "ラン", "ンプ"]),
        ("コーヒー", ["コー", "ーヒ", "ヒー"]),
        ("น้ำหอม", ["น้ำห", "หอ", "อม"]),
        ("커피 메이커", ["커피", "메이커"]),
        ("मेज़ लैंप", ["मेज़", "लैंप"]),
        ("-- !", []),
    ],
)
def test_words(text, words):
    assert words_of(text) == words
    assert any_word(["", text]) == bool(words)


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"], max_codepoint=0x24F)))
def test_words_of_two_characters_and_more_are_what_they_were(text):
    assert [word for word in words_of(text) if len(word) > 1] == re.findall(r"\b\w\w+\b", text)


COLOURS, THINGS = ["红色", "蓝色", "绿色", "黑色"], ["小灯", "帐篷", "杯子"]
CHINESE = [f"{colour}的{thing}" for colour in COLOURS for thing in THINGS]
MODELS = [f"{thing} case model {i}" for i in range(10) for thing in ("phone", "tablet")]
SIZES = [f"{thing} shirt, size {size}" for size in "SMLX" for thing in ("wool", "linen")]
JAPANESE = [f"{a}{b}" for a in ("赤い", "青い", "白い") for b in ("ランプ", "テント", "カップ")]
THAI = [f"{a}{b}" for a in ("น้ำหอม", "เสื้อ", "รองเท้า") for b in ("ผู้หญิง", "เด็ก")]


@pytest.mark.parametrize(
    ("texts", "query", "best"),
    [
        (CHINESE, "绿色帐篷", {"绿色的帐篷"}),
        (CHINESE, "小灯", {text for text in CHINESE if "小灯" in text}),
        (CHINESE, "灯", {text for text in CHINESE if "灯" in text}),
        (JAPANESE, "青いテント", {"青いテント"}),
        (JAPANESE, "ランプ", {text for text in JAPANESE if "ランプ" in text}),
        (THAI, "รองเท้าเด็ก", {"รองเท้าเด็ก"}),
        (THAI, "น้ำหอม", {text for text in THAI if "น้ำหอม" in text}),
        (MODELS, "model 7", {"phone case model 7", "tablet case model 7"}),
        (MODELS, "7", {"phone case model 7", "tablet case model 7"}),
        (SIZES, "size s", {"wool shirt, size S", "linen shirt, size S"}),
    ],
)
def test_a_query_finds_the_texts_that_hold_it(texts, query, best):
    words = QueryWords.of(texts, np.zeros(len(texts), int), QuerySettings())
    fit = words.fit(query)
    first = np.argsort(-fit, kind="stable")
    assert {texts[i] for i in first[: len(best)]} == best
    assert fit[first[len(best) - 1]] > fit[first[len(best)]], "nothing else fits as well"
    assert words.likelihood(query) is not None


@pytest.mark.parametrize(
    ("texts", "item", "other"),
    [
        (CHINESE, "红色的小灯", "蓝色的小灯"),
        (JAPANESE, "赤いランプ", "青いランプ"),
        (THAI, "น้ำหอมผู้หญิง", "น้ำหอมเด็ก"),
        (["case 7", "bag 7", "case 8", "bag 8"], "case 7", "bag 7"),
    ],
)
def test_texts_that_share_a_word_are_alike(texts, item, other):
    place = texts.index(item)
    near = TextNeighbors.from_texts(texts).graph(len(texts))[place].toarray().ravel()
    assert near[texts.index(other)] > 0
    vectors = np.eye(len(texts), dtype=np.float32)
    words = Likeness.of_texts(vectors, texts, "cpu").words
    assert (words[place] @ words[texts.index(other)].T).toarray().item() > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [("ＳＩＺＥ Ｓ", ["SIZE", "S"]), ("ﾃﾝﾄ", ["テン", "ント"]), ("７ｃｍ tent", ["7cm", "tent"])],  # noqa: RUF001
)
def test_full_and_half_width_forms_are_the_usual_words(text, words):
    assert words_of(text) == words
