"""The shared statistics against independent oracles, and their policies."""

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter
from statsmodels.stats.proportion import (  # type: ignore[import-untyped]  # no types
    proportion_confint,
)

from run_assets.diagnostics.counts import dispersion, pooled, wilson, windows
from run_assets.diagnostics.levels import (
    autocorrelation_time,
    block_medians,
    block_starts,
    blocks_of,
    change_between,
)
from run_assets.diagnostics.robust import (
    causal_median,
    difference_scale,
    mad_scale,
    median,
    tail_limit,
)
from run_assets.diagnostics.spikes import spikes
from run_assets.diagnostics.trends import segments, theil_sen

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("width", [3, 15, 101])
def test_the_causal_median_is_the_naive_one(width: int) -> None:
    values = RNG.normal(size=300)
    padded = np.concatenate([np.full(width, values[0]), values])
    naive = [np.median(padded[i : i + width]) for i in range(1, 300)]
    assert causal_median(values, width)[width:] == pytest.approx(
        [*[values[0]], *naive][width:]
    )


def test_the_causal_median_never_looks_ahead() -> None:
    values = RNG.normal(size=200)
    changed = values.copy()
    changed[120:] = 1e9
    both = [causal_median(one, 15) for one in (values, changed)]
    assert (both[0][:121] == both[1][:121]).all()


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_median_and_scale_are_those_of_scipy(n: int) -> None:
    values = RNG.normal(size=n)
    assert median(values) == pytest.approx(float(np.median(values)))
    oracle = stats.median_abs_deviation(values, scale="normal")
    assert mad_scale(values) == pytest.approx(float(oracle))


def test_no_trend_and_no_jump_moves_the_scale_of_differences() -> None:
    values = RNG.normal(size=5_000)
    moved = values + np.arange(5_000) * 0.01 + 50 * (np.arange(5_000) > 2_000)
    assert difference_scale(moved) == pytest.approx(1.0, abs=0.05)


def test_blocks_have_the_levels_and_sizes_of_array_split() -> None:
    values = RNG.normal(size=103)
    parts = np.array_split(values, 10)
    starts = block_starts(103, 10)
    assert np.diff(starts).tolist() == [one.size for one in parts]
    assert block_medians(values, starts) == pytest.approx(
        [float(np.median(one)) for one in parts]
    )


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_the_autocorrelation_time_is_that_of_the_process(phi: float) -> None:
    noise = lfilter([1], [1, -phi], RNG.normal(size=50_000))
    known = (1 + phi) / (1 - phi)
    assert autocorrelation_time(np.asarray(noise)) == pytest.approx(known, rel=0.15)


def test_constant_noise_and_huge_noise_have_a_time() -> None:
    assert autocorrelation_time(np.zeros(50)) == 1.0
    assert np.isfinite(autocorrelation_time(RNG.normal(size=50) * 1e300))


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_the_error_of_a_level_covers_its_scatter(phi: float) -> None:
    """Differences of block levels of pure noise, in their own standard errors."""
    scores = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        noise = np.asarray(lfilter([1], [1, -phi], rng.normal(size=600)))
        scores.append(change_between(blocks_of(noise), 0, -1).score)
    assert 0.7 < float(np.std(scores)) < 1.35


def test_theil_sen_is_that_of_scipy_on_few_points() -> None:
    x, y = np.arange(40.0), RNG.normal(size=40) + np.arange(40.0) * 0.3
    slope, _, low, high = stats.theilslopes(y, x)
    found = theil_sen(x, y)
    assert found.value == pytest.approx(slope)
    assert found.interval()[0] == pytest.approx(low, abs=0.02)
    assert found.interval()[1] == pytest.approx(high, abs=0.02)


def test_a_tenth_of_outliers_does_not_move_a_slope() -> None:
    y = np.arange(3_000.0)
    y[::10] = 1e6
    assert theil_sen(np.arange(3_000.0), y).value == pytest.approx(1.0, rel=1e-2)


