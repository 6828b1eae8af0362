"""What is taken out of texts: what nobody sees, never what honest texts need."""

# ruff: noqa: RUF001
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.data import Catalog, ItemTemplate
from genrec.data.text_cleaning import TextCleaning


def text(words, **cleaning):
    """The text of an item with this title."""
    table = Catalog.from_table(pa.table({"item_id": ["1"], "title": [words]}))
    return table.texts(ItemTemplate(cleaning=TextCleaning(**cleaning)))[0]


HIDDEN = {
    "zero width": "sham\u200bpoo",
    "joiners": "sham\u200d\u200cpoo",
    "a joiner first": "\u200dshampoo",
    "soft hyphen": "sham\u00adpoo",
    "control": "sham\x07\x00poo",
    "right to left": "\u202esham\u2066poo\u202c",
    "byte order mark": "\ufeffshampoo",
    "variation selector": "sham\ufe0fpoo",
    "tags": "sham\U000e0041poo",
    "a letter without a shape": "sham\u3164poo",
    "escaped": "sham&#8203;poo",
}


@pytest.mark.parametrize("words", HIDDEN.values(), ids=HIDDEN)
def test_what_nobody_sees_is_taken_out(words):
    assert text(words) == "shampoo"
    assert text(words, unseen=False) != "shampoo"


@pytest.mark.parametrize(
    "words",
    ["می\u200cخواهم", "क\u094d\u200dष", "👩\u200d💻", "Café", "ﬁne ½ ™", "a\nb"],
    ids=["Persian", "Hindi", "emoji", "accents", "compatibility", "white space"],
)
def test_honest_texts_stay(words):
    assert text(words) == " ".join(words.split())


def test_a_hidden_tag_is_still_a_tag():
    assert text("<\u200bb>bold</b>") == "bold"


def test_styled_letters_become_plain_ones_when_asked():
    assert text("𝐬𝐡𝐚𝐦𝐩𝐨𝐨 Ｗｏｗ") == "𝐬𝐡𝐚𝐦𝐩𝐨𝐨 Ｗｏｗ"
    assert text("𝐬𝐡𝐚𝐦𝐩𝐨𝐨 Ｗｏｗ", compatibility=True) == "shampoo Wow"


def test_a_word_counts_so_often_and_no_more():
    words = "Buy buy BUY! best buy - now - best"
    assert text(words) == words
    assert text(words, max_word_repeats=2) == "Buy buy best - now - best"
    assert text(words, max_word_repeats=1) == "Buy best - now -"


def test_a_field_has_so_many_words_and_no_more():
    assert text("one two three", max_field_words=2) == "one two"


def test_every_field_is_bounded_by_itself():
    table = Catalog.from_table(pa.table({"item_id": ["1"], "title": ["a b"], "brand": ["a b"]}))
    cleaning = TextCleaning(max_word_repeats=1, max_field_words=1)
    assert table.texts(ItemTemplate(cleaning=cleaning)) == ["a. brand: a"]


@given(st.text(), st.booleans())
def test_cleaning_twice_is_cleaning_once(words, compatibility):
    cleaning = TextCleaning(compatibility=compatibility)
    once = cleaning.characters(words)
    assert cleaning.characters(once) == once


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_ascii_is_left_alone(words):
    assert TextCleaning(compatibility=True).characters(words) == words


@pytest.mark.parametrize(
    ("data", "name"), [("beauty", "items.jsonl.gz"), ("toys", "items.parquet")]
)
def test_no_text_of_the_published_tables_changes(shared_data, data, name):
    catalog = Catalog.read(shared_data / data / name)
    raw = catalog.texts(ItemTemplate(cleaning=TextCleaning(unseen=False)))
    assert catalog.texts() == raw
