"""Our statistics against other software on the same data or the same draws.

Tolerances: 1e-12 where both sides compute the same number; where both draw at random,
what 20,000 resamples leave of Monte-Carlo error.
"""

import numpy as np
import polars as pl
import pytest
import scipy.stats
from numpy.typing import NDArray
from statsmodels.stats.multitest import (  # type: ignore[import-untyped]  # no types
    multipletests,
)

from run_assets import stats
from run_assets.stats.aggregate import STATISTICS
from run_assets.stats.resampling import resample_counts
from run_assets.stats.samples import Strata
from run_assets.stats.significance import TESTS, Samples, cohen_d

Float64Array = NDArray[np.float64]

SIZES = [(5, 3), (10, 26), (7, 1), (2, 4), (100, 2)]


def matrix(n_runs: int, n_tasks: int, seed: int = 1) -> Float64Array:
    """Skewed scores of shape ``(runs, tasks)`` with a level for each task."""
    rng = np.random.default_rng((seed, n_runs, n_tasks))
    levels = rng.uniform(0, 3, n_tasks)
    return np.asarray(rng.lognormal(levels, 0.5, (n_runs, n_tasks)))


def long(scores: Float64Array, name: str = "a") -> pl.DataFrame:
    n_runs, n_tasks = scores.shape
    return pl.DataFrame(
        {
            "group_name": name,
            "task": np.tile([f"task {i:03}" for i in range(n_tasks)], n_runs),
            "run_path": [f"{name}/{i}" for i in range(scores.size)],
            "score": scores.ravel(),
        }
    )


def rliable_metrics(scores: Float64Array) -> dict[str, float]:
    """The definitions of rliable's metrics on a full matrix, by scipy and numpy."""
    return {
        "iqm": float(scipy.stats.trim_mean(scores, 0.25, axis=None)),
        "mean": float(np.mean(np.mean(scores, axis=0))),
        "median": float(np.median(np.mean(scores, axis=0))),
        "optimality_gap": float(4.0 - np.mean(np.minimum(scores, 4.0))),
    }


@pytest.mark.parametrize(("n_runs", "n_tasks"), SIZES)
def test_point_estimates_are_those_of_scipy_and_numpy(
    n_runs: int, n_tasks: int
) -> None:
    scores = matrix(n_runs, n_tasks)
    expected = rliable_metrics(scores)
    result = stats.interval_estimates(
        long(scores), statistics=tuple(expected), optimal=4.0, resamples=10
    )
    assert result["estimate"].to_list() == pytest.approx(
        list(expected.values()), rel=1e-12
    )


@pytest.mark.parametrize(("n_runs", "n_tasks"), SIZES)
def test_every_resample_has_the_statistics_of_the_scores_drawn(
    n_runs: int, n_tasks: int
) -> None:
    scores = np.sort(matrix(n_runs, n_tasks), axis=0)
    tasks = tuple(f"task {i:03}" for i in range(n_tasks))
    layout = Strata(tasks, np.full(n_tasks, n_runs), scores.T.ravel())
    counts = np.concatenate(list(resample_counts(layout, seed=5, resamples=40)))
    ours = {name: build(layout)(counts) for name, build in STATISTICS.items()}
    for index, row in enumerate(counts):
        drawn = np.repeat(layout.values, row).reshape(n_tasks, n_runs).T
        expected = rliable_metrics(drawn)
        for name, replicates in ours.items():
            assert replicates[index] == pytest.approx(expected[name], rel=1e-12)


def test_percentile_intervals_agree_with_scipys_bootstrap() -> None:
    scores = matrix(10, 4)

    def pooled_iqm(*tasks: Float64Array, axis: int = -1) -> Float64Array:
        pooled = np.concatenate(np.broadcast_arrays(*tasks), axis=axis)
        return np.asarray(scipy.stats.trim_mean(pooled, 0.25, axis=axis))

    theirs = scipy.stats.bootstrap(
        tuple(scores.T),
        pooled_iqm,
        n_resamples=20_000,
        batch=2_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = stats.interval_estimates(long(scores), statistics=("iqm",), resamples=20_000)
    width = theirs.high - theirs.low
    # A 2.5 % quantile of 20,000 draws has a standard error of about 0.7 % of the
    # width; five of them, for the difference of two such quantiles.
    tolerance = 5 * 0.007 * np.sqrt(2) * width
    assert ours["ci_low"].item() == pytest.approx(theirs.low, abs=tolerance)
    assert ours["ci_high"].item() == pytest.approx(theirs.high, abs=tolerance)


def test_corrected_intervals_cover_more_with_few_runs() -> None:
    # 400 experiments of 3 runs in each of 4 tasks; standard error of a coverage near
    # 0.9 is 0.015. The variance has 8 degrees of freedom, so Student's t with them says
    # 0.85 for percentile (1.96 * sqrt(2/3) standard errors), 0.91 for corrected.
    rng = np.random.default_rng(7)
    frames = [long(rng.normal(size=(3, 4)), f"experiment {i:03}") for i in range(400)]
    covered = {}
    for method in ("percentile", "corrected"):
        result = stats.interval_estimates(
            pl.concat(frames), statistics=("mean",), method=method, resamples=2_000
        )
        inside = pl.lit(0.0).is_between("ci_low", "ci_high").mean()
        covered[method] = result.select(inside).item()
    assert 0.80 < covered["percentile"] < 0.89
    assert 0.87 < covered["corrected"] < 0.95


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("holm", "holm"), ("bonferroni", "bonferroni"), ("bh", "fdr_bh")],
)
@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_corrections_are_those_of_statsmodels(ours: str, theirs: str, n: int) -> None:
    p_values = np.random.default_rng(n).uniform(0, 0.2, n).round(2)  # with ties
    expected = multipletests(p_values, method=theirs)[1]
    adjusted = stats.adjust_p_values(p_values.tolist(), correction=ours)
    np.testing.assert_allclose(np.array(adjusted, dtype=float), expected, rtol=1e-12)


