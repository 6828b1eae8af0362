"""What a language model's pointer expects of a catalog, as a distribution over its items.

Beside the codes that the model writes it is one more thing that the model says, and both are mixed:

    p_model(item | history) = (1 - w) p_codes(item | history) + w p_pointer(item | history)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.data.histories import Histories
from genrec.language_model.item_inputs import TokenInputs
from genrec.language_model.pointer import unit_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from genrec.language_model.backbone import LanguageModel
    from genrec.recommender import GenerativeRecommender

__all__ = ["NAMED", "Pointing"]

_CELLS = 2**24
"""Likelihoods held at once."""
NAMED = 256
"""Items that a history's row names; the rest shares so little that lists do not change."""


@dataclass(frozen=True)
class Pointing:
    """The pointer of a language model over the N items of a catalog.

    Attributes:
        language_model: one that has a pointer.
        codes: `(N, L)` of the catalog.
        vectors: `(N, D_v)` of its items, as `unit_vectors` makes them.
        inputs: how tokens enter the model.
        max_items: newest items of a history that it reads.
    """

    language_model: LanguageModel
    codes: NDArray[np.integer]
    vectors: Tensor = field(repr=False)
    inputs: TokenInputs
    max_items: int

    @classmethod
    def of(cls, recommender: GenerativeRecommender) -> Pointing:
        """Prepare for the catalog of a recommender whose language model has a pointer."""
        vectors, model = recommender.item_vectors, recommender.language_model
        assert vectors is not None, "a pointer needs the items' vectors"
        units = torch.from_numpy(unit_vectors(vectors)).to(model.core.device)
        codes, longest = recommender.semantic_ids.codes, recommender.settings.training.max_items
        return cls(model, codes, units, recommender.inputs, longest)

    @torch.no_grad()
    def probabilities(self, histories: Histories) -> csr_matrix:
        """What it expects after each of C histories, `(C, N)`; a row sums to 1, or is empty for no items."""
        from scipy.sparse import csr_matrix, vstack

        newest = histories.last(self.max_items)
        shape = (0, len(self.vectors))
        step = max(1, _CELLS // (self.max_items * len(self.vectors)))
        parts = [csr_matrix(shape)]
        parts += [
            self._of(newest.take(np.arange(start, min(start + step, len(newest)))))
            for start in range(0, len(newest), step)
        ]
        return vstack(parts, format="csr")

    def _of(self, histories: Histories) -> csr_matrix:
        from scipy.sparse import csr_matrix

        dense = torch.zeros(len(histories), len(self.vectors), device=self.vectors.device)
        lengths = histories.lengths
        for length in np.unique(lengths[lengths > 0]).tolist():
            rows = np.flatnonzero(lengths == length)
            items = np.stack([histories[row] for row in rows.tolist()])
            dense[torch.from_numpy(rows).to(dense.device)] = self._likely(items)
        named = min(NAMED, dense.shape[1])
        best = dense.topk(named, dim=1)
        sums = best.values.sum(1, keepdim=True).clamp(min=1e-30)
        values = (best.values.double() / sums).cpu().numpy()
        columns = best.indices.cpu().numpy()
        kept = values > 0
        places = (np.nonzero(kept)[0], columns[kept])
        return csr_matrix((values[kept], places), shape=tuple(dense.shape))

    def _likely(self, items: NDArray[np.int32]) -> Tensor:
        """Unnormalised likelihoods `(C, N)` after histories `(C, n)` of one length."""
        pointer = self.language_model.pointer
        assert pointer is not None, "there is nothing to point with"
        weights = pointer(self._states(items))[:, -1].exp()
        own = self.vectors[torch.from_numpy(items.astype(np.int64)).to(self.vectors.device)]
        kernel = pointer.kernel(own @ self.vectors.T)
        likely: Tensor = (weights[:, None] @ kernel)[:, 0]
        return likely

    def _states(self, items: NDArray[np.int32]) -> Tensor:
        """States of the language model behind the items `(C, n)`, `(C, n, D)`."""
        model = self.language_model
        levels = self.codes.shape[1]
        codes = model.vocabulary.encode(self.codes[items]).reshape(len(items), -1)
        prefix = np.broadcast_to(np.array(model.prefix, np.int64), (len(items), len(model.prefix)))
        tokens = torch.from_numpy(np.concatenate([prefix, codes], axis=1)).to(self.vectors.device)
        states: Tensor = model.core.base_model(
            **self.inputs(tokens), use_cache=False
        ).last_hidden_state
        return states[:, len(model.prefix) - 1 + levels :: levels]
