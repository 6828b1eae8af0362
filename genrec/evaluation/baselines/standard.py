"""Standard baselines, which every result table of genrec carries."""

from __future__ import annotations

from collections.abc import Sequence

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.evaluation.baselines.cooccurrence import CoOccurrence
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.repeat_last import RepeatLast
from genrec.evaluation.baselines.text_neighbors import TextNeighbors
from genrec.evaluation.ranking import Ranker

__all__ = ["standard_baselines"]


def standard_baselines(
    train: Histories, n_items: int, texts: Sequence[str] | None = None
) -> list[Ranker]:
    """Return popularity, repeat-last, co-occurrence and, with texts, TF-IDF neighbours, fitted.

    Args:
        train: training histories, one a user; never the histories of evaluation cases.
        n_items: catalog size N.
        texts: `N` item texts in catalog order.

    Raises:
        InputError: the number of texts is not N.
    """
    if texts is not None and len(texts) != n_items:
        raise InputError(f"got {len(texts)} texts for {n_items} items: give one text an item")
    popularity = Popularity.fit(train, n_items)
    rankers: list[Ranker] = [popularity, RepeatLast(), CoOccurrence.fit(train, n_items)]
    return rankers if texts is None else [*rankers, TextNeighbors.from_texts(texts)]
