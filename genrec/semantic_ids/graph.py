"""Graph vectors, which took in their neighbours of the co-occurrence graph: the input of a Graph RQ-VAE.

MMGRec (Liu et al. 2024, arXiv:2404.16555) quantizes item vectors that a graph network has mixed from
content and collaborative structure, with an RQ-VAE behind it. Here the mixing is LightGCN's (He et al.
2020, arXiv:2002.02126): content is propagated over the normalised graph with nothing to learn, and the
mean over all hops stands beside the content itself. The graph is that of items bought close to each
other in the training log, where MMGRec's has users as nodes too; its popularity token is the collision
policy `extra_level` here.

An item tokenizer sees vectors, never which item they belong to, so this is part of making the vectors:
``collaborative.mode = graph`` with ``item_tokenizer.kind = rqvae`` is the Graph RQ-VAE, and any other
item tokenizer may read the same vectors. New items have no neighbours yet: theirs are predicted from
content alone (see `collaborative`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["propagated"]


def propagated(
    adjacency: csr_matrix, vectors: NDArray[np.float32], hops: int
) -> NDArray[np.float32]:
    """Return the mean of vectors propagated over 1, 2 … `hops` edges, `(N, D)`, rows of length 1.

    The item's own content is not among them: it has a place of its own beside these.

    Args:
        adjacency: `(N, N)`, symmetric and normalised.
        vectors: `(N, D)`; centred here, or every item would be near every other.
        hops: 1 or more.
    """
    current = vectors - vectors.mean(axis=0)
    total = np.zeros_like(current)
    for _ in range(hops):
        current = np.asarray(adjacency @ current, dtype=np.float32)
        total += current
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(lengths, 1e-12), dtype=np.float32)
