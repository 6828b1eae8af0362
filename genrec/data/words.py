"""Words of texts: what counts as one, and TF-IDF of them.

Between spaces, a word is a run of letters and digits; one of a single character counts too (``model 7``, size
``S``), unless it is a part of a number or of a short form (``7.5``, ``women's``). Chinese, Japanese, Thai,
Lao, Khmer and Burmese are written without spaces: there each pair of neighbouring characters counts, and each
Han character alone, which needs no dictionary and finds a word within a longer one. Full-width letters and
half-width kana are the same words as the usual ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regex import Pattern
    from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = ["any_word", "tfidf_words", "words_of"]

_SIGN = r"[\w\p{No}]"
"""Of a word: `re` takes fractions such as ¾ for one, and `regex` the marks of Hindi."""
_SPACED = rf"{_SIGN}{{2,}}|(?<!{_SIGN}[.,'\u2019]){_SIGN}(?![.,'\u2019]{_SIGN})"
_UNSPACED = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc\p{M}]*"
)


def words_of(text: str) -> list[str]:
    """The words of a text in their order, each as often as it occurs; case stays as it is."""
    if text.isascii():
        return _between_spaces(text)
    text = _wide().sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    if not _unspaced().search(text):
        return _between_spaces(text)
    words: list[str] = []
    end = 0
    for run in _unspaced().finditer(text):
        words += _between_spaces(text[end : run.start()])
        words += _pairs(run[0])
        end = run.end()
    return words + _between_spaces(text[end:])


def any_word(texts: Iterable[str]) -> bool:
    """Whether any of the texts holds a word."""
    return any(map(words_of, texts))


def tfidf_words(max_df: float | int = 1.0) -> TfidfVectorizer:
    """What makes texts TF-IDF rows of length 1: lower-cased words, log counts, no stop list.

    Args:
        max_df: words in more texts are left out; a share of them, or a whole number.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(tokenizer=words_of, token_pattern=None, sublinear_tf=True, max_df=max_df)


def _between_spaces(text: str) -> list[str]:
    return list(_spaced().findall(text))


def _pairs(run: str) -> Iterator[str]:
    """Neighbouring characters, each with its marks, in pairs; Han characters also alone."""
    import regex

    characters = regex.findall(r"\X", run)
    if len(characters) == 1:
        yield run
        return
    for place, character in enumerate(characters):
        if regex.match(r"\p{Han}", character):
            yield character
        if place:
            yield characters[place - 1] + character


@cache
def _wide() -> Pattern[str]:
    """Full-width and half-width forms."""
    import regex

    return regex.compile(r"[\uff00-\uffef]+")


@cache
def _spaced() -> Pattern[str]:
    import regex

    return regex.compile(_SPACED)


@cache
def _unspaced() -> Pattern[str]:
    import regex

    return regex.compile(_UNSPACED)
