"""What one curve did: its halves, its trend, its milestones."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from run_assets.stats.trends import LEAST_POINTS, linear_trend

Float64Array = NDArray[np.float64]
Verdict = Literal[
    "improving", "worsening", "rising", "falling", "constant", "unclear", "not_testable"
]

MILESTONES = (25, 50, 75, 90)
"""Percent of the way from the first to the last value."""


class Change(NamedTuple):
    """How a curve moved.

    Attributes:
        trend_ratio: (mean of the second half - mean of the first) / |mean of the
            first|; None where that has no meaning.
        trend_change: Rise of the fitted line over the run, in the curve's unit.
        ci_low: Lower end of its interval.
        ci_high: Upper end.
        verdict: What the interval says, in the light of the declared direction.
        notes: Why something is missing.
    """

    trend_ratio: float | None
    trend_change: float | None
    ci_low: float | None
    ci_high: float | None
    verdict: Verdict
    notes: tuple[str, ...]


def halves_ratio(values: Float64Array) -> float | None:
    """Relative change from the first half of the points to the second.

    With an odd number the middle point belongs to the second half.

    Source: the guide's trend, which compares the means of both halves.

    Args:
        values: Shape ``(n,)``, finite, in the order of steps.

    Returns:
        None with fewer than 2 points, or where the first half has mean 0.

    >>> halves_ratio(np.array([1.0, 1.0, 2.0, 4.0]))
    2.0
    """
    if values.size < 2:
        return None
    middle = values.size // 2
    before, after = float(values[:middle].mean()), float(values[middle:].mean())
    return None if before == 0 else (after - before) / abs(before)


def milestones(
    steps: NDArray[np.int64], values: Float64Array, *, is_lower_better: bool = False
) -> dict[int, int | None]:
    """The first logged step at which a curve has come so many percent of its way.

    The way leads from the first to the last finite value. A curve that ended no better
    than it began came no way, and has no milestones.

    Source: the guide: first step with value >= first + p x (last - first).

    Args:
        steps: Shape ``(n,)``, rising: where the values were logged.
        values: Shape ``(n,)``, finite.
        is_lower_better: Mirrors the curve.

    >>> milestones(np.array([0, 10, 70]), np.array([0.0, 0.6, 1.0]))
    {25: 10, 50: 10, 75: 70, 90: 70}
    """
    signed = -values if is_lower_better else values
    if signed.size == 0 or not signed[-1] > signed[0]:
        return dict.fromkeys(MILESTONES)
    return {
        percent: int(
            steps[
                np.argmax(
                    signed >= signed[0] + percent / 100 * (signed[-1] - signed[0])
                )
            ]
        )
        for percent in MILESTONES
    }


def change(
    steps: NDArray[np.int64],
    values: Float64Array,
    *,
    direction: Literal["lower", "higher", "none"],
    confidence: float,
) -> Change:
    """How a curve moved, and whether that is more than noise.

    A curve whose values are all the same is constant, whatever it is. Rising and
    falling become improving and worsening only where a direction is declared.

    Args:
        steps: Shape ``(n,)``, rising.
        values: Shape ``(n,)``, finite.
        direction: The good one.
        confidence: Of the interval.
    """
    if values.size and float(values.min()) == float(values.max()):
        ratio = halves_ratio(values)
        return Change(ratio, 0.0, 0.0, 0.0, "constant", _ratio_notes(ratio, values))
    ratio = halves_ratio(values)
    notes = _ratio_notes(ratio, values)
    trend = linear_trend(steps.astype(np.float64), values, confidence)
    if trend is None:
        few = f"{values.size} points are too few for a trend, {LEAST_POINTS} are needed"
        return Change(ratio, None, None, None, "not_testable", (*notes, few))
    if trend.ci_low is None or trend.ci_high is None:
        notes = (*notes, trend.note or "")
        return Change(ratio, trend.change, None, None, "not_testable", notes)
    verdict = _verdict(trend.ci_low, trend.ci_high, direction)
    return Change(ratio, trend.change, trend.ci_low, trend.ci_high, verdict, notes)


def _verdict(
    low: float, high: float, direction: Literal["lower", "higher", "none"]
) -> Verdict:
    if low <= 0 <= high:
        return "unclear"
    is_rising = low > 0
    if direction == "none":
        return "rising" if is_rising else "falling"
    return "improving" if is_rising == (direction == "higher") else "worsening"


def _ratio_notes(ratio: float | None, values: Float64Array) -> tuple[str, ...]:
    if ratio is not None or values.size < 2:
        return ()
    return ("no ratio: the mean of the first half is 0",)