def test_the_interval_of_a_slope_covers_the_true_one_under_autocorrelation() -> None:
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        noise = np.asarray(lfilter([1], [1, -0.7], rng.normal(size=1_000)))
        low, high = theil_sen(np.arange(1_000.0), noise).interval()
        hits += low <= 0 <= high
    assert hits >= 178  # 95 % of 200, less four standard errors


@pytest.mark.parametrize("n", [300, 100_000])
def test_a_change_of_level_is_found_where_it_is(n: int) -> None:
    values = RNG.normal(0, 0.1, n) + (np.arange(n) >= 0.6 * n)
    found = segments(values)
    assert len(found) == 2
    assert found[1].start == pytest.approx(0.6 * n, abs=max(1, n / 500))
    assert found[1].level == pytest.approx(1.0, abs=0.05)
    assert all(type(one.start) is int for one in found)


@pytest.mark.parametrize("values", [np.zeros(300), np.full(10, 3.0), np.arange(5.0)])
def test_a_constant_or_a_short_series_is_one_level(values: np.ndarray) -> None:
    assert len(segments(values)) == 1


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (19, 20), (20, 20), (300, 1000)])
def test_wilson_is_that_of_statsmodels(hits: int, trials: int) -> None:
    low, high = proportion_confint(hits, trials, method="wilson")
    found = wilson(hits, trials)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found.value == hits / trials


def test_a_share_weighs_trials_and_not_steps() -> None:
    found = pooled(np.array([0.0, 500.0]), np.array([5.0, 500.0]))
    assert found.value == pytest.approx(500 / 505)
    assert pooled(np.zeros(3), np.zeros(3)).trials == 0
    assert wilson(1, 0).low == 0.0


def test_overdispersed_counts_have_wider_intervals() -> None:
    trials = np.full(200, 100.0)
    binomial = RNG.binomial(100, 0.9, 200).astype(float)
    clumped = RNG.binomial(100, RNG.beta(9, 1, 200)).astype(float)
    assert dispersion(binomial, trials, 0.9) == pytest.approx(1.0, abs=0.3)
    assert dispersion(clumped, trials, 0.9) > 5
    one, other = pooled(binomial, trials), pooled(clumped, trials)
    assert other.high - other.low > 2 * (one.high - one.low)


def test_windows_cover_every_step() -> None:
    trials = np.arange(1.0, 24.0)
    found = windows(trials, trials, 10)
    assert sum(one.trials for one in found) == trials.sum()


def test_heavy_tails_raise_the_limit_of_a_spike() -> None:
    light = tail_limit(RNG.normal(size=5_000), 0.01)
    heavy = tail_limit(RNG.standard_t(3, size=5_000), 0.01)
    assert light < 9 < heavy
    assert tail_limit(np.ones(100), 0.01) == 0.0


def test_a_spike_is_found_in_its_place_and_a_step_is_none() -> None:
    values = np.exp(RNG.normal(0, 0.02, 500)) * 2
    values[400:403] *= 3
    found = spikes(values, 6, 1.2, 0.05)
    assert found.places.tolist() == [400]
    assert found.lengths.tolist() == [3]
    assert found.ratios[0] == pytest.approx(3, rel=0.1)
    stepped = np.exp(RNG.normal(0, 0.02, 500)) * np.where(np.arange(500) < 300, 1, 2)
    assert spikes(stepped, 6, 1.2, 0.05).places.size == 0


def test_a_loss_below_zero_has_no_ratio_but_spikes() -> None:
    values = RNG.normal(-0.2, 0.02, 500)
    values[400] = 1.0
    found = spikes(values, 6, 1.2, 0.05)
    assert not found.is_ratio
    assert found.places.tolist() == [400]
    assert found.ratios[0] == pytest.approx(1.2, abs=0.1)


def test_a_falling_curve_has_no_spike() -> None:
    """Where a z-score over the whole run finds the whole start."""
    values = 1 + 10 / np.sqrt(np.arange(1, 2_001)) * np.exp(RNG.normal(0, 0.01, 2_000))
    assert (values > values.mean() + 3 * values.std()).any()
    assert spikes(values, 6, 1.2, 0.05).places.size == 0
