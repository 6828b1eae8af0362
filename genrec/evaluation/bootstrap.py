"""Confidence intervals of metric means: the percentile bootstrap over users.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. The unit that is drawn is
the user, with all of their cases, since cases of one user are not independent. Users who
contributed the same numbers are interchangeable, so a sample is one multinomial draw over the
*distinct* contributions: with one case a user and a top 10 there are eleven, not 22,363.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genrec.common.config import Settings

__all__ = ["Bootstrap", "confidence_intervals", "contributions", "interval", "resampled_sums"]

CHUNK_CELLS = 2**21


class Bootstrap(Settings):
    """How confidence intervals are computed."""

    samples: int = Field(default=1000, ge=1)
    """Number of resamples of the users."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Probability mass between the two ends."""
    seed: int = 0
    """Seed of the resampling; the same seed gives the same interval."""


def confidence_intervals(
    values: NDArray[np.float64], users: NDArray[np.int64], bootstrap: Bootstrap
) -> NDArray[np.float64]:
    """Return the lower and upper end of each metric's mean over cases, `(2, m)`.

    Args:
        values: `(C, m)`, m metrics of C >= 1 cases.
        users: `(C,)` whose case it is.
        bootstrap: number of samples, confidence and seed.
    """
    sums = resampled_sums(values, users, bootstrap)
    return interval(sums[:, :-1] / sums[:, -1:], bootstrap)


def interval(samples: NDArray[np.float64], bootstrap: Bootstrap) -> NDArray[np.float64]:
    """Return the lower and upper end `(2, m)` of m metrics' values `(samples, m)`."""
    tail = (1 - bootstrap.confidence) / 2
    return np.asarray(np.quantile(samples, [tail, 1 - tail], axis=0))


def resampled_sums(
    values: NDArray[np.float64], users: NDArray[np.int64], bootstrap: Bootstrap
) -> NDArray[np.float64]:
    """Draw as many users as there are, with replacement, `samples` times, and sum their cases.

    For what is no mean over cases, such as corpus BLEU: it is computed from sums.

    Args:
        values: `(C, m)`, m numbers of C >= 1 cases.
        users: `(C,)` whose case it is.
        bootstrap: number of samples and seed.

    Returns:
        `(samples, m + 1)` sums, the number of cases drawn last.
    """
    parts, weights = contributions(values, users)
    rng = np.random.default_rng(bootstrap.seed)
    drawn = int(weights.sum())
    step = max(1, CHUNK_CELLS // len(weights))
    sums = []
    for start in range(0, bootstrap.samples, step):
        size = min(step, bootstrap.samples - start)
        sums.append(rng.multinomial(drawn, weights / drawn, size=size) @ parts)
    return np.concatenate(sums)


def contributions(
    values: NDArray[np.float64], users: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum the cases of each user, then merge equal users.

    Returns:
        `(P, m + 1)` distinct sums with the number of cases last, and `(P,)` how many users have it.
    """
    names, user = np.unique(users, return_inverse=True)
    cases = np.column_stack([values, np.ones(len(values))])
    sums = np.stack([np.bincount(user, column, len(names)) for column in cases.T], axis=1)
    distinct, counts = np.unique(sums.astype(np.float64), axis=0, return_counts=True)
    return distinct, counts
