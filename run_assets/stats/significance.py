"""Tests of one pair of samples: is the difference more than chance?

A test that cannot be made is a result with a reason, not an exception: one comparison
of many must not take the others down.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb, inf, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

ALTERNATIVES = ("two-sided", "less", "greater")
"""What a test looks for: x differs from y, x is smaller, x is larger."""

# Means of the same numbers differ in the last digits by the order of summation; ranks
# must not. Differences below this share of the numbers compared are ties.
_TIE_TOLERANCE = 1e-12

_MANY_WAYS = 1e300

# Largest number of pairs, or of values of both samples, for exact p-values; beyond it
# the normal approximation is close. Two samples of 25 take about 5 ms.
_MAX_EXACT = 50


@dataclass(frozen=True)
class Samples:
    """Two samples to compare.

    Attributes:
        x: Shape ``(n_x,)``.
        y: Shape ``(n_y,)``; if paired, item i belongs to item i of ``x``.
        paired: Whether the items belong together.
    """

    x: Float64Array
    y: Float64Array
    paired: bool


@dataclass(frozen=True)
class TestResult:
    """What a test found; None where it could not be made, and ``notes`` says why."""

    __test__ = False  # pytest: not a class of tests

    statistic: float | None
    p_value: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeanDifference:
    """A difference of means and the t distribution of its error.

    Attributes:
        difference: Mean of x minus mean of y.
        standard_error: Of the difference; 0 when the samples do not scatter.
        degrees_of_freedom: Of the t distribution.
    """

    difference: float
    standard_error: float
    degrees_of_freedom: float

    def p_value(self, alternative: str = "two-sided") -> float:
        """P-value of no difference."""
        from scipy.special import stdtr

        t = self.difference / self.standard_error
        below, above = (float(stdtr(self.degrees_of_freedom, one)) for one in (t, -t))
        return of_tails(below, above, alternative)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Ends of the t interval with this nominal coverage."""
        from scipy.special import stdtrit

        t = float(stdtrit(self.degrees_of_freedom, (1 + confidence) / 2))
        half_width = t * self.standard_error
        return self.difference - half_width, self.difference + half_width


def mean_difference(samples: Samples, *, equal_variances: bool) -> MeanDifference:
    """Difference of means with its standard error; needs two items a side.

    Paired: from the differences of pairs. Unpaired: Student's pooled variance when
    ``equal_variances``, else Welch's.

    Source: Welch 1947 for the degrees of freedom with unequal variances.
    """
    x, y = samples.x, samples.y
    difference = float(x.mean() - y.mean())
    if samples.paired:
        error = float((x - y).std(ddof=1)) / sqrt(x.size)
        freedom = float(x.size - 1)
    elif equal_variances:
        error = pooled_deviation(x, y) * sqrt(1 / x.size + 1 / y.size)
        freedom = float(x.size + y.size - 2)
    else:
        error, freedom = _welch(x.var(ddof=1) / x.size, y.var(ddof=1) / y.size, samples)
    scale = max(float(np.abs(x).max()), float(np.abs(y).max()))
    rounding = 4 * float(np.finfo(np.float64).eps) * scale
    return MeanDifference(difference, error if error > rounding else 0.0, freedom)


def t_test(samples: Samples, alternative: str = "two-sided") -> TestResult:
    """Paired or Student's t-test; Source: Student 1908."""
    return _t_result(mean_difference(samples, equal_variances=True), alternative)


def welch_test(samples: Samples, alternative: str = "two-sided") -> TestResult:
    """Student's test without equal variances; Source: Welch 1947."""
    return _t_result(mean_difference(samples, equal_variances=False), alternative)


def wilcoxon_test(samples: Samples, alternative: str = "two-sided") -> TestResult:
    """Signed-rank test of paired samples; equal pairs are dropped.

    The statistic is the smaller of the two rank sums; that of the positive differences
    when the alternative is one-sided. Exact up to 50 unequal pairs, ties or not; above
    that ``scipy.stats.wilcoxon`` with its normal approximation.

    Source: Wilcoxon 1945; Lehmann 1975 for the exact distribution with ties.
    """
    differences = samples.x - samples.y
    scale = np.maximum(np.abs(samples.x), np.abs(samples.y))
    unequal = _unequal_pairs(samples)
    n_equal = int((~unequal).sum())
    if not unequal.any():
        return TestResult(None, None, (f"no test: all {n_equal} pairs are equal",))
    differences, scale = differences[unequal], scale[unequal]
    magnitudes = merge_near_ties(np.abs(differences), scale)
    notes = (f"{n_equal} equal pairs dropped",) if n_equal else ()
    signs = np.sign(differences)
    return TestResult(*_signed_rank(signs, magnitudes, alternative), notes)


