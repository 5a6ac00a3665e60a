"""Evaluation statistics against exact arithmetic, published figures and statsmodels."""

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import (  # type: ignore[import-untyped]
    proportion_confint,
)

from run_assets.stats.success_rates import wilson_interval
from run_assets.stats.trial_pass_rates import trial_pass_rates
from tests.support.trials import trials_of


def estimate(counts: dict[str, tuple[int, int]], statistic: str, k: int) -> float:
    trials = trials_of({("m", task): one for task, one in counts.items()})
    rates = trial_pass_rates(trials, k=(k,))
    value: float = rates.filter(task="*", statistic=statistic)["estimate"].item()
    return value


@pytest.mark.parametrize(("n", "c"), [(8, 0), (8, 3), (8, 8), (5, 1), (6, 3)])
def test_rates_are_shares_of_all_sets_of_k_trials(n: int, c: int) -> None:
    """Every set of k of n trials, counted one by one."""
    outcomes = [i >= n - c for i in range(n)]
    for k in range(1, n + 1):
        sets = [[outcomes[i] for i in chosen] for chosen in combinations(range(n), k)]
        some = Fraction(sum(map(any, sets)), len(sets))
        every = Fraction(sum(map(all, sets)), len(sets))
        assert estimate({"t": (c, n)}, "pass@k", k) == float(some)
        assert estimate({"t": (c, n)}, "pass^k", k) == float(every)


def humaneval_estimator(n: int, c: int, k: int) -> float:
    """As printed in figure 3 of Chen et al. 2021 (arXiv 2107.03374)."""
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


@pytest.mark.parametrize("k", [1, 10, 100])
def test_the_estimator_of_humaneval(k: int) -> None:
    """200 samples of each problem, as there; product form, equal to 1e-12."""
    rng = np.random.default_rng(0)
    counts = {f"p{i}": (int(c), 200) for i, c in enumerate(rng.binomial(200, 0.1, 20))}
    expected = np.mean([humaneval_estimator(n, c, k) for c, n in counts.values()])
    assert estimate(counts, "pass@k", k) == pytest.approx(expected, abs=1e-12)


def test_the_product_form_is_not_exact_and_ours_is() -> None:
    assert humaneval_estimator(6, 3, 1) != 0.5
    assert estimate({"t": (3, 6)}, "pass@k", 1) == 0.5


def test_pooling_trials_over_tasks_says_too_much() -> None:
    """Two tasks, one always and one never solved: half, not 0.99992."""
    counts = {"always": (8, 8), "never": (0, 8)}
    pooled = 1 - Fraction(comb(8, 8), comb(16, 8))
    assert float(pooled) == pytest.approx(0.99992, abs=1e-5)
    assert estimate(counts, "pass@k", 8) == 0.5


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("c", "n"), [(0, 1), (0, 8), (2, 8), (8, 8), (57, 1000)])
def test_wilson_intervals_are_those_of_statsmodels(
    c: int, n: int, confidence: float
) -> None:
    expected = proportion_confint(c, n, alpha=1 - confidence, method="wilson")
    assert wilson_interval(c, n, confidence) == pytest.approx(expected, abs=1e-12)


def test_estimates_are_unbiased_over_many_experiments() -> None:
    """The mean over experiments is the true chance, for pass@3 and pass^3."""
    rng = np.random.default_rng(1)
    rates, n, k = np.array([0.1, 0.5, 0.8]), 6, 3
    frames = [
        trials_of(
            {
                (f"e{e}", f"t{t}"): (int(rng.binomial(n, p)), n)
                for t, p in enumerate(rates)
            }
        )
        for e in range(800)
    ]
    found = trial_pass_rates(pl.concat(frames), k=(k,)).filter(task="*")
    means = dict(found.group_by("statistic").agg(pl.col("estimate").mean()).rows())
    assert means["pass@k"] == pytest.approx(np.mean(1 - (1 - rates) ** k), abs=0.02)
    assert means["pass^k"] == pytest.approx(np.mean(rates**k), abs=0.02)
