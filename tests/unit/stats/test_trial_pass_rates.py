"""pass@k and pass^k of models; nothing is pooled and nothing is mixed."""

import polars as pl
import pytest

from run_assets.stats.trial_pass_rates import trial_pass_rates
from tests.support.trials import trials_of


def value(rates: pl.DataFrame, **keys: object) -> float | None:
    found = rates.filter(**keys)
    assert found.height == 1
    estimate: float | None = found["estimate"].item()
    return estimate


def test_tasks_are_averaged_not_pooled() -> None:
    trials = trials_of({("a", "always"): (8, 8), ("a", "never"): (0, 8)})
    rates = trial_pass_rates(trials, k=(8,))
    assert value(rates, task="*", statistic="pass@k") == 0.5
    assert value(rates, task="*", statistic="pass^k") == 0.5


def test_pass_at_1_is_a_probability_and_stands_beside_any_success() -> None:
    rates = trial_pass_rates(trials_of({("a", "t"): (2, 8)}), k=(1,))
    one = rates.filter(task="*", statistic="pass@k").row(0, named=True)
    assert (one["estimate"], one["any_success_rate"]) == (0.25, 1.0)


def test_fewer_trials_than_k_is_no_estimate_and_says_why() -> None:
    trials = trials_of({("a", "long"): (3, 8), ("a", "short"): (1, 2)})
    rates = trial_pass_rates(trials, k=(1, 3))
    assert value(rates, task="*", statistic="pass@k", k=1) == (3 / 8 + 1 / 2) / 2
    total = rates.filter(task="*", statistic="pass@k", k=3)
    assert total["estimate"].item() is None
    assert "1 of 2 tasks have fewer than k = 3" in total["notes"].item()
    assert value(rates, task="long", statistic="pass@k", k=3) == pytest.approx(
        1 - 10 / 56
    )


def test_a_cell_that_was_stopped_early_is_never_mixed_in() -> None:
    whole = trials_of({("a", "t"): (3, 8), ("b", "t"): (1, 8), ("b", "u"): (1, 8)})
    stopped = trials_of({("a", "u"): (1, 2)}, is_stopped_early=True)
    rates = trial_pass_rates(pl.concat([whole, stopped]), k=(1,))
    assert value(rates, model="a", task="*", statistic="pass@k") is None
    assert value(rates, model="a", task="u", statistic="pass@k") is None
    assert value(rates, model="a", task="t", statistic="pass@k") == 3 / 8
    assert value(rates, model="b", task="*", statistic="pass@k") == 1 / 8
    assert rates.filter(model="a", task="*")["is_stopped_early"].all()


def test_stopping_at_the_first_success_would_have_been_biased() -> None:
    """The trap: the same estimator on such data says much too much."""
    rate, limit = 0.2, 8
    # Of limit trials made until the first success, the mean of c / n.
    stopped = sum((1 - rate) ** (n - 1) * rate / n for n in range(1, limit + 1))
    assert stopped > 1.8 * rate
