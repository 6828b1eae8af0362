"""Calibration: does an item that is given a probability of 20 % come next in 20 % of the cases?

Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks (ICML 2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "expected_calibration_error", "reliability"]

BINS = 10
"""Bins of equal width in which probabilities and hits are compared."""


def expected_calibration_error(
    probabilities: NDArray[np.float64], hits: NDArray[np.float64], bins: int = BINS
) -> float:
    """Return the mean distance of a bin's mean probability from its share of hits, weighted by cases.

    Args:
        probabilities: `(C,)` in [0, 1], what the top item of each case was given.
        hits: `(C,)` in [0, 1], whether it was the target (a share where it tied).
        bins: number of bins of equal width.

    >>> expected_calibration_error(np.array([0.25, 0.25, 0.75]), np.array([0.0, 1.0, 1.0]))
    0.25
    """
    said, seen, cases = reliability(probabilities, hits, bins)
    return float((np.abs(said - seen) * cases).sum() / cases.sum())


def reliability(
    probabilities: NDArray[np.float64], hits: NDArray[np.float64], bins: int = BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean probability, share of hits, and number of cases of each bin that has any."""
    bin_of = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    cases = np.bincount(bin_of, minlength=bins)
    used = cases > 0
    said = np.bincount(bin_of, probabilities, bins)[used] / cases[used]
    seen = np.bincount(bin_of, hits, bins)[used] / cases[used]
    return said, seen, cases[used]
