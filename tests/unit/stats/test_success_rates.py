"""Rates of cells and totals; what happens to cells that were stopped early."""

import polars as pl
import pytest
from scipy.stats import binomtest

from run_assets.errors import UsageError
from run_assets.stats.success_rates import (
    first_success_bound,
    success_rates,
    wilson_interval,
)
from tests.support.trials import trials_of

TWO = {("a", "easy"): (4, 4), ("a", "hard"): (1, 8), ("b", "easy"): (2, 4)}


def row(rates: pl.DataFrame, model: str, task: str) -> dict[str, object]:
    return rates.filter(model=model, task=task).row(0, named=True)


def test_a_total_is_the_mean_over_tasks_not_over_trials() -> None:
    total = row(success_rates(trials_of(TWO)), "a", "*")
    assert total["estimate"] == pytest.approx((1 + 1 / 8) / 2)
    assert (total["n_trials"], total["n_successes"], total["n_tasks"]) == (12, 5, 2)


@pytest.mark.parametrize(("c", "n"), [(0, 5), (1, 5), (5, 5), (37, 200)])
def test_a_cell_has_the_interval_of_wilson(c: int, n: int) -> None:
    low, high = wilson_interval(c, n, 0.9)
    expected = binomtest(c, n).proportion_ci(0.9, method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize(("c", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_refused(c: int, n: int) -> None:
    with pytest.raises(UsageError, match=f"got {c} of {n}"):
        wilson_interval(c, n, 0.95)


def test_any_success_is_beside_the_rate_and_is_another_number() -> None:
    total = row(success_rates(trials_of({("a", "t"): (2, 8)})), "a", "*")
    assert (total["any_success_rate"], total["estimate"]) == (1.0, 0.25)


def test_a_cell_that_was_stopped_early_has_a_bound_and_spoils_the_total() -> None:
    stopped = trials_of({("a", "luck"): (1, 3)}, is_stopped_early=True)
    rates = success_rates(pl.concat([trials_of(TWO), stopped]))
    cell, total = row(rates, "a", "luck"), row(rates, "a", "*")
    assert cell["estimate"] is None
    assert cell["lower_bound"] == first_success_bound(3, 0.95)
    assert total["estimate"] is None
    assert "1 of 3 tasks were stopped" in str(total["notes"])
    assert row(rates, "b", "*")["estimate"] == 0.5


@pytest.mark.parametrize("n", [1, 2, 7])
def test_at_the_bound_so_early_a_success_is_as_rare_as_promised(n: int) -> None:
    rate = first_success_bound(n, 0.95)
    assert 1 - (1 - rate) ** n == pytest.approx(0.05)
