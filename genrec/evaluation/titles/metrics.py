"""Metrics of written titles: how far they agree with the target's title, and what they are besides.

Agreement is corpus BLEU (Papineni et al. 2002) as sacrebleu computes it (Post 2018), ROUGE-L (Lin 2004)
and exact match. Besides, answers may be monotonous (distinct-n; Li et al. 2016) or copied from the
catalog. Titles come in as text; an empty one agrees with nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from genrec.common.config import Settings
from genrec.common.errors import MissingExtraError

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU

__all__ = [
    "BleuSettings",
    "bleu_of_sums",
    "bleu_signature",
    "bleu_statistics",
    "catalog_shares",
    "distinct",
    "exact_match",
    "normalize_title",
    "rouge_l",
    "title_words",
]

_ORDERS = 4
"""BLEU counts runs of 1 to 4 words."""
# Scripts that put no space between words: each character is a word.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}"
_WORD = rf"(?V1)[{_UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"


class BleuSettings(Settings):
    """Which of sacrebleu's BLEUs: runs of 1 to 4 words, one reference, smoothing ``exp``, and these."""

    words: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """How titles are cut into words: ``13a``, sacrebleu's default; ``char`` suits Japanese and others
    written without spaces."""
    lowercase: bool = False
    """Whether upper and lower case are the same; by sacrebleu's default they are not."""


def bleu_statistics(
    answers: Sequence[str], targets: Sequence[str], settings: BleuSettings
) -> NDArray[np.int64]:
    """Return what BLEU adds up over cases: sums of these rows are all that a corpus's BLEU needs.

    Returns:
        `(C, 10)` int64: words of the answer, words of the target, runs of 1 to 4 words of the answer
        that the target has too, and all such runs of the answer.

    Raises:
        MissingExtraError: the extra ``eval`` is not installed.
    """
    scorer = _scorer(settings, effective_order=True)  # which changes the score only, not the counts
    scores = [scorer.sentence_score(a, [t]) for a, t in zip(answers, targets, strict=True)]
    rows = [[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores]
    return np.array(rows, np.int64)


def bleu_of_sums(sums: NDArray[Any]) -> float:
    """Return BLEU, 0 to 100, of `bleu_statistics` summed over cases, `(10,)`."""
    from sacrebleu.metrics import BLEU

    answer, target, *runs = (int(value) for value in sums)
    score = BLEU.compute_bleu(runs[:_ORDERS], runs[_ORDERS:], answer, target, smooth_method="exp")
    return float(score.score)


def bleu_signature(settings: BleuSettings) -> str:
    """Return sacrebleu's own statement of which BLEU this is, its version included."""
    scorer = _scorer(settings)
    scorer.corpus_score([""], [[""]])  # sacrebleu counts references as it scores
    return str(scorer.get_signature())


def rouge_l(answers: Sequence[str], targets: Sequence[str]) -> NDArray[np.float64]:
    """Return ROUGE-L F1 of each answer, `(C,)`: twice the longest common subsequence over all words.

    Words are those of `title_words`, without stemming; on English it is rouge-score's ``rougeL``.
    ``red tent`` for ``red tin cup`` has 1 word in common out of 2 and 3: 2 · 1 / 5 = 0.4. Without a word
    on either side it is 0.

    Raises:
        MissingExtraError: the extra ``eval`` is not installed.
    """
    try:
        from rapidfuzz.distance import LCSseq
    except ImportError:
        raise MissingExtraError("rapidfuzz", "eval", "judging titles") from None

    pairs = [(title_words(a), title_words(t)) for a, t in zip(answers, targets, strict=True)]
    common = [LCSseq.similarity(answer, target) for answer, target in pairs]
    words = [max(1, len(answer) + len(target)) for answer, target in pairs]
    return np.array(common, np.float64) * 2 / np.array(words, np.float64)


def exact_match(answers: Sequence[str], targets: Sequence[str]) -> NDArray[np.float64]:
    """Return 1 for each answer equal to its target but for case and spaces, else 0, `(C,)`."""
    pairs = zip(map(normalize_title, answers), map(normalize_title, targets), strict=True)
    return np.array([answer == target != "" for answer, target in pairs], np.float64)


def distinct(answers: Sequence[Sequence[str]], n: int) -> float:
    """Return the share of different ones among all runs of `n` words of all answers; 0 without any.

    ``red tent`` and ``red cup`` have 3 different words among 4: distinct-1 is 0.75. It falls as answers
    grow in number, so compare systems on the same cases with as many titles each.
    """
    seen: set[tuple[str, ...]] = set()
    total = 0
    for title in (title for titles in answers for title in titles):
        words = title_words(title)
        runs = list(zip(*(words[i:] for i in range(n)), strict=False))
        seen.update(runs)
        total += len(runs)
    return len(seen) / max(1, total)


def catalog_shares(answers: Sequence[Sequence[str]], known: frozenset[str]) -> NDArray[np.float64]:
    """Return the share of each case's titles that some item has, `(C,)`; an empty one is none."""
    found = [[normalize_title(title) for title in titles] for titles in answers]
    shares = [sum(title != "" and title in known for title in row) / len(row) for row in found]
    return np.array(shares, np.float64)


def title_words(title: str) -> list[str]:
    """Cut a title into lower-case runs of letters, marks and digits; Han and kana one by one."""
    import regex

    return list(regex.findall(_WORD, unicodedata.normalize("NFC", title).lower()))


def normalize_title(title: str) -> str:
    """Return the form in which titles count as equal: case folded, runs of white space one space.

    Unicode's two ways to write an accented letter are one (NFC); all else, punctuation too, matters.
    """
    return " ".join(unicodedata.normalize("NFC", title).casefold().split())


def _scorer(settings: BleuSettings, *, effective_order: bool = False) -> BLEU:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise MissingExtraError("sacrebleu", "eval", "judging titles") from None

    # Titles that end in a full stop are no sign of a wrong format: `force` silences that warning.
    return BLEU(
        lowercase=settings.lowercase,
        force=True,
        tokenize=settings.words,
        smooth_method="exp",
        max_ngram_order=_ORDERS,
        effective_order=effective_order,
    )
