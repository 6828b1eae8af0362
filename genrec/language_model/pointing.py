"""Distribution of the pointer: what it expects of a catalog, over all of its items.

Beside the codes that the model writes it is one more thing that the model says, and both are mixed:

    p_model(item | history) = (1 - w) p_codes(item | history) + w p_pointer(item | history)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.data.histories import Histories
from genrec.language_model.item_inputs import TokenInputs
from genrec.language_model.likeness import Likeness

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from genrec.language_model.backbone import LanguageModel
    from genrec.language_model.pointer import Pointer

__all__ = ["NAMED", "Pointing"]

_CELLS = 2**25
"""Likelihoods held at once."""
_ROWS = 64
"""Histories that the language model reads at once."""
NAMED = 256
"""Items that a history's row names. The likeliest so many share 1 among them."""


@dataclass(frozen=True)
class Pointing:
    """The pointer of a language model over the N items of a catalog.

    Attributes:
        language_model: one that has a pointer.
        codes: `(N, L)` of the catalog.
        likeness: of its items.
        inputs: how tokens enter the model.
        max_items: newest items of a history that it reads.
        weight: its share in what the language model expects.
    """

    language_model: LanguageModel
    codes: NDArray[np.integer]
    likeness: Likeness = field(repr=False)
    inputs: TokenInputs
    max_items: int
    weight: float

    @torch.no_grad()
    def probabilities(
        self, histories: Histories, allow: NDArray[np.integer] | None = None
    ) -> csr_matrix:
        """What it expects after each of C histories, `(C, N)`; a row for no items is empty.

        Args:
            histories: catalog indices, oldest first.
            allow: the only items that may be named; None for all, and then a row sums to 1. What passes has
                the same likelihood either way, however small it is.
        """
        from scipy.sparse import csr_matrix

        allowed = np.arange(len(self.likeness)) if allow is None else np.asarray(allow, np.int64)
        rows, columns, values = [], [], []
        for start, dense in self._named(histories):
            best = dense[:, torch.from_numpy(allowed).to(dense.device)]
            best, places = best.topk(min(NAMED, len(allowed)), dim=1)
            rows.append(np.repeat(np.arange(start, start + len(best)), best.shape[1]))
            columns.append(allowed[places.cpu().numpy().ravel()])
            values.append(best.double().cpu().numpy().ravel())
        found = csr_matrix(
            (_joined(values), (_joined(rows), _joined(columns))),
            shape=(len(histories), len(self.likeness)),
        )
        found.eliminate_zeros()
        return found

    @torch.no_grad()
    def of_items(self, histories: Histories, items: NDArray[np.integer]) -> csr_matrix:
        """The same of given items `(C, k)`, exactly, `(C, N)`."""
        from scipy.sparse import csr_matrix, vstack

        parts = [csr_matrix((0, len(self.likeness)))]
        for start, dense in self._named(histories):
            own = torch.from_numpy(items[start : start + len(dense)].astype(np.int64))
            named = torch.zeros_like(dense).scatter(1, own.to(dense.device), 1.0)
            parts.append(csr_matrix((dense * named).double().cpu().numpy()))
        return vstack(parts, format="csr")

    def _named(self, histories: Histories) -> Iterator[tuple[int, Tensor]]:
        """Where some rows start, and their likelihoods `(R, N)` by what the likeliest `NAMED` share."""
        newest = histories.last(self.max_items)
        step = max(1, _CELLS // len(self.likeness))
        for start in range(0, len(newest), step):
            rows = np.arange(start, min(start + step, len(newest)))
            dense = self._dense(newest.take(rows))
            named = dense.topk(min(NAMED, dense.shape[1]), dim=1).values
            # Over all items, the few that a row names would share less than 1.
            yield start, dense / named.sum(1, keepdim=True).clamp(min=1e-30)

    @property
    def _pointer(self) -> Pointer:
        pointer = self.language_model.pointer
        assert pointer is not None, "there is nothing to point with"
        return pointer

    def _dense(self, histories: Histories) -> Tensor:
        """Likelihoods `(R, N)`, the items of all histories one block after the other."""
        weights, pointer = self._weights(histories), self._pointer
        N, device = len(self.likeness), weights.device
        dense = torch.zeros(len(histories), N, device=device)
        everything = torch.arange(N, device=device)
        for items, alike, rest in self.likeness.rows(weights.sum(0).nonzero()[:, 0]):
            # (R, u) @ (u, N): items that no history holds have no weight, so u are few
            dense += weights[:, items] @ pointer.after(items[:, None] == everything, alike, rest, N)
        return dense

    def _weights(self, histories: Histories) -> Tensor:
        """How much each item counts, `(R, N)`; an item that stands there twice has what both have."""
        pointer, lengths = self._pointer, histories.lengths
        device = self.language_model.core.device
        weights = torch.zeros(len(histories), len(self.likeness), device=device)
        for length in np.unique(lengths[lengths > 0]).tolist():
            alike = np.flatnonzero(lengths == length)
            for start in range(0, len(alike), _ROWS):
                rows = alike[start : start + _ROWS]
                items = np.stack([histories[row] for row in rows.tolist()])  # (C, n): of one length
                counts = pointer(self._states(items))[
                    :, -1
                ].exp()  # (C, n, n) -> (C, n) after the newest
                where = torch.from_numpy(rows).to(device)[:, None]
                places = torch.from_numpy(items.astype(np.int64)).to(device)
                weights.index_put_((where, places), counts, accumulate=True)
        return weights

    def _states(self, items: NDArray[np.int32]) -> Tensor:
        """States of the language model behind the items `(C, n)`, `(C, n, D)`."""
        model = self.language_model
        levels = self.codes.shape[1]
        codes = model.vocabulary.encode(self.codes[items]).reshape(
            len(items), -1
        )  # (C, n, L) -> (C, n L)
        prefix = np.broadcast_to(np.array(model.prefix, np.int64), (len(items), len(model.prefix)))
        tokens = torch.from_numpy(np.concatenate([prefix, codes], axis=1)).to(model.core.device)
        states: Tensor = model.core.base_model(
            **self.inputs(tokens), use_cache=False
        ).last_hidden_state
        # (C, P + n L, D) -> (C, n, D): the state behind the last code of each item
        return states[:, len(model.prefix) - 1 + levels :: levels]


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
