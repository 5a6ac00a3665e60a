"""Levels and scales that outliers do not move; every function is pure numpy."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Source: the median absolute deviation of a normal distribution is 0.6745 sd.
MAD_TO_SD = 1.4826022185056018
_LIGHT_TAIL = 0.12  # inverse tail index of normal values three deviations out
_PRIOR_COUNT = 30


def causal_median(values: Floats, width: int) -> Floats:
    """Median of the ``width`` values before each one, itself not among them.

    A spike cannot hide in the level that it is compared with. The first ``width``
    results lean on copies of the first value.

    Args:
        values: Shape ``(n,)``, finite.
        width: Values that count, odd.

    Returns:
        Shape ``(n,)``; the first is the first value itself.

    >>> causal_median(np.array([1.0, 1.0, 9.0, 1.0, 1.0]), 3).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    # Loading Dagster's definitions reads this module and needs no scipy.
    from scipy.ndimage import median_filter

    if values.size == 0:
        return values
    # Behind the origin lies half of the window: it ends at the value itself.
    ending = median_filter(values, size=width, origin=width // 2, mode="nearest")
    return np.concatenate([values[:1], ending[:-1]])


def median(values: Floats) -> float:
    """The median of finite values, at a fifth of the overhead of numpy's.

    Args:
        values: Shape ``(n,)``, finite, ``n >= 1``.

    >>> median(np.array([3.0, 1.0, 2.0, 10.0]))
    2.5
    """
    middle = values.size // 2
    if values.size % 2:
        return float(np.partition(values, middle)[middle])
    both = np.partition(values, [middle - 1, middle])[middle - 1 : middle + 1]
    return float(both[0] / 2 + both[1] / 2)


def mad_scale(values: Floats) -> float:
    """Standard deviation of the bulk: 1.48 times the median absolute deviation.

    Args:
        values: Shape ``(n,)``, finite.

    >>> round(mad_scale(np.array([1.0, 2.0, 3.0, 4.0, 1000.0])), 4)
    1.4826
    """
    if values.size == 0:
        return 0.0
    return MAD_TO_SD * median(np.abs(values - median(values)))


def difference_scale(values: Floats) -> float:
    """Standard deviation of the noise, from differences: no trend and no jump counts.

    Args:
        values: Shape ``(n,)``, finite.

    >>> difference_scale(np.arange(10.0))
    0.0
    """
    return mad_scale(np.diff(values)) / float(np.sqrt(2))


def rolling_scale(residuals: Floats, width: int, floor: float) -> Floats:
    """Standard deviation of the residuals before each one.

    Args:
        residuals: Shape ``(n,)``, about zero.
        width: Values that count, odd.
        floor: The least scale as a share of that of all residuals: a quiet stretch
            is luck.
    """
    local = MAD_TO_SD * causal_median(np.abs(residuals), width)
    return np.maximum(local, max(floor * mad_scale(residuals), 1e-12))


def tail_limit(scores: Floats, expected: float) -> float:
    """The score that noise exceeds ``expected`` times in a series of this length.

    Heavy tails have far outliers without cause. How far is read from the other side:
    the largest negative scores, whose tail is taken for a power law.

    Source: Hill 1975; Weissman 1978 (extrapolation of a quantile).

    Args:
        scores: Shape ``(n,)``, in standard deviations.
        expected: Exceedances to be expected from noise alone, such as 0.01.

    Returns:
        The limit; 0 where there are too few negative scores to know.
    """
    below = np.sort(-scores[scores < 0])
    k = int(np.clip(np.sqrt(below.size), 8, 100))
    if below.size < 4 * k or below[-k] <= 0:
        return 0.0
    tail = below[-k:]
    # The tail index of a few extremes scatters: it is drawn to that of a light tail.
    hill = float(np.log(tail / tail[0]).mean())
    inverse_index = (k * hill + _PRIOR_COUNT * _LIGHT_TAIL) / (k + _PRIOR_COUNT)
    extrapolated = float(tail[0] * (k / expected) ** inverse_index)
    # Noise rarely rises three times as far as it falls, whatever its tails.
    return min(extrapolated, 3 * float(tail[-1]))
