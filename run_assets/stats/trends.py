"""The trend of one curve, with an interval that knows of its autocorrelation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

LEAST_POINTS = 10
"""Points below which a trend says more about luck than about the run."""


@dataclass(frozen=True)
class Trend:
    """A straight line through a curve.

    Attributes:
        change: Rise of the line from the first to the last step, in the curve's unit.
        ci_low: Lower end of its interval; None where there is none.
        ci_high: Upper end.
        n_effective: Independent points that the curve is worth.
        note: Why there is no interval.
    """

    change: float
    ci_low: float | None
    ci_high: float | None
    n_effective: float
    note: str | None = None


def linear_trend(
    steps: Float64Array, values: Float64Array, confidence: float
) -> Trend | None:
    """The rise of the least-squares line over a run, with a t interval.

    Neighbouring values of a training curve resemble each other, so n of them are worth
    only ``n / tau`` independent ones, ``tau`` being the ``autocorrelation_time`` of the
    residuals. The error and the degrees of freedom use that number. A bent curve
    leaves long waves of residuals: its interval is wide.

    Source: Geyer 1992, "Practical Markov chain Monte Carlo", section 3.3, for ``tau``;
    with ``tau = 1`` this is ``scipy.stats.linregress``.

    Args:
        steps: Shape ``(n,)``, rising.
        values: Shape ``(n,)``, finite.
        confidence: Nominal coverage of the interval.

    Returns:
        None with fewer than ``LEAST_POINTS`` points.
    """
    if values.size < LEAST_POINTS:
        return None
    x = steps - steps.mean()
    span = float(steps[-1] - steps[0])
    spread = float(x @ x)
    slope = float(x @ values) / spread
    residuals = values - values.mean() - slope * x
    change = slope * span
    if _is_rounding(residuals, values):
        return Trend(change, change, change, float(values.size))
    effective = values.size / autocorrelation_time(residuals)
    freedom = effective - 2
    if freedom < 1:
        note = "the values resemble their neighbours too much for an interval"
        return Trend(change, None, None, effective, note)
    from scipy.special import stdtrit

    variance = float(residuals @ residuals) / values.size * effective / freedom
    error = np.sqrt(variance * values.size / effective / spread) * span
    half_width = float(stdtrit(freedom, (1 + confidence) / 2)) * float(error)
    return Trend(change, change - half_width, change + half_width, effective)


def autocorrelation_time(residuals: Float64Array) -> float:
    """How many residuals of a fitted line are worth one independent value.

    The larger of two estimates, at least 1. Geyer's: ``1 + 2 * (sum of
    autocorrelations)``, summed in pairs while a pair is positive; it sees any shape,
    but a short series hides from it. And that of a first-order autoregression,
    ``(1 + r) / (1 - r)``, whose ``r`` is freed of the bias ``-(2 + 4 r) / n`` that the
    fitted line leaves in it; a series that is then no shorter than its memory is worth
    one value.

    Source: Geyer 1992; Kendall 1954 and Marriott and Pope 1954 for the bias
    ``-(1 + 3 r) / n`` with a fitted mean, of which this is the form for a fitted line.

    Args:
        residuals: Shape ``(n,)``, of a least-squares line, not all 0.

    >>> autocorrelation_time(np.array([1.0, -1.0] * 50))
    1.0
    """
    n = residuals.size
    products = np.fft.irfft(np.abs(np.fft.rfft(residuals, 2 * n)) ** 2)[:n]
    lags = products / products[0]
    total = 0.0
    for lag in range(1, n - 1, 2):
        pair = float(lags[lag] + lags[lag + 1])
        if pair <= 0:
            break
        total += pair
    first = min((n * float(lags[1]) + 2) / (n - 4), 1.0)
    memory = (1 + first) / (1 - first) if first < 1 else float(n)
    return min(max(1.0, 1 + 2 * total, memory), float(n))


def _is_rounding(residuals: Float64Array, values: Float64Array) -> bool:
    """What is left of the line is what arithmetic leaves."""
    scale = float(np.abs(values).max())
    return float(np.abs(residuals).max()) <= 16 * float(np.finfo(float).eps) * scale
