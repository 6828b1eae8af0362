"""Repeat last: recommend the history itself, newest item first.

Where people buy again this is hard to beat, and some published zero-shot results do not beat it.
Where seen items are excluded it has nothing to say and returns empty rows: its metrics are then 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrec.data.histories import Histories
from genrec.evaluation.ranking import Ranking, rank_chunks
from genrec.evaluation.selection import pairs

__all__ = ["RepeatLast"]


@dataclass(frozen=True)
class RepeatLast:
    """Rank the distinct items of the history by how recently they came; needs no training."""

    name: str = "repeat_last"

    def rank(self, histories: Histories, k: int, *, exclude_seen: bool) -> Ranking:
        """Return up to k items of each history, newest first; the score is 1 / steps back."""
        if exclude_seen:
            return Ranking.empty(len(histories), k)
        return rank_chunks(lambda chunk: _newest(chunk, k), histories, k, cost=histories.lengths)


def _newest(histories: Histories, k: int) -> Ranking:
    newest_first = histories.items[::-1]
    case = histories.rows[::-1]
    _, last_events = np.unique(
        pairs(histories, int(newest_first.max(initial=0)) + 1)[::-1], return_index=True
    )
    entries = last_events[np.lexsort((last_events, case[last_events]))]
    case, item = case[entries], newest_first[entries]
    age = (histories.offsets[1:][case] - 1) - (len(newest_first) - 1 - entries)
    return Ranking.of_entries((case, item, 1 / (1 + age)), len(histories), k)
