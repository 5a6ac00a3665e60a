"""Ratios of sums over clusters, such as tokens per success, with their intervals."""

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


class Ratio(NamedTuple):
    """A ratio and its interval; an end is None where it is infinite."""

    estimate: float | None
    low: float | None
    high: float | None
    note: str


def ratio_of_sums(
    over: Float64Array, under: Float64Array, *, confidence: float
) -> Ratio:
    """A sum over a sum, with Fieller's interval over independent clusters.

    The interval holds every ratio r that a t-test of ``over - r * under`` does not
    reject. Where ``under`` might be zero it has no end, and none is given.

    Source: Fieller 1954; Franz 2007 (arXiv 0710.2024), section 3.

    Args:
        over: Shape ``(clusters,)``: sums of what is above the line.
        under: Shape ``(clusters,)``: sums of what is below it, such as successes.
        confidence: Nominal coverage in (0, 1).

    >>> ratio = ratio_of_sums(
    ...     np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 3.0]), confidence=0.95
    ... )
    >>> ratio.estimate, ratio.note
    (10.0, 'no interval: too few to divide by')
    """
    if not under.sum():
        return Ratio(None, None, None, "no estimate: nothing to divide by")
    estimate = float(over.sum() / under.sum())
    n = over.size
    if n < 2:
        return Ratio(estimate, None, None, "no interval: one cluster")
    from scipy.special import stdtrit

    t = float(stdtrit(n - 1, (1 + confidence) / 2))
    cov = np.cov(np.stack([over, under]), ddof=1) * t**2 / n
    a = float(under.mean() ** 2 - cov[1, 1])
    b = float(over.mean() * under.mean() - cov[0, 1])
    c = float(over.mean() ** 2 - cov[0, 0])
    if a <= 0:
        return Ratio(estimate, None, None, "no interval: too few to divide by")
    # The discriminant is a square of the estimate's error; below zero is rounding.
    root = sqrt(max(b**2 - a * c, 0.0))
    low, high = (b - root) / a, (b + root) / a
    return Ratio(estimate, min(low, estimate), max(high, estimate), "")
