"""Text cleaning before texts are compared: what nobody sees is taken out, and what is said too often.

Whoever writes a product's text can write it for the recommender instead of the reader (Kumar and Lakkaraju
2024, "Manipulating Large Language Models to Increase Product Visibility"). Characters that are not shown
go by default, because no honest text loses by it. The other options change some honest texts a little, so
they are off; ``eval/robustness.py`` measures what each of them takes back.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from pydantic import Field

from genrec.common.config import Settings

__all__ = ["TextCleaning"]

_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b"
    "\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Control and format characters but white space, and letters without a shape."""

_JOINERS = re.compile("(?<![^\x00-\u024f])[\u200c\u200d\ufe00-\ufe0f]+")
"""Joiners and variation selectors behind a Latin letter, where they mean nothing: Persian, Hindi and emoji
need theirs."""


class TextCleaning(Settings):
    """What is taken out of the fields of an item's text."""

    unseen: bool = True
    """Take out control, zero-width and direction characters, which split words or hide them."""
    compatibility: bool = False
    """Write full-width, mathematical and other styled letters as plain ones (Unicode's NFKC)."""
    max_word_repeats: int | None = Field(None, ge=1)
    """Most times that a word stands in one field; None leaves all."""
    max_field_words: int | None = Field(None, ge=1)
    """Words kept of one field; None leaves all."""

    def characters(self, text: str) -> str:
        """Clean a text of any length, character by character."""
        if text.isascii() and text.isprintable():
            return text
        if self.unseen:
            text = _JOINERS.sub("", _UNSEEN.sub("", text))
        return unicodedata.normalize("NFKC", text) if self.compatibility else text

    def words(self, text: str) -> str:
        """Bound the words of one field, which single spaces part."""
        if self.max_word_repeats is None and self.max_field_words is None:
            return text
        words = text.split(" ")
        if self.max_word_repeats is not None:
            words = _at_most(words, self.max_word_repeats)
        return " ".join(words[: self.max_field_words])


def _at_most(words: list[str], repeats: int) -> list[str]:
    """Drop every occurrence of a word behind the first `repeats`, whatever its case and punctuation."""
    seen: Counter[str] = Counter()
    kept = []
    for word in words:
        name = re.sub(r"\W", "", word).casefold()
        seen[name] += 1
        if not name or seen[name] <= repeats:
            kept.append(word)
    return kept