def test_corrections_find_what_the_thrombolysis_example_says() -> None:
    # Source: Benjamini and Hochberg 1995, table of 15 p-values (thrombolysis): at level
    # 0.05 Bonferroni finds 3 effects and their procedure 4.
    p_values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459,
        0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip
    found = {
        name: sum(p is not None and p <= 0.05 for p in adjusted)
        for name in ("bonferroni", "holm", "bh")
        if (adjusted := stats.adjust_p_values(p_values, correction=name))
    }
    assert found == {"bonferroni": 3, "holm": 3, "bh": 4}


@pytest.mark.parametrize(("n_x", "n_y"), [(3, 4), (8, 30), (40, 35), (60, 5)])
def test_unpaired_tests_are_those_of_scipy(n_x: int, n_y: int) -> None:
    rng = np.random.default_rng((n_x, n_y))
    x, y = rng.normal(0, 1, n_x), rng.normal(1, 2, n_y)
    samples = Samples(x, y, paired=False)
    expected = {
        "mannwhitney": scipy.stats.mannwhitneyu(x, y),
        "ttest": scipy.stats.ttest_ind(x, y),
        "welch": scipy.stats.ttest_ind(x, y, equal_var=False),
    }
    for name, theirs in expected.items():
        ours = TESTS[name](samples)
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-12)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-10)


@pytest.mark.parametrize("n", [4, 13, 60])
def test_paired_tests_are_those_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(0, 1, n), rng.normal(0.5, 1, n)
    samples = Samples(x, y, paired=True)
    for name, theirs in (
        ("wilcoxon", scipy.stats.wilcoxon(x, y)),
        ("ttest", scipy.stats.ttest_rel(x, y)),
    ):
        ours = TESTS[name](samples)
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-12)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-10)


def test_a_tied_rank_sum_is_exact_where_the_normal_approximation_is_not() -> None:
    # All 252 assignments of 5 + 5 zero-one scores, enumerated by Fisher's exact test.
    x, y = np.array([1.0, 1, 1, 1, 0]), np.array([0.0, 0, 0, 0, 1])
    ours = TESTS["mannwhitney"](Samples(x, y, paired=False)).p_value
    exact = scipy.stats.fisher_exact([[4, 1], [1, 4]]).pvalue
    assert ours == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("n", [3, 9, 12])
def test_exact_p_values_with_ties_are_those_of_all_permutations(n: int) -> None:
    rng = np.random.default_rng(n)
    every = scipy.stats.PermutationMethod(n_resamples=np.inf)
    x = rng.integers(0, 4, n).astype(np.float64) + 0.5
    y = rng.integers(1, 6, n).astype(np.float64)
    ours = TESTS["wilcoxon"](Samples(x, y, paired=True))
    theirs = scipy.stats.wilcoxon(x, y, method=every)
    assert ours.statistic == theirs.statistic
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-12)
    x, y = x[:5], y[:7]
    ours = TESTS["mannwhitney"](Samples(x, y, paired=False))
    theirs = scipy.stats.mannwhitneyu(x, y, method=every)
    assert ours.statistic == theirs.statistic
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-12)


def test_exact_p_values_without_ties_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, 25), rng.normal(0.4, 1, 25)
    paired, unpaired = Samples(x, y, paired=True), Samples(x, y, paired=False)
    rank_sum = scipy.stats.mannwhitneyu(x, y, method="exact").pvalue
    signed_rank = scipy.stats.wilcoxon(x, y, method="exact").pvalue
    assert TESTS["mannwhitney"](unpaired).p_value == pytest.approx(rank_sum, rel=1e-10)
    assert TESTS["wilcoxon"](paired).p_value == pytest.approx(signed_rank, rel=1e-10)


def test_intervals_of_differences_are_those_of_scipy() -> None:
    x, y = matrix(12, 1).ravel(), matrix(12, 1, seed=2).ravel()
    scores = pl.concat([long(x[:, None], "x"), long(y[:, None], "y")])
    for test, equal in (("welch", False), ("ttest", True)):
        row = stats.compare_groups(scores, test=test, confidence=0.9).row(0, named=True)
        theirs = scipy.stats.ttest_ind(x, y, equal_var=equal).confidence_interval(0.9)
        assert row["ci_low"] == pytest.approx(theirs.low, rel=1e-10)
        assert row["ci_high"] == pytest.approx(theirs.high, rel=1e-10)


def test_cohens_d_recovers_the_t_statistic() -> None:
    # t = d / sqrt(1/n + 1/m) holds exactly for Student's test.
    x, y = matrix(9, 1).ravel(), matrix(14, 1, seed=3).ravel()
    d = cohen_d(Samples(x, y, paired=False))
    assert d is not None
    t = scipy.stats.ttest_ind(x, y).statistic
    assert d / np.sqrt(1 / 9 + 1 / 14) == pytest.approx(t, rel=1e-12)
