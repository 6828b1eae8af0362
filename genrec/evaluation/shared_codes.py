"""Hits by codes: what a ranking is worth where items that share their codes count as one.

Papers whose semantic IDs may collide often count a hit where the target's codes come among the first k,
whichever item they stand for. That flatters: of a tuple that five items share, four are not what was bought.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.ranking import Ranking
from genrec.evaluation.selection import top_k_sparse

__all__ = ["hits_by_codes"]


def hits_by_codes(
    ranking: Ranking, codes: NDArray[np.integer], targets: NDArray[np.integer], k: int
) -> NDArray[np.bool_]:
    """Whether the codes of each target are among the k likeliest tuples, `(C,)`.

    Args:
        ranking: `(C, M)` log-probabilities of items, many more than k: a tuple has the sum of its items'.
        codes: `(N, L)` of the catalog, equal rows for items that share them.
        targets: `(C,)` catalog indices.
        k: tuples that count.
    """
    from scipy.sparse import csr_matrix

    tuples = np.unique(codes, axis=0, return_inverse=True)[1].ravel()  # (N, L) -> (N,)
    case, place = np.nonzero(ranking.items >= 0)
    chances = np.exp(ranking.scores[case, place].astype(np.float64))
    entries = (chances, (case, tuples[ranking.items[case, place]]))
    # (C, M) items -> (C, tuples): what falls on the same place adds up
    sums = csr_matrix(entries, shape=(len(ranking), int(tuples.max()) + 1))
    best = top_k_sparse(sums, k).items
    return np.asarray((best == tuples[targets][:, None]).any(axis=1))