def mann_whitney_test(samples: Samples, alternative: str = "two-sided") -> TestResult:
    """Rank-sum test of unpaired samples; the statistic is U of x.

    Exact up to 50 values in both samples together, ties or not; above that as
    ``scipy.stats.mannwhitneyu`` decides, mostly by the normal approximation.

    Source: Mann and Whitney 1947; Lehmann 1975 for the exact distribution with ties.
    """
    x, y = tied_samples(samples)
    n_different = np.unique(np.concatenate([x, y])).size
    if n_different == 1:
        return TestResult(None, None, ("no test: all values are equal",))
    tied = n_different < x.size + y.size
    return TestResult(*_rank_sum(x, y, alternative), ("ties",) if tied else ())


class PairTest(Protocol):
    """A test of one pair of samples."""

    def __call__(self, samples: Samples, alternative: str = ...) -> TestResult:
        """What the test found."""


TESTS: Mapping[str, PairTest] = {
    "wilcoxon": wilcoxon_test,
    "mannwhitney": mann_whitney_test,
    "ttest": t_test,
    "welch": welch_test,
}


def of_tails(below: float, above: float, alternative: str) -> float:
    """The p-value from the chances of at most and of at least what was observed.

    Two-sided: twice the smaller tail, at most 1.

    >>> of_tails(0.98, 0.03, "two-sided"), of_tails(0.98, 0.03, "less")
    (0.06, 0.98)
    """
    if alternative == "two-sided":
        return min(1.0, 2 * min(below, above))
    return min(1.0, below if alternative == "less" else above)


def assignments(n_x: int, n_y: int) -> float:
    """Ways to choose n_x of n_x + n_y values; infinite beyond what a float holds.

    >>> assignments(3, 3), assignments(100_000, 100_000)
    (20.0, inf)
    """
    ways = 1.0
    for chosen in range(min(n_x, n_y)):
        ways *= (n_x + n_y - chosen) / (chosen + 1)
        if ways > _MANY_WAYS:
            return inf
    return float(round(ways))


def smallest_p_value(
    test: str, samples: Samples, alternative: str = "two-sided"
) -> float:
    """The smallest p-value that a rank test can give at these sizes.

    >>> smallest_p_value("wilcoxon", Samples(np.ones(4), np.zeros(4), paired=True))
    0.125
    """
    sides = 2 if alternative == "two-sided" else 1
    if test == "wilcoxon":
        return min(1.0, sides * 2.0 ** -int(_unequal_pairs(samples).sum()))
    if test == "mannwhitney":
        return min(1.0, sides / assignments(samples.x.size, samples.y.size))
    return 0.0


def cohen_d(samples: Samples) -> float | None:
    """Mean difference in pooled standard deviations; None without spread.

    Source: Cohen 1988, chapter 2. For paired samples the same formula, so that it
    compares with unpaired ones; it is not the d_z of differences.

    >>> cohen_d(Samples(np.array([2.0, 4.0]), np.array([1.0, 3.0]), paired=False))
    0.7071067811865475
    """
    deviation = pooled_deviation(samples.x, samples.y)
    if deviation == 0:
        return None
    return float(samples.x.mean() - samples.y.mean()) / deviation


def cliffs_delta(samples: Samples) -> float:
    """Chance that x is above y minus chance that it is below, over all pairs.

    Source: Cliff 1993.

    >>> cliffs_delta(Samples(np.array([1.0, 3.0]), np.array([1.0, 2.0]), paired=False))
    0.25
    """
    x, y = tied_samples(samples)
    y = np.sort(y)
    below = np.searchsorted(y, x, side="left")
    above = y.size - np.searchsorted(y, x, side="right")
    return float((below - above).sum() / (x.size * y.size))


EFFECTS: Mapping[str, Callable[[Samples], float | None]] = {
    "cohen_d": cohen_d,
    "cliffs_delta": cliffs_delta,
}


def pooled_deviation(x: Float64Array, y: Float64Array) -> float:
    """Standard deviation of two samples about their own means, pooled (n - 2)."""
    squares = x.var(ddof=1) * (x.size - 1) + y.var(ddof=1) * (y.size - 1)
    return sqrt(squares / (x.size + y.size - 2))


