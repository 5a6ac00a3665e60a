"""Known answers of laws of scale, their refusals and their tables."""

import numpy as np
import pytest

from run_assets.diagnostics.laws import scaling_fits
from run_assets.diagnostics.model import Run
from run_assets.diagnostics.power_law import (
    exponent_intervals,
    fit_log_linear,
    fit_power_law,
    fit_without_offset,
    fits,
    refusal,
)
from run_assets.errors import ContractError
from tests.unit.diagnostics.conftest import MakeRun

X = np.geomspace(1, 1e4, 40)


def noisy(y: np.ndarray, sd: float, seed: int = 0) -> np.ndarray:
    return np.asarray(y * np.exp(np.random.default_rng(seed).normal(0, sd, y.size)))


def test_a_law_without_noise_is_recovered_exactly() -> None:
    law = fit_power_law(X, y=1.8 + 3 * X**-0.35)
    assert law.offset == pytest.approx(1.8, rel=1e-4)
    assert law.factors[0] == pytest.approx(3, rel=1e-3)
    assert law.exponents[0] == pytest.approx(0.35, rel=1e-3)
    assert law.at(X) == pytest.approx(1.8 + 3 * X**-0.35, rel=1e-4)


def test_the_interval_holds_the_exponent_it_was_drawn_from() -> None:
    hits = 0
    for seed in range(40):
        y = noisy(1.8 + 3 * X**-0.35, 0.01, seed)
        law = fit_power_law(X, y=y)
        rng = np.random.default_rng(seed)
        ((low, high),) = exponent_intervals(law, X, resamples=100, rng=rng)
        hits += bool(low <= 0.35 <= high)
    assert hits >= 33  # 95 % of 40, less four standard errors


def test_a_tenth_of_outliers_does_not_move_it() -> None:
    y = noisy(1.8 + 3 * X**-0.35, 0.005)
    y[::10] *= 1.5
    assert fit_power_law(X, y=y).exponents[0] == pytest.approx(0.35, abs=0.04)


def test_ignoring_the_offset_finds_too_small_an_exponent() -> None:
    y = noisy(1.8 + 3 * X**-0.35, 0.005)
    assert fit_without_offset(X, y).exponents[0] < 0.15
    assert fits(X, y)[0].form == "power_law_with_offset"


def test_the_form_it_was_drawn_from_comes_first() -> None:
    pure = {law.form: law.aicc for law in fits(X, noisy(3 * X**-0.3, 0.02))}
    assert pure["power_law"] < pure["power_law_with_offset"] + 4
    assert pure["power_law"] < pure["log_linear"] - 50
    assert fits(X, noisy(5 + np.log(X), 0.002))[0].form == "log_linear"


def test_parameters_and_tokens_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    n, d = 10 ** rng.uniform(7, 10, 80), 10 ** rng.uniform(9, 11.5, 80)
    y = noisy(1.7 + 400 / n**0.34 + 410 / d**0.28, 0.002)
    law = fit_power_law(n, d, y=y)
    assert law.exponents == pytest.approx((0.34, 0.28), abs=0.02)
    assert law.offset == pytest.approx(1.7, abs=0.05)


def test_a_rising_law_has_a_negative_exponent() -> None:
    law = fit_power_law(X, y=noisy(1 + 0.5 * X**0.4, 0.01))
    assert law.exponents[0] == pytest.approx(-0.4, abs=0.05)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.geomspace(1, 1e4, 7), "needs at least 8 points, has 7"),
        (np.geomspace(1, 20, 30), "needs 1.5 decades of compute, has 1.30"),
    ],
)
def test_too_little_is_refused(x: np.ndarray, reason: str) -> None:
    assert refusal(x) == reason


def test_enough_is_not_refused() -> None:
    assert refusal(X) is None


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_what_has_no_logarithm_is_an_error(bad: float) -> None:
    y = X.copy()
    y[3] = bad
    for fit in (fit_without_offset, fit_log_linear):
        with pytest.raises(ContractError, match="positive"):
            fit(X, y)
    with pytest.raises(ContractError, match="positive"):
        fit_power_law(X, y=y)


def scaled_run(make_run: MakeRun, at: int, n: float, tokens: float) -> Run:
    from dataclasses import replace

    compute = np.geomspace(1, 1e3, 30) * (1 + at)
    final = 1.7 + 40 / n**0.34 + 41 / tokens**0.28
    run = make_run(
        {
            "power_law/cumulative_simulated_years": compute,
            "loss": np.append(noisy(2 + 3 * compute**-0.3, 0.003, at)[:-1], final),
            "tokens_seen": np.linspace(1, tokens, 30),
        },
        config={"model.n_parameters": str(n)},
    )
    return replace(run, path=f"lab/scale/r{at}")


def test_runs_are_fitted_alone_and_together_and_say_how_to_spend_compute(
    make_run: MakeRun,
) -> None:
    rng = np.random.default_rng(4)
    runs = [
        scaled_run(make_run, at, 10 ** rng.uniform(3, 6), 10 ** rng.uniform(4, 7))
        for at in range(8)
    ]
    found = scaling_fits(runs)
    assert set(found["scope"]) == {"lab/scale", *(one.path for one in runs)}
    best = found.filter(scope="lab/scale", term="compute", aicc_behind=0.0)
    assert best.height == 1
    assert best["n_runs"].item() == 8
    shares = dict(
        found.filter(scope="lab/scale")
        .filter(term="parameters")
        .select("term", "allocation")
        .rows()
    )
    assert shares["parameters"] == pytest.approx(0.28 / (0.34 + 0.28), abs=0.05)
    assert found.equals(scaling_fits(runs))  # same input, same numbers


def test_a_run_without_enough_compute_is_a_row_with_a_reason(make_run: MakeRun) -> None:
    run = make_run(
        {
            "power_law/cumulative_simulated_years": np.arange(1.0, 6.0),
            "loss": np.ones(5),
        }
    )
    found = scaling_fits([run])
    assert found["notes"].to_list() == ["needs at least 8 points, has 5"]
    assert scaling_fits([make_run({"loss": np.ones(5)})]).is_empty()
