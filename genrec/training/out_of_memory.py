"""Out-of-memory advice: the number of pieces in which a batch does fit."""

from __future__ import annotations

from collections.abc import Callable

import torch

from genrec.common.errors import InputError
from genrec.training.settings import TrainingSettings

__all__ = ["out_of_memory_advice"]

_MOST_PIECES = 256


def out_of_memory_advice(
    error: torch.OutOfMemoryError, attempt: Callable[[int], None], settings: TrainingSettings
) -> InputError:
    """Find by trying how finely a batch must be cut, and put it into words.

    Args:
        error: what the whole batch met.
        attempt: runs one part of so many, raising the same error where that does not fit either.
        settings: which the advice is a change of.
    """
    reason = str(error).splitlines()[0]
    pieces = _fitting(attempt, settings.accumulate * 2)
    if pieces is None:
        return InputError(
            f"memory ran out, and one {_MOST_PIECES}th of a batch does not fit either: lower "
            "training.max_items or take a smaller language model, with gradient checkpointing or "
            f"quantization ({reason})"
        )
    items = settings.batch_items * settings.accumulate // pieces
    return InputError(
        f"a batch of training.batch_items = {settings.batch_items} does not fit in memory; one of {items} "
        f"does: set training.accumulate={pieces} for the same result in {pieces} pieces a batch, or "
        f"training.batch_items={items} ({reason})"
    )


def _fitting(attempt: Callable[[int], None], pieces: int) -> int | None:
    """Smallest power-of-two multiple of `pieces` that fits."""
    while pieces <= _MOST_PIECES:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(pieces)
        except torch.OutOfMemoryError:
            pieces *= 2
        else:
            return pieces
    return None
