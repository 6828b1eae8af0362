"""Standard baselines, which every result table of genrec carries."""

from __future__ import annotations

from collections.abc import Sequence

from genrec.common.errors import InputError
from genrec.data.histories import Split
from genrec.evaluation.baselines.choice import chosen
from genrec.evaluation.baselines.cooccurrence import CoOccurrence
from genrec.evaluation.baselines.pctm import PCTM
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.repeat_last import RepeatLast
from genrec.evaluation.baselines.seqrules import SeqRules
from genrec.evaluation.baselines.text_neighbors import TextNeighbors
from genrec.evaluation.ranking import Ranker

__all__ = ["standard_baselines"]


def standard_baselines(
    split: Split, n_items: int, texts: Sequence[str] | None = None, *, exclude_seen: bool = True
) -> list[Ranker]:
    """Return popularity, repeat-last, three counts and, with texts, TF-IDF neighbours, fitted.

    The counts are co-occurrence as it is, and PCTM and sequential rules with the kernels that validate best.

    Args:
        split: all are fitted on its training histories, and its validation cases choose kernels.
        n_items: catalog size N.
        texts: `N` item texts in catalog order.
        exclude_seen: whether items of the history are left out, as where they are measured.

    Raises:
        InputError: the number of texts is not N.
    """
    if texts is not None and len(texts) != n_items:
        raise InputError(f"got {len(texts)} texts for {n_items} items: give one text an item")
    train = split.train
    rankers: list[Ranker] = [
        Popularity.fit(train, n_items),
        RepeatLast(),
        CoOccurrence.fit(train, n_items),
        chosen(PCTM, split, n_items, exclude_seen=exclude_seen),
        chosen(SeqRules, split, n_items, exclude_seen=exclude_seen),
    ]
    return rankers if texts is None else [*rankers, TextNeighbors.from_texts(texts)]
