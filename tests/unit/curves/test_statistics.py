"""Scores, scales, folds, stack, calibration and effects against independent oracles."""

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.stats import norm, spearmanr
from sklearn.metrics import r2_score

from run_assets.curves.calibration import calibrate, weighted_quantiles
from run_assets.curves.conditioning import conditional, fit_conditioning
from run_assets.curves.environments import fit_environment_effects
from run_assets.curves.examples import Floats, Forecast
from run_assets.curves.folds import fold_numbers, splits, twin_labels
from run_assets.curves.scores import (
    LEVELS,
    covered,
    crps,
    final_value,
    mean_absolute_error,
    r_squared,
    rank_correlation_inside,
    spearman,
)
from run_assets.curves.shapes import Shapes, fit_shapes
from run_assets.curves.stack import fit_stack
from run_assets.curves.targets import CLIP, TargetScale, fit_target_scale
from run_assets.strict import Bounds

RNG = np.random.default_rng(7)


def test_crps_is_that_of_the_normal_distribution() -> None:
    # Source: Gneiting et al. 2005, the closed form for a normal forecast.
    truth = RNG.normal(size=(50, 1)) * 2
    quantiles = np.tile(norm.ppf(LEVELS)[:, None, None], (1, 50, 1))
    z = truth[:, 0]
    exact = z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)
    # The outermost quantiles are those of 2.5 %: beyond, a little is missing.
    assert crps(truth, quantiles) == pytest.approx(exact, rel=0.03, abs=0.03)
    assert crps(truth, quantiles).mean() == pytest.approx(exact.mean(), rel=0.02)


def test_crps_of_a_certain_forecast_is_its_absolute_error() -> None:
    quantiles = np.zeros((len(LEVELS), 1, 2))
    assert crps(np.array([[3.0, np.nan]]), quantiles)[0] == pytest.approx(3 * 0.975)


def test_unknown_points_count_nowhere() -> None:
    empty = np.full((2, 3), np.nan)
    assert np.isnan(crps(empty, np.zeros((len(LEVELS), 2, 3)))).all()
    assert np.isnan(mean_absolute_error(empty, np.zeros((2, 3))))
    assert np.isnan(r_squared(empty, np.zeros((2, 3)), np.zeros(3)))
    assert np.isnan(covered(empty, np.zeros((2, 3)), np.zeros((2, 3)))).all()
    assert np.isnan(final_value(empty)).all()


def test_r_squared_is_that_of_scikit_learn() -> None:
    truth, guess = RNG.normal(size=(40, 1)), RNG.normal(size=(40, 1))
    ours = r_squared(truth, guess, np.array([truth.mean()]))
    assert ours == pytest.approx(r2_score(truth, guess))


def test_rank_correlation_is_that_of_scipy_with_ties() -> None:
    these, those = RNG.integers(5, size=(2, 30)).astype(float)
    assert spearman(these, those) == pytest.approx(spearmanr(these, those).statistic)
    assert np.isnan(spearman(np.ones(3), np.arange(3.0)))


def test_a_constant_guess_ranks_nothing_inside_an_environment() -> None:
    truth = RNG.normal(size=(6, 10))
    names = np.array(["a"] * 3 + ["b"] * 3)
    assert rank_correlation_inside(truth, np.zeros((6, 10)), names) == 0.0
    assert rank_correlation_inside(truth, truth, names) == pytest.approx(1.0)


def test_anchors_are_zero_and_one_and_there_is_a_way_back() -> None:
    curves = np.array([[1.0, 5.0], [2.0, 9.0]])
    tasks = np.array(["a", "b"])
    scale = fit_target_scale(
        curves, tasks, {"a": Bounds(low=1, high=5)}, is_maximized=True
    )
    targets = scale.scale(curves, tasks)
    assert targets[0].tolist() == [0.0, 1.0]
    assert scale.unscale(targets, tasks) == pytest.approx(curves)
    assert TargetScale.from_state(scale.state()).scale(curves, tasks) == pytest.approx(
        targets
    )


def test_a_minimized_reward_is_turned_round() -> None:
    curves, tasks = np.array([[10.0, 2.0]]), np.array(["a"])
    anchors = {"a": Bounds(low=2, high=10)}
    scale = fit_target_scale(curves, tasks, anchors, is_maximized=False)
    assert scale.scale(curves, tasks).tolist() == [[0.0, 1.0]]


