import numpy as np
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped]  # no types
from scipy.stats import linregress

from run_assets.stats.trends import LEAST_POINTS, autocorrelation_time, linear_trend


def series(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    """An AR(1) series in its stationary state."""
    noise = rng.standard_normal(n + 200)
    values = np.zeros(n + 200)
    for at in range(1, n + 200):
        values[at] = phi * values[at - 1] + noise[at]
    return values[200:]


def test_without_autocorrelation_it_is_ordinary_regression() -> None:
    steps = np.arange(60.0) ** 1.1
    values = 0.3 * steps + np.resize([1.0, -1.0], 60)
    wanted = linregress(steps, values)
    found = linear_trend(steps, values, 0.95)
    assert found is not None
    assert found.ci_low is not None
    assert found.ci_high is not None
    span = steps[-1] - steps[0]
    assert found.change == pytest.approx(wanted.slope * span)
    fit = sm.OLS(values, sm.add_constant(steps)).fit()
    ends = fit.conf_int(0.05)[1] * span
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(ends))
    assert found.n_effective == 60


@pytest.mark.parametrize(("n", "phi"), [(50, 0.0), (200, 0.5), (200, 0.8), (1000, 0.9)])
def test_intervals_cover_what_they_promise(n: int, phi: float) -> None:
    """400 series: a binomial of .95 lies above .92 but for one time in 1,000."""
    rng = np.random.default_rng(7)
    steps = np.arange(float(n))
    hits = 0
    for _ in range(400):
        found = linear_trend(steps, series(rng, n, phi) + 0.01 * steps, 0.95)
        assert found is not None
        assert found.ci_low is not None
        assert found.ci_high is not None
        hits += found.ci_low <= 0.01 * (n - 1) <= found.ci_high
    assert hits / 400 > 0.915


def test_the_naive_interval_would_not() -> None:
    """The same series with ordinary regression: what the correction is for."""
    rng = np.random.default_rng(7)
    steps = np.arange(200.0)
    hits = 0
    for _ in range(200):
        fit = linregress(steps, series(rng, 200, 0.8))
        hits += abs(fit.slope) <= 1.972 * fit.stderr
    assert hits / 200 < 0.7


def test_the_autocorrelation_time_is_that_of_the_process() -> None:
    values = series(np.random.default_rng(1), 200_000, 0.8)
    wanted = (1 + 0.8) / (1 - 0.8)
    assert autocorrelation_time(values - values.mean()) == pytest.approx(
        wanted, rel=0.1
    )


def test_a_random_walk_has_no_interval_but_a_reason() -> None:
    walk = np.cumsum(np.random.default_rng(0).standard_normal(30))
    found = linear_trend(np.arange(30.0), walk, 0.95)
    assert found is not None
    assert found.ci_low is None
    assert found.note


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_a_perfect_line_is_certain(slope: float) -> None:
    steps = np.arange(50.0)
    found = linear_trend(steps, 3 + slope * steps, 0.95)
    assert found is not None
    assert found.ci_low == found.ci_high == pytest.approx(49 * slope)


def test_too_few_points_are_no_trend() -> None:
    few = np.arange(float(LEAST_POINTS - 1))
    assert linear_trend(few, few, 0.95) is None


def test_moving_and_scaling_the_values_moves_and_scales_the_answer() -> None:
    rng = np.random.default_rng(3)
    steps, values = np.sort(rng.random(80)), series(rng, 80, 0.5)
    one = linear_trend(steps, values, 0.9)
    other = linear_trend(steps * 10 - 4, values * -2 + 5, 0.9)
    assert one is not None
    assert other is not None
    assert one.ci_low is not None
    assert other.change == pytest.approx(-2 * one.change)
    assert other.ci_high == pytest.approx(-2 * one.ci_low)
