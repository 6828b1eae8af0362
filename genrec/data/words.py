"""Words of texts: what counts as one, and TF-IDF of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = ["WORD", "tfidf_words"]


WORD = re.compile(r"(?u)\b\w\w+\b")


def tfidf_words(max_df: float | int = 1.0) -> TfidfVectorizer:
    """What makes texts TF-IDF rows of length 1: lower-cased words, log counts, no stop list.

    Args:
        max_df: words in more texts are left out; a share of them, or a whole number.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(token_pattern=WORD.pattern, sublinear_tf=True, max_df=max_df)