def merge_near_ties(values: Float64Array, scale: Float64Array) -> Float64Array:
    """The values with neighbours closer than rounding made equal.

    >>> merge_near_ties(np.array([0.3, 0.1 + 0.2, 0.4]), np.ones(3)).tolist()
    [0.3, 0.3, 0.4]
    """
    order = np.argsort(values, kind="stable")
    ascending, tolerance = values[order], _TIE_TOLERANCE * scale[order]
    is_new = np.diff(ascending) > np.maximum(tolerance[1:], tolerance[:-1])
    first = np.concatenate([[0], np.flatnonzero(is_new) + 1])
    merged = np.empty_like(values)
    group = np.concatenate([[0], np.cumsum(is_new)])
    merged[order] = ascending[first[group]]
    return merged


def tied_samples(samples: Samples) -> tuple[Float64Array, Float64Array]:
    """Both samples with near ties between and within them made equal."""
    pooled = np.concatenate([samples.x, samples.y])
    merged = merge_near_ties(pooled, np.abs(pooled))
    return merged[: samples.x.size], merged[samples.x.size :]


def _unequal_pairs(samples: Samples) -> NDArray[np.bool_]:
    scale = np.maximum(np.abs(samples.x), np.abs(samples.y))
    return np.abs(samples.x - samples.y) > _TIE_TOLERANCE * scale


def _signed_rank(
    signs: Float64Array, magnitudes: Float64Array, alternative: str
) -> tuple[float, float]:
    """A rank sum, the smaller one when two-sided, and its p-value."""
    from scipy.stats import rankdata, wilcoxon

    if signs.size > _MAX_EXACT:
        result = wilcoxon(signs * magnitudes, alternative=alternative)
        return float(result.statistic), float(result.pvalue)
    doubled = np.rint(2 * rankdata(magnitudes)).astype(np.int64)  # midranks are halves
    chances = np.zeros(int(doubled.sum()) + 1)
    chances[0] = 1.0
    for rank in doubled:
        chances[rank:] += chances[:-rank].copy()
        chances /= 2
    positive = int(doubled[signs > 0].sum())
    smaller = min(positive, int(doubled.sum()) - positive)
    shown = smaller if alternative == "two-sided" else positive
    return shown / 2, _p_value(chances, positive, alternative)


def _rank_sum(
    x: Float64Array, y: Float64Array, alternative: str
) -> tuple[float, float]:
    """U of x and its p-value."""
    from scipy.stats import mannwhitneyu, rankdata

    if x.size + y.size > _MAX_EXACT:
        # exact if one sample has up to 8
        result = mannwhitneyu(x, y, alternative=alternative)
        return float(result.statistic), float(result.pvalue)
    doubled = np.rint(2 * rankdata(np.concatenate([x, y]))).astype(np.int64)
    # ways[k, s]: how many sets of k values have doubled ranks that add up to s.
    ways = np.zeros((x.size + 1, int(doubled.sum()) + 1))
    ways[0, 0] = 1.0
    for rank in doubled:
        ways[1:, rank:] += ways[:-1, :-rank].copy()
    ranks_of_x = int(doubled[: x.size].sum())
    u = ranks_of_x / 2 - x.size * (x.size + 1) / 2
    chances = ways[x.size] / comb(x.size + y.size, x.size)
    return u, _p_value(chances, ranks_of_x, alternative)


def _p_value(chances: Float64Array, observed: int, alternative: str) -> float:
    """From the chances of 0, 1, 2 … and what was observed; both tails hold it."""
    below, above = chances[: observed + 1].sum(), chances[observed:].sum()
    return of_tails(float(below), float(above), alternative)


def _welch(error_x: float, error_y: float, samples: Samples) -> tuple[float, float]:
    total = error_x + error_y
    if total == 0:
        return 0.0, float(samples.x.size + samples.y.size - 2)
    shares = (
        (error_x / total) ** 2 / (samples.x.size - 1),
        (error_y / total) ** 2 / (samples.y.size - 1),
    )
    return sqrt(total), float(1 / sum(shares))


def _t_result(difference: MeanDifference, alternative: str) -> TestResult:
    if difference.standard_error == 0:
        return TestResult(None, None, ("no test: the values do not scatter",))
    statistic = difference.difference / difference.standard_error
    return TestResult(statistic, difference.p_value(alternative))
