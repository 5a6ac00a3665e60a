"""Levels of stretches of a series, with errors that know of autocorrelation."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from run_assets.diagnostics.robust import mad_scale

Floats = NDArray[np.float64]

# Source: the variance of a median of normal values is pi / 2 that of their mean.
MEDIAN_TO_MEAN_ERROR = 1.2533141373155003


class Blocks(NamedTuple):
    """Stretches of a series with equally many values.

    Attributes:
        starts: Position of each first value; shape ``(blocks + 1,)`` with the end.
        levels: Median of each.
        errors: Standard error of each median, corrected for autocorrelation.
        noise: Standard deviation of one value about its level.
        time: Integrated autocorrelation time of the noise, in values; 1 is white.
    """

    starts: NDArray[np.int64]
    levels: Floats
    errors: Floats
    noise: float
    time: float

    def times(self, sign: int) -> "Blocks":
        """The blocks of the series turned upside down, or as it is."""
        return self if sign > 0 else self._replace(levels=-self.levels)


def block_count(n: int, least: int = 10, most: int = 20) -> int:
    """Blocks for ``n`` values: at least ``least`` values each where there are 40.

    >>> [block_count(n) for n in (30, 120, 100_000)]
    [4, 12, 20]
    """
    return int(np.clip(n // least, 4, most))


def blocks_of(values: Floats, count: int | None = None) -> Blocks:
    """Cut a series into blocks and estimate the level of each.

    Args:
        values: Shape ``(n,)``, finite, ``n >= 8``.
        count: Number of blocks; see `block_count`.
    """
    count = count or block_count(values.size)
    starts = block_starts(values.size, count)
    levels = block_medians(values, starts)
    residuals = values - _between(levels, starts)
    time = autocorrelation_time(residuals)
    noise = max(mad_scale(residuals), 1e-300)
    sizes = np.diff(starts)
    errors = MEDIAN_TO_MEAN_ERROR * noise * np.sqrt(np.minimum(time / sizes, 1.0))
    return Blocks(starts, levels, errors, noise, time)


def block_starts(n: int, count: int) -> NDArray[np.int64]:
    """Where ``count`` blocks of ``n`` values begin, and the end of the last.

    The first blocks are longer by one where ``count`` does not divide ``n``.

    >>> block_starts(8, 3).tolist()
    [0, 3, 6, 8]
    """
    size, longer = divmod(n, count)
    sizes = np.full(count, size, dtype=np.int64)
    sizes[:longer] += 1
    return np.concatenate([[0], np.cumsum(sizes)])


def block_medians(values: Floats, starts: NDArray[np.int64]) -> Floats:
    """Median of each block of `block_starts`.

    >>> block_medians(np.arange(5.0), np.array([0, 3, 5])).tolist()
    [1.0, 3.5]
    """
    sizes = np.diff(starts)
    longer = int((sizes > sizes[-1]).sum())
    middle = int(starts[longer])
    parts = [
        values[:middle].reshape(longer, -1) if longer else np.empty((0, 1)),
        values[middle:].reshape(sizes.size - longer, -1),
    ]
    return np.concatenate([np.median(one, axis=1) for one in parts])


def reduced(values: Floats, at: Floats, most: int) -> tuple[Floats, Floats]:
    """At most ``most`` block medians of a series, and the median place of each.

    What costs more than the number of points is done on these.
    """
    if values.size <= most:
        return values, at
    starts = block_starts(values.size, most)
    return block_medians(values, starts), block_medians(at, starts)


def _between(levels: Floats, starts: NDArray[np.int64]) -> Floats:
    """The levels as a broken line through the middles of their blocks."""
    middles = (starts[:-1] + starts[1:] - 1) / 2
    positions = np.arange(starts[-1], dtype=np.float64)
    line = np.interp(positions, middles, levels)
    # Before the first and behind the last middle the line goes on as it was.
    first = (levels[1] - levels[0]) / (middles[1] - middles[0])
    last = (levels[-1] - levels[-2]) / (middles[-1] - middles[-2])
    line += np.minimum(positions - middles[0], 0) * first
    return np.asarray(line + np.maximum(positions - middles[-1], 0) * last)


def autocorrelation_time(residuals: Floats) -> float:
    """How many values are worth one independent value; 1 for white noise.

    The sum of the autocorrelations up to the first pair whose sum is not positive.
    Never below the time of an autoregression of order one with the same first
    autocorrelation, corrected for its bias in short series.

    Source: Geyer 1992, section 3.3 (initial positive sequence); Kendall 1954 (bias).

    Args:
        residuals: Shape ``(n,)``, finite, without trend.
    """
    n = residuals.size
    if n < 8:
        return 1.0
    # One outlier must not pass for white noise.
    spread = 4 * mad_scale(residuals)
    clipped = np.clip(residuals, -spread, spread) if spread else residuals
    centered = clipped - clipped.mean()
    if not (largest := float(np.abs(centered).max())) > 0:
        return 1.0
    centered = centered / largest
    covariance = _covariance(centered)[: n // 2]
    rho = covariance / covariance[0]
    pairs = rho[: rho.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    positive = pairs[: int(np.argmax(pairs <= 0))] if (pairs <= 0).any() else pairs
    sequence = 2 * float(positive.sum()) - 1
    first = min(float(rho[1]) + (1 + 4 * max(float(rho[1]), 0.0)) / n, 0.98)
    return float(max(1.0, sequence, (1 + first) / (1 - first)))


def _covariance(centered: Floats) -> Floats:
    """Sums of products at each lag; by Fourier transforms where that is faster."""
    n = centered.size
    if n <= 200:
        return np.correlate(centered, centered, "full")[n - 1 :]
    size = 1 << (2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(centered, size)) ** 2
    return np.fft.irfft(power, size)


class Change(NamedTuple):
    """A difference of two levels and its standard error."""

    size: float
    error: float

    @property
    def score(self) -> float:
        """The difference in standard errors."""
        return self.size / self.error if self.error > 0 else 0.0

    def interval(self, score: float = 1.96) -> tuple[float, float]:
        """Both ends of the 95 % interval."""
        return self.size - score * self.error, self.size + score * self.error


def change_between(blocks: Blocks, first: int, second: int) -> Change:
    """The second block's level minus the first's."""
    size = float(blocks.levels[second] - blocks.levels[first])
    error = float(np.hypot(blocks.errors[first], blocks.errors[second]))
    return Change(size, error)
