"""Exact quantiles of a mean of binomial shares, by their characteristic function."""

from math import lcm, sqrt

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

# Frequencies beyond this are not worth their time: resample instead.
_MOST_FREQUENCIES = 1 << 16
# Entries of a table of logarithms held at once, 8 bytes each, twice.
_TABLE_ENTRIES = 1 << 17
# A probability of 2 exp(-2 * 20) or less beyond the window that is looked at.
_HOEFFDING = 20
# The smallest square of a modulus with a logarithm; far below any that counts.
_TINY = 1e-300
# A cumulative probability this close to the tail has reached it.
_ROUNDING = 1e-9


def share_quantiles(
    counts: Int64Array, sizes: Int64Array, tail: float
) -> Float64Array | None:
    """Quantiles of the mean over tasks of a resampled share, without resampling.

    Of n runs of which k are above a threshold, a bootstrap draws a binomial number
    above it. The mean over tasks lives on a grid; its distribution is the inverse
    Fourier transform of the product of the characteristic functions, taken in a window
    around the mean outside of which lies nothing that a double can hold (Hoeffding
    1963, theorem 2).

    Args:
        counts: Shape ``(thresholds, tasks)``: runs above.
        sizes: Shape ``(tasks,)``: runs.
        tail: Share outside each end, in (0, 0.5).

    Returns:
        Shape ``(2, thresholds)``: the ends that infinitely many resamples would have.
        None if the numbers of runs have no common grid of a reasonable size.

    >>> share_quantiles(np.array([[1], [2]]), np.array([2]), 0.2).tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    grid = lcm(*{int(n) for n in sizes})
    if grid > _MOST_FREQUENCIES * int(sizes.max()):
        return None
    reach = sqrt(_HOEFFDING * float((grid / sizes * grid).sum()))
    n_frequencies = _power_of_two(min(2 * reach + 2, 2.0 * grid * sizes.size + 2))
    if n_frequencies > _MOST_FREQUENCIES:
        return None
    step = max(1, _TABLE_ENTRIES // n_frequencies)
    parts = [
        _quantiles(counts[first : first + step], sizes, grid, (n_frequencies, tail))
        for first in range(0, len(counts), step)
    ]
    return np.concatenate(parts, axis=1)


def _quantiles(
    counts: Int64Array, sizes: Int64Array, grid: int, window: tuple[int, float]
) -> Float64Array:
    n_frequencies, tail = window
    transform = _characteristic(counts, sizes, grid, n_frequencies)
    # Every other sign turned: the mean moves to the middle of the window.
    transform[:, 1::2] *= -1
    chances = np.fft.irfft(np.conj(transform), n_frequencies, axis=1)
    seen = np.cumsum(chances, axis=1)
    steps = [
        np.argmax(seen >= share - _ROUNDING, axis=1) - n_frequencies // 2
        for share in (tail, 1 - tail)
    ]
    center = (counts * (grid // sizes)).sum(axis=1)
    ends = (center + np.array(steps)) / (grid * sizes.size)
    return np.asarray(np.clip(ends, 0.0, 1.0))


def _characteristic(
    counts: Int64Array, sizes: Int64Array, grid: int, n_frequencies: int
) -> NDArray[np.complex128]:
    """Of the sum about its mean; shape ``(thresholds, n_frequencies / 2 + 1)``."""
    # Tasks with the same runs, and the same of them above, share a factor.
    codes = counts * (int(sizes.max()) + 1) + sizes
    kinds, index = np.unique(codes, return_inverse=True)
    rows = np.repeat(np.arange(len(counts)), sizes.size) * kinds.size
    powers = np.bincount(rows + index.ravel(), minlength=len(counts) * kinds.size)
    powers = powers.reshape(len(counts), kinds.size)
    above, size = np.divmod(kinds, int(sizes.max()) + 1)
    weights = powers * size.astype(np.float64)
    half = n_frequencies // 2 + 1
    result = np.empty((len(counts), half), dtype=np.complex128)
    step = max(1, _TABLE_ENTRIES // kinds.size)
    for first in range(0, half, step):
        frequency = np.arange(first, min(first + step, half))
        angle = 2 * np.pi / n_frequencies * frequency * (grid / size)[:, None]
        share = (above / size)[:, None]
        real, imaginary = 1 - share + share * np.cos(angle), share * np.sin(angle)
        log_modulus = 0.5 * np.log(np.maximum(real**2 + imaginary**2, _TINY))
        phase = np.arctan2(imaginary, real) - share * angle
        modulus, turn = np.exp(weights @ log_modulus), weights @ phase
        some = result[:, first : first + frequency.size]
        some.real, some.imag = modulus * np.cos(turn), modulus * np.sin(turn)
    return result


def _power_of_two(at_least: float) -> int:
    return 1 << max(1, int(np.ceil(np.log2(at_least))))
