"""From bootstrap replicates to intervals: what each method promises and reads off."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.errors import UsageError
from run_assets.stats.options import check_choice, check_confidence
from run_assets.stats.samples import Strata

METHODS = ("percentile", "corrected", "bca")

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
Row = dict[str, object]

BASIS = {
    "n_tasks": pl.Int64,
    "min_runs_per_task": pl.Int64,
    "max_runs_per_task": pl.Int64,
    "resamples": pl.Int64,
    "seed": pl.Int64,
    "notes": pl.String,
}
"""The columns with which a result says what it rests on."""

# Replicates closer to the estimate than this share of its size equal it but for
# rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        method: ``percentile``, ``corrected`` or ``bca``.
        confidence: Nominal coverage in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1.

    Raises:
        UsageError: A value is outside these limits.
    """

    method: str
    confidence: float
    resamples: int
    seed: int

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_confidence(self.confidence)
        if self.resamples < 1:
            message = f"resamples must be at least 1, got {self.resamples}"
            raise UsageError(message)
        if not 0 <= self.seed < 2**63:
            message = f"seed must be from 0 to 2**63 - 1, got {self.seed}"
            raise UsageError(message)

    def tail(self, missing_variance: float) -> float:
        """Share of the resamples that lies outside each end of the interval.

        ``percentile`` leaves ``(1 - confidence) / 2``. A bootstrap over n runs has a
        variance too small by (n - 1) / n; ``corrected`` reaches further out, to the
        normal quantile times the square root of what is missing.

        Source: Hesterberg 2015 for the narrowness of a bootstrap and the "expanded
        percentile" interval, which starts from a t quantile where this one takes z.

        Args:
            missing_variance: True over bootstrap variance, at least 1.
        """
        z = NormalDist().inv_cdf((1 + self.confidence) / 2)
        if self.method == "corrected":
            z *= sqrt(missing_variance)
        return NormalDist().cdf(-z)

    def ends(
        self,
        estimate: float,
        replicates: Float64Array,
        *,
        missing_variance: float,
        acceleration: Callable[[], float],
    ) -> tuple[float, float]:
        """The ends of the interval.

        Args:
            estimate: The statistic of the scores themselves.
            replicates: Shape ``(resamples,)``.
            missing_variance: For ``corrected``, see `tail`.
            acceleration: For ``bca``, see `stratified_acceleration`.
        """
        tail = self.tail(missing_variance)
        tails = (tail, 1 - tail)
        if self.method == "bca":
            tails = bca_tails(estimate, replicates, acceleration(), self.confidence)
        low, high = np.quantile(replicates, tails)
        return float(low), float(high)

    def notes(self) -> list[str]:
        """What a reader must know about these settings."""
        expected = self.resamples * (1 - self.confidence) / 2
        return [f"only {self.resamples} resamples"] if expected < 5 else []

    @property
    def columns(self) -> Row:
        """The settings, as columns of a result."""
        return {
            "confidence": self.confidence,
            "method": self.method,
            "resamples": self.resamples,
            "seed": self.seed,
        }


def bca_tails(
    estimate: float, replicates: Float64Array, acceleration: float, confidence: float
) -> tuple[float, float]:
    """Which quantiles of the replicates are the bias-corrected, accelerated ends.

    Source: Efron 1987, equations 2.3 and 6.6; Efron and Tibshirani 1993, equation
    14.10; replicates that equal the estimate count half, as in
    ``scipy.stats.bootstrap``.

    >>> low, high = bca_tails(0.0, np.array([-1.0, 0.0, 1.0]), 0.0, 0.9)
    >>> round(low, 6), round(high, 6)
    (0.05, 0.95)
    """
    normal = NormalDist()
    rounding = _ROUNDING * max(abs(estimate), float(np.ptp(replicates)))
    below = int((replicates < estimate - rounding).sum())
    not_above = int((replicates <= estimate + rounding).sum())
    # With every replicate on one side the bias has no size; half a replicate stands in.
    share = min(max((below + not_above) / 2, 0.5), replicates.size - 0.5)
    bias = normal.inv_cdf(share / replicates.size) if replicates.size > 1 else 0.0
    tails = []
    z = normal.inv_cdf((1 + confidence) / 2)
    for end in (-z, z):
        shifted = bias + end
        tails.append(normal.cdf(bias + shifted / max(1 - acceleration * shifted, 1e-9)))
    return tails[0], tails[1]


def stratified_acceleration(without_each: Float64Array, sizes: Int64Array) -> float:
    """How fast the standard error changes with the statistic, over several samples.

    Every stratum is a sample of its own: leaving out one item of one of them tells
    what that item contributes. A stratum with one item contributes nothing.

    Source: Efron and Tibshirani 1993, equation 14.15; for several samples as in
    ``scipy.stats.bootstrap``.

    Args:
        without_each: Shape ``(items,)``: the statistic without one item, stratum after
            stratum.
        sizes: Shape ``(strata,)``: items per stratum.

    >>> stratified_acceleration(np.array([1.0, 2.0, 1.0, 2.0]), np.array([2, 2]))
    0.0
    """
    size = np.repeat(sizes, sizes)
    values = np.where(size > 1, without_each, 0.0)
    starts = np.cumsum(sizes) - sizes
    means = np.add.reduceat(values, starts) / sizes
    influence = (size - 1) / size * (np.repeat(means, sizes) - values)
    squares = float((influence**2).sum())
    scale = float(np.abs(influence).max(initial=0.0))
    if scale <= _ROUNDING * float(np.abs(values).max(initial=0.0)):
        return 0.0
    # Each influence is (n - 1) / n of the difference: the n^2 and n^3 of the sources.
    return float((influence**3).sum() / (6 * squares**1.5))


def missing_variance(sizes: Int64Array, *, pooled: bool) -> float:
    """True over bootstrap variance if the items of every stratum scatter the same.

    With n runs in each task this is n / (n - 1) either way.

    Args:
        sizes: Shape ``(strata,)``: items per stratum, not all 1.
        pooled: True when strata count by their items, False when all count the same.
    """
    weights = sizes.astype(np.float64) if pooled else 1 / sizes
    return float(weights.sum() / (weights * (1 - 1 / sizes)).sum())


def percentile_ends(replicates: Float64Array, tail: float) -> Float64Array:
    """Quantiles ``tail`` and ``1 - tail`` over the resamples, linearly interpolated.

    Args:
        replicates: Shape ``(resamples, ...)``.
        tail: In (0, 0.5).

    Returns:
        Shape ``(2, ...)``: the low and the high end.
    """
    # Sorting takes half of the time of `np.quantile`, which selects.
    ordered = np.sort(replicates, axis=0)
    last = len(ordered) - 1
    places = np.array([tail, 1 - tail]) * last
    below = places.astype(np.int64)
    rest = (places - below).reshape(-1, *[1] * (ordered.ndim - 1))
    low, high = ordered[below], ordered[np.minimum(below + 1, last)]
    return np.asarray(low + rest * (high - low), dtype=np.float64)


def no_interval_reason(layout: Strata) -> str | None:
    """Why resampling runs within tasks cannot say anything, or None when it can."""
    if layout.values.size == 1:
        return "no interval: one run"
    if int(layout.sizes.max()) == 1:
        return "no interval: one run per task, so runs of a task cannot be resampled"
    return None


def single_run_notes(layout: Strata) -> list[str]:
    """A warning when some tasks, not all, have one run."""
    singles = int((layout.sizes == 1).sum())
    if not singles or singles == layout.sizes.size:
        return []
    return [
        f"{singles} of {layout.sizes.size} tasks have one run: their noise is unseen"
    ]
