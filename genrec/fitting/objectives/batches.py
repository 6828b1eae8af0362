"""Batches of item sequences: windows of histories, grouped by length.

Everything is a function of (seed, epoch), so a run that is resumed sees the batches it would have seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genrec.data.histories import Histories

__all__ = ["epoch_batches", "pad_items", "windows"]

_POOL = 16  # batches that are sorted by length together: little padding, yet each epoch groups anew


def windows(histories: Histories, max_items: int, generator: np.random.Generator) -> Histories:
    """Cut sequences into windows of at most `max_items`; every item stands in exactly one.

    The cut of a long sequence starts at a random phase, so that from epoch to epoch an item is predicted
    from contexts of different lengths. Empty sequences vanish.
    """
    lengths = histories.lengths
    begins, lengths = histories.offsets[:-1][lengths > 0], lengths[lengths > 0]
    phase = generator.integers(0, max_items, len(lengths))
    phase[lengths <= max_items] = 0  # a short sequence stays whole
    pieces = np.ceil((lengths - phase) / max_items).astype(np.int64) + (phase > 0)
    owner = np.repeat(np.arange(len(pieces)), pieces)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    start = np.maximum((nth - (phase[owner] > 0)) * max_items + phase[owner], 0)
    return Histories(histories.items, np.append(begins[owner] + start, len(histories.items)))


def epoch_batches(
    lengths: NDArray[np.integer], batch_items: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Group sequences so that each padded batch holds about `batch_items` items.

    Args:
        lengths: `(S,)` items of each sequence, none zero.
        batch_items: most items of a batch, padding included (a longer single sequence stands alone).
        generator: draws the order.

    Returns:
        Index arrays; each sequence is in exactly one.
    """
    order = generator.permutation(len(lengths))
    pool = max(1, int(_POOL * batch_items / max(1.0, float(lengths.mean()))))
    batches: list[NDArray[np.int64]] = []
    for begin in range(0, len(order), pool):
        part = order[begin : begin + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += _fill(part, lengths[part], batch_items)
    return [batches[i] for i in generator.permutation(len(batches))]


def _fill(
    part: NDArray[np.int64], lengths: NDArray[np.integer], batch_items: int
) -> list[NDArray[np.int64]]:
    """Cut ascending sequences into batches of at most `batch_items` padded items."""
    cuts, begin = [], 0
    for end in range(1, len(part)):
        if (end - begin + 1) * int(lengths[end]) > batch_items:
            cuts.append(end)
            begin = end
    return np.split(part, cuts)


def pad_items(histories: Histories, chosen: NDArray[np.integer]) -> NDArray[np.int64]:
    """Stack the chosen sequences into `(B, n)` items, padded on the right with -1."""
    part = histories.take(chosen)
    lengths = part.lengths
    padded = np.full((len(part), int(lengths.max())), -1, np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = part.items
    return padded