def test_a_run_that_diverged_is_clipped_and_told() -> None:
    curves = np.vstack([np.tile(np.linspace(0, 1, 20), (30, 1)), np.full((1, 20), 1e9)])
    tasks = np.full(31, "a")
    scale = fit_target_scale(curves, tasks, {}, is_maximized=True)
    assert scale.scale(curves, tasks).max() == CLIP[1]
    assert scale.is_clipped(curves, tasks).tolist() == [False] * 30 + [True]


def test_folds_keep_groups_together_and_have_one_size() -> None:
    groups = np.array([f"g{number % 12}" for number in range(60)])
    numbers = fold_numbers(groups, 4, seed=1)
    assert all(len(set(numbers[groups == one])) == 1 for one in set(groups))
    assert np.bincount(numbers).tolist() == [15] * 4
    held = np.concatenate([held for _, held in splits(numbers)])
    assert sorted(held.tolist()) == list(range(60))


def test_seeds_of_one_configuration_are_twins() -> None:
    labels = twin_labels(np.array([[1.0, 2.0], [3.0, 2.0], [1.0, 2.0]]))
    assert labels[0] == labels[2] != labels[1]


def members(truth: Floats) -> dict[str, Forecast]:
    noise = RNG.normal(0, 0.3, (2, *truth.shape))
    ones = np.ones(truth.shape)
    return {
        "extra_trees": Forecast(truth + noise[0], 0.3 * ones),
        "variational": Forecast(truth + noise[1], 0.3 * ones),
        "mean_curve": Forecast(RNG.normal(size=truth.shape), ones),
    }


def test_weights_are_those_of_scipy_up_to_the_resamples() -> None:
    truth = RNG.normal(size=(2_000, 20))
    told = members(truth)
    groups = np.char.mod("%d", np.arange(2_000))
    stack = fit_stack(told, truth, groups, seed=0)
    columns = np.stack([one.mean.ravel() for one in told.values()], axis=1)
    exact, _ = nnls(columns, truth.ravel())
    assert stack.weights == pytest.approx(exact, abs=0.03)


def test_a_member_that_does_not_help_has_no_weight() -> None:
    truth = RNG.normal(size=(400, 20))
    stack = fit_stack(members(truth), truth, np.repeat(["a", "b"], 200), seed=0)
    assert dict(zip(stack.members, stack.weights, strict=True))["mean_curve"] < 0.02


def test_the_stack_knows_how_far_it_is_off() -> None:
    truth = RNG.normal(size=(1_000, 20))
    told = members(truth)
    groups = np.char.mod("%d", np.arange(1_000))
    forecast = fit_stack(told, truth, groups, seed=0).combine(told)
    z = (truth - forecast.mean) / forecast.sd
    assert np.sqrt((z**2).mean()) == pytest.approx(1.0, abs=0.05)


def test_quantiles_of_equal_weights_are_the_usual_ones() -> None:
    values = RNG.normal(size=(500, 4))
    found = weighted_quantiles(values, np.ones(500), 10**9)
    usual = np.quantile(values, LEVELS, method="hazen")
    assert found == pytest.approx(usual, abs=1e-6)


def test_few_groups_widen_the_intervals() -> None:
    values = RNG.normal(size=(500, 4))
    few, many = (weighted_quantiles(values, np.ones(500), one) for one in (5, 10**9))
    assert few[0] < many[0]
    assert few[-1] > many[-1]


def test_new_environments_are_covered_on_average() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(60):
        # Environments differ in how far off their forecasts are.
        scale = rng.gamma(2, 0.5, 41)
        z = rng.normal(size=(41 * 8, 10)) * np.repeat(scale, 8)[:, None]
        names = np.repeat([f"e{number}" for number in range(41)], 8)
        seen = names != "e40"
        levels = calibrate(z[seen], names[seen], by_environment=True).at(10)
        held = z[~seen]
        shares.append(((held >= levels[1]) & (held <= levels[-2])).mean())
    assert 0.86 < np.mean(shares) < 0.95


def test_an_environment_with_wild_runs_has_wider_intervals() -> None:
    z = np.vstack([RNG.normal(size=(100, 10)), 4 * RNG.normal(size=(100, 10))])
    names = np.repeat(["calm", "wild"], 100)
    found = calibrate(z, names, by_environment=False)
    calm, wild = found.factor(np.array(["calm", "wild"])).ravel()
    assert wild > 2 * calm
    assert found.factor(np.array(["never seen"])).tolist() == [[1.0]]


