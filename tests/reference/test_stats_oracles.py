"""Our statistics against other software on the same data or the same draws.

Tolerances: 1e-12 where both sides compute the same number; where both draw at random,
what 20,000 resamples leave of Monte-Carlo error.
"""

from fractions import Fraction
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
from numpy.typing import NDArray
from statsmodels.regression.linear_model import (  # type: ignore[import-untyped]  # no types
    OLS,
)
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


def test_holm_gives_the_adjusted_values_of_a_published_example() -> None:
    # Source: Wikipedia, "Holm-Bonferroni method", section "Example": at level 0.05 the
    # first and the last of the four hypotheses are rejected, the others are not.
    adjusted = stats.adjust_p_values([0.01, 0.04, 0.03, 0.005], correction="holm")
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


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


@pytest.mark.parametrize("alternative", ["less", "greater"])
@pytest.mark.parametrize("n", [7, 60])
def test_one_sided_tests_are_those_of_scipy(alternative: str, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(0, 1, n), rng.normal(0.3, 1, n)
    paired, unpaired = Samples(x, y, paired=True), Samples(x, y, paired=False)
    rank_sum = scipy.stats.mannwhitneyu(x, y, alternative=alternative)
    for name, samples, theirs in (
        ("wilcoxon", paired, scipy.stats.wilcoxon(x, y, alternative=alternative)),
        ("ttest", paired, scipy.stats.ttest_rel(x, y, alternative=alternative)),
        ("mannwhitney", unpaired, rank_sum),
        ("ttest", unpaired, scipy.stats.ttest_ind(x, y, alternative=alternative)),
        (
            "welch",
            unpaired,
            scipy.stats.ttest_ind(x, y, equal_var=False, alternative=alternative),
        ),
    ):
        ours = TESTS[name](samples, alternative)
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-12)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-10)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_exact_permutation_tests_are_those_of_scipy(alternative: str) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.lognormal(0.5, 0.5, 5), rng.lognormal(0, 0.5, 6)
    for paired, kind in ((False, "independent"), (True, "samples")):
        sides = (x, y[:5]) if paired else (x, y)
        theirs = scipy.stats.permutation_test(
            sides,
            lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
            permutation_type=kind,
            alternative=alternative,
            n_resamples=np.inf,
            vectorized=True,
        )
        scores = pl.concat(
            long(side[:, None], name).with_columns(seed=pl.int_range(pl.len()))
            for side, name in zip(sides, "xy", strict=True)
        )
        row = stats.compare_groups(
            scores,
            test="permutation",
            alternative=alternative,
            paired_by="seed" if paired else None,
        ).row(0, named=True)
        assert row["statistic"] == pytest.approx(theirs.statistic, rel=1e-12)
        assert row["p_value"] == pytest.approx(theirs.pvalue, rel=1e-12)


def test_a_stratified_permutation_test_enumerates_every_task() -> None:
    scores = {"one": [3.0, 4.5, 1.0, 2.0], "two": [9.0, 7.5, 8.0, 6.0, 7.0]}
    n_x = {"one": 2, "two": 3}

    def difference(task: str, chosen: tuple[int, ...]) -> float:
        values = np.array(scores[task])
        is_x = np.isin(np.arange(values.size), chosen)
        return float(values[is_x].mean() - values[~is_x].mean())

    everything = np.array(
        [
            (difference("one", first) + difference("two", second)) / 2
            for first in combinations(range(4), 2)
            for second in combinations(range(5), 3)
        ]
    )
    observed = (difference("one", (0, 1)) + difference("two", (0, 1, 2))) / 2
    expected = (everything >= observed - 1e-12).mean()
    rows = [
        ("x" if at < n_x[task] else "y", task, f"{task}{at}", value)
        for task, values in scores.items()
        for at, value in enumerate(values)
    ]
    frame = pl.DataFrame(
        rows, schema=["group_name", "task", "run_path", "score"], orient="row"
    )
    row = stats.compare_groups(frame, test="permutation", alternative="greater").row(
        0, named=True
    )
    assert row["statistic"] == pytest.approx(observed, rel=1e-12)
    assert row["p_value"] == pytest.approx(expected, rel=1e-12)


def test_sampled_permutations_agree_with_all_of_them() -> None:
    rng = np.random.default_rng(4)
    scores = pl.concat(
        [long(rng.normal(0.5, 1, (5, 2)), "x"), long(rng.normal(0, 1, (5, 2)), "y")]
    )
    exact, sampled = (
        stats.compare_groups(scores, test="permutation", resamples=resamples)[
            "p_value"
        ].item()
        for resamples in (252**2, 20_000)
    )
    # Five standard errors of a share of 20,000, doubled for two sides.
    error = 2 * np.sqrt(exact / 2 * (1 - exact / 2) / 20_000)
    assert sampled == pytest.approx(exact, abs=5 * error)


def test_clustered_standard_errors_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(5)
    cluster = rng.integers(0, 12, 80)
    base = rng.normal(size=12)[cluster]
    values = {name: base + rng.normal(size=80) for name in ("x", "y")}
    difference = values["x"] - values["y"]
    theirs = OLS(difference, np.ones(80)).fit(
        cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True
    )
    frame = pl.concat(
        pl.DataFrame(
            {
                "group_name": name,
                "item": range(80),
                "cluster": cluster,
                "score": scores,
            }
        )
        for name, scores in values.items()
    )
    row = stats.paired_difference(frame, item="item", cluster="cluster").row(
        0, named=True
    )
    assert row["standard_error"] == pytest.approx(theirs.bse[0], rel=1e-10)
    assert row["p_value"] == pytest.approx(theirs.pvalues[0], rel=1e-10)
    low, high = theirs.conf_int()[0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), rel=1e-10)


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_rates_are_those_of_every_set_of_k_trials(n: int) -> None:
    for c in range(n + 1):
        trials = pl.DataFrame({"task": "t", "passed": [at < c for at in range(n)]})
        for k in range(1, n + 1):
            sets = list(combinations(range(n), k))
            any_of = Fraction(sum(min(one) < c for one in sets), len(sets))
            all_of = Fraction(sum(max(one) < c for one in sets), len(sets))
            options: dict[str, Any] = {"task": "task", "success": "passed", "k": k}
            found = stats.pass_at_k(trials, **options)["estimate"].item()
            assert found == float(any_of)
            found = stats.pass_hat_k(trials, **options)["estimate"].item()
            assert found == float(all_of)


def test_pass_at_1_of_humanevals_example_is_exactly_a_half() -> None:
    # Source: openai/human-eval, README: 6 samples of one problem, 3 of them right, give
    # pass@1 0.4999999999999999 by its product form.
    trials = pl.DataFrame({"task": ["HumanEval/0"] * 6, "passed": [True, False] * 3})
    result = stats.pass_at_k(trials, task="task", success="passed", k=1)
    assert result["estimate"].item() == 0.5


def test_pass_rates_of_many_tasks_are_the_rational_mean() -> None:
    rng = np.random.default_rng(6)
    counts = [(int(n), int(rng.integers(0, n + 1))) for n in rng.integers(5, 30, 40)]
    trials = pl.DataFrame(
        [(f"t{i}", at < c) for i, (n, c) in enumerate(counts) for at in range(n)],
        schema=["task", "passed"],
        orient="row",
    )
    exact = sum(
        (1 - Fraction(comb(n - c, 5), comb(n, 5)) for n, c in counts), Fraction()
    ) / len(counts)
    result = stats.pass_at_k(trials, task="task", success="passed", k=5)
    assert result["estimate"].item() == float(exact)


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
