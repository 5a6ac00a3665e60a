"""Slopes that outliers do not move, and where a level changed."""

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from run_assets.diagnostics.levels import autocorrelation_time, reduced
from run_assets.diagnostics.robust import difference_scale, mad_scale, median

Floats = NDArray[np.float64]

_MOST_PAIRED = 60  # points of a Theil-Sen slope: 1,770 pairs
MOST_SEGMENTED = 500


class Slope(NamedTuple):
    """A slope and its standard error, corrected for autocorrelation."""

    value: float
    error: float

    def interval(self, score: float = 1.96) -> tuple[float, float]:
        """Both ends of the interval, 95 % by default."""
        return self.value - score * self.error, self.value + score * self.error


def theil_sen(x: Floats, y: Floats) -> Slope:
    """The median slope over all pairs of at most 60 block medians.

    Source: Sen 1968. The error is that of least squares with a robust scale, times
    the root of the autocorrelation time.

    Args:
        x: Shape ``(n,)``, not all equal.
        y: Shape ``(n,)``, finite.

    >>> theil_sen(np.arange(5.0), np.array([0.0, 2.0, 4.0, 6.0, 99.0])).value
    2.0
    """
    y, x = reduced(y, x, _MOST_PAIRED)
    first, second = _pairs(x.size)
    run = x[second] - x[first]
    rise = y[second] - y[first]
    slope = median(rise / run if run.all() else rise[run != 0] / run[run != 0])
    residuals = y - slope * x
    residuals = residuals - median(residuals)
    spread = float(np.sqrt(((x - x.mean()) ** 2).sum()))
    time = autocorrelation_time(residuals)
    noise = max(mad_scale(residuals), float(residuals.std()) * 0.5)
    return Slope(slope, noise * float(np.sqrt(time)) / spread)


@cache
def _pairs(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = np.triu_indices(n, 1)
    return first, second


class Segment(NamedTuple):
    """A stretch with one level: ``values[start:end]``."""

    start: int
    end: int
    level: float


def segments(values: Floats, penalty: float = 8.0) -> list[Segment]:
    """Stretches between changes of level.

    Least squares over at most 500 block medians, by dynamic programming whose cost
    grows with their square; a change
    must pay ``penalty * ln(n)`` noise variances. Lengths below a twentieth are no
    level of their own.

    Source: Truong, Oudre, Vayatis 2020 (`ruptures.KernelCPD`); the penalty is the
    Bayesian one, enlarged for heavy tails.

    Args:
        values: Shape ``(n,)``, finite.
        penalty: Of one change.
    """
    found, places = reduced(values, np.arange(values.size, dtype=float), MOST_SEGMENTED)
    scale = difference_scale(found) or float(found.std()) * 1e-3
    if found.size < 20 or scale == 0:
        return [Segment(0, values.size, float(np.median(values)))]
    ends = _ends(found / scale, penalty * float(np.log(found.size)))
    edges = [0, *(int(np.ceil(places[end])) for end in ends[:-1]), values.size]
    return [
        Segment(a, b, float(np.median(values[a:b])))
        for a, b in itertools.pairwise(edges)
    ]


def _ends(scaled: Floats, penalty: float) -> list[int]:
    """Where segments end, by `ruptures`; it mixes Python's integers with numpy's."""
    from ruptures import KernelCPD

    least = max(2, scaled.size // 20)
    found = KernelCPD(kernel="linear", min_size=least).fit(scaled).predict(pen=penalty)
    return [int(end) for end in found]
