"""Pointer loss: the likelihood of each next item under the language model's pointer.

What each item makes likely is a distribution over the whole catalog, so no other items need be compared with
the one that came.
"""

from __future__ import annotations

from torch import Tensor

from genrec.language_model.likeness import Likeness
from genrec.language_model.pointer import Pointer

__all__ = ["PointerLoss"]


class PointerLoss:
    """Negative log-likelihood of what follows the items of a sequence.

    Args:
        pointer: what learns; the states that it reads get gradients too.
        likeness: of the catalog's items.
    """

    def __init__(self, pointer: Pointer, likeness: Likeness) -> None:
        self.pointer, self.likeness = pointer, likeness

    def __call__(self, states: Tensor, items: Tensor) -> Tensor:
        """Sum in nats over all items but the first of each sequence.

        Args:
            states: `(B, n, D)` in front of the items.
            items: `(B, n)` of them, padded on the right with -1.
        """
        weights = self.pointer(states[:, 1:]).exp()  # of those behind the items before the last
        known = items.clamp(min=0)
        before, after = known[:, :-1], known[:, 1:]
        alike = self.likeness.between(known)[:, :, :-1, 1:]
        rest = self.likeness.rest[:, before]
        likely = self.pointer.after(
            before[:, :, None] == after[:, None], alike, rest, len(self.likeness)
        )
        losses: Tensor = -(weights * likely.transpose(1, 2)).sum(-1).log()
        return (losses * (items[:, 1:] >= 0)).sum()
