"""Constrained batch: the rows of an engine's running batch that must name catalog items.

An engine with continuous batching adds, moves and removes requests between steps; this keeps what each row
is in step with that, and masks all of them in one go. It knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genrec.decoding.catalog_mask import CatalogMask

__all__ = ["ConstrainedBatch", "ItemRequest", "leave_only", "send"]


@dataclass(frozen=True)
class ItemRequest:
    """A request that generates an item.

    Attributes:
        generated: its tokens so far, a reference to the list that the engine appends to.
        stops: the tokens that may follow a whole semantic ID; none of them where anything may.
    """

    generated: Sequence[int]
    stops: Sequence[int]


class ConstrainedBatch:
    """Which rows are constrained, and their mask. Rows that were never put in are left alone.

    Args:
        mask: the catalog.
        pin_memory: copy to the device from pinned memory, so that no copy waits.
    """

    def __init__(self, mask: CatalogMask, *, pin_memory: bool = False) -> None:
        self.mask, self.pin_memory = mask, pin_memory
        self._requests: dict[int, ItemRequest] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def put(self, row: int, request: ItemRequest | None) -> None:
        """Let `row` hold `request`, whatever it held before; None for one that is not constrained."""
        self._requests.pop(row, None)
        if request is not None:
            self._requests[row] = request

    def move(self, source: int, target: int) -> None:
        """Let `target` hold what `source` held, which is empty then."""
        self.put(target, self._requests.pop(source, None))

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        held = self._requests.get(one)
        self.put(one, self._requests.get(other))
        self.put(other, held)

    def apply(self, logits: Tensor) -> Tensor:
        """Set what the rows' requests may not generate to -inf in `logits` `(B, V)`, in place."""
        levels = self.mask.levels
        ranked = sorted(self._requests.items(), key=lambda entry: len(entry[1].generated))
        open_ = [(row, request) for row, request in ranked if len(request.generated) < levels]
        if open_:
            self.mask.restrict(logits, *self._table(open_))
        closed = {row: request.stops for row, request in ranked[len(open_) :] if request.stops}
        if closed:
            leave_only(logits, closed, pin_memory=self.pin_memory)
        return logits

    def _table(
        self, entries: list[tuple[int, ItemRequest]]
    ) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
        """Rows `(n)` and tokens `(n, L)` on the device, levels `(n)` here; one copy for all."""
        levels = np.array([len(request.generated) for _, request in entries])
        table = np.full((len(entries), 1 + self.mask.levels), -1, np.int64)
        for line, (row, request) in zip(table, entries, strict=True):
            line[0] = row
            line[1 : 1 + len(request.generated)] = request.generated
        device = self.mask.trie.item_leaf.device
        there = send(table, device, pin_memory=self.pin_memory)
        return there[:, 0], there[:, 1:], levels


def leave_only(
    logits: Tensor, stops: dict[int, Sequence[int]], *, pin_memory: bool = False
) -> None:
    """Set all but the given tokens of the given rows to -inf in `logits` `(B, V)`, in place."""
    pairs = np.array([(row, token) for row, tokens in stops.items() for token in tokens])
    row, token = send(pairs.T, logits.device, pin_memory=pin_memory)
    kept = logits[row, token]
    logits.index_fill_(0, row, -torch.inf)
    logits[row, token] = kept


def send(values: NDArray[np.integer], device: torch.device, *, pin_memory: bool = False) -> Tensor:
    """Copy integers to the device without waiting for it (from pinned memory, where there is any)."""
    here = torch.from_numpy(np.ascontiguousarray(values, np.int64))
    return (here.pin_memory() if pin_memory else here).to(device, non_blocking=True)