def test_conditioning_is_that_of_the_joint_normal() -> None:
    a = RNG.normal(size=(6, 6))
    covariance = a @ a.T + np.eye(6)
    mask = np.array([True, False, True, False, False, True])
    z = RNG.normal(size=(1, 3))
    means, share = conditional(covariance, mask, z)
    # Oracle: the precision matrix' block form, with the jitter on what is known.
    whole = covariance + np.diag(np.where(mask, 1e-3, 0.0))
    precision = np.linalg.inv(whole)
    inside = np.linalg.inv(precision[np.ix_(~mask, ~mask)])
    exact = -inside @ precision[np.ix_(~mask, mask)] @ z[0]
    assert means[0] == pytest.approx(exact)
    variances = np.diag(inside) / np.diag(covariance)[~mask]
    assert share == pytest.approx(np.sqrt(variances))


def test_a_curve_keeps_what_is_known_and_its_rest_is_closer_to_the_truth() -> None:
    rng = np.random.default_rng(5)
    at = np.linspace(0, 1, 30)
    truth = rng.normal(1, 0.5, (200, 1)) * at + rng.normal(0, 0.02, (200, 30))
    prior = Forecast(np.tile(at, (200, 1)), np.full((200, 30), 0.3))
    fitted = fit_conditioning(prior, truth)
    observed = truth.copy()
    observed[:, 12:] = np.nan
    moved, quantiles = fitted.predict(prior, observed)
    assert (moved.mean[:, :12] == truth[:, :12]).all()
    before = np.abs(prior.mean - truth)[:, 12:].mean()
    assert np.abs(moved.mean - truth)[:, 12:].mean() < before / 2
    inside = (truth >= quantiles[1]) & (truth <= quantiles[-2])
    assert 0.84 < inside[:, 12:].mean() < 0.99
    assert (np.diff(quantiles, axis=0) >= -1e-9).all()


def test_an_interval_has_the_form_of_what_happened_to_similar_forecasts() -> None:
    rng = np.random.default_rng(8)
    level = np.repeat([0.0, 1.0], 400)[:, None] * np.ones((800, 30))
    # Those expected at the top only fall short, those at the bottom only surprise.
    gaps = np.abs(rng.normal(0, 0.2, (800, 1))) * np.where(level > 0.5, -1, 1)
    prior = Forecast(level, np.full((800, 30), 0.2))
    shapes = fit_shapes(prior, level + gaps)
    assert shapes is not None
    asked = Forecast(level[[0, -1]], prior.sd[[0, -1]])
    quantiles = shapes.quantiles(asked)
    assert (quantiles[:, 0] >= -1e-9).all()
    assert (quantiles[:, 1] <= 1 + 1e-9).all()
    exact = 0.2 * norm.ppf(0.95)
    assert quantiles[35, 0].mean() == pytest.approx(exact, rel=0.25)
    again = Shapes.from_state(shapes.state())
    assert (again.quantiles(asked) == quantiles).all()
    assert fit_shapes(Forecast(level[:100], prior.sd[:100]), level[:100]) is None


def test_effects_of_environments_are_told_from_noise() -> None:
    rng = np.random.default_rng(2)
    names = np.repeat([f"e{number}" for number in range(200)], 10)
    effect = np.repeat(rng.normal(0, 0.8, 200), 10)
    shape = np.ones(20) / np.sqrt(20)
    scores = effect + rng.normal(0, 0.5, 2_000)
    fitted = fit_environment_effects(scores[:, None] * shape, names)
    assert fitted.between[0] == pytest.approx(0.64, rel=0.2)
    assert fitted.within[0] == pytest.approx(0.25, rel=0.1)
    # Oracle: the posterior mean of a normal mean with a known prior.
    assert fitted.shrinkage(4)[0] == pytest.approx(0.64 / (0.64 + 0.25 / 4), rel=0.05)
    prior = Forecast(np.zeros((1, 20)), np.ones((1, 20)))
    moved = fitted.update(prior, np.tile(2.0 * shape, (4, 1)))
    share = fitted.shrinkage(4)[0]
    assert moved.mean[0] == pytest.approx(share * 2.0 * shape, abs=0.05)
    assert (moved.sd < prior.sd).all()
    assert (fitted.update(prior, np.empty((0, 20))).mean == 0).all()
