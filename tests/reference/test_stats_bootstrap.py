"""Intervals, profiles and comparisons against scipy and rliable's own examples.

Tolerances: 1e-12 where both sides compute the same number; where both draw at random,
what is left of Monte-Carlo error, worked out beside the test.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import scipy.stats
from numpy.typing import NDArray

from run_assets import stats
from run_assets.stats.aggregate import STATISTICS, optimality_gap, point_estimate
from run_assets.stats.improvement import Sides, _lookups, _of_counts
from run_assets.stats.resampling import resample_counts
from run_assets.stats.samples import Strata

Float64Array = NDArray[np.float64]
Statistic = Callable[..., Float64Array]

SKEWED = [[0.1, 0.4, 3.0, 0.2, 7.5], [1.0, 1.5, 9.0, 1.1], [0.2, 0.3, 0.4, 5.0, 0.1, 2]]


def layout(tasks: list[list[float]]) -> Strata:
    values = np.concatenate([np.sort(np.array(task)) for task in tasks])
    names = tuple(f"task {index}" for index in range(len(tasks)))
    return Strata(names, np.array([len(task) for task in tasks]), values)


def frame(tasks: list[list[float]], name: str = "a") -> pl.DataFrame:
    rows = [
        (name, f"task {t}", f"{name}/{t}/{i}", value)
        for t, task in enumerate(tasks)
        for i, value in enumerate(task)
    ]
    return pl.DataFrame(rows, ["group_name", "task", "run_path", "score"], orient="row")


def iqm(*tasks: Float64Array, axis: int = -1) -> Float64Array:
    pooled = np.concatenate(_broadcast(tasks), axis=axis)
    return np.asarray(scipy.stats.trim_mean(pooled, 0.25, axis=axis))


def mean(*tasks: Float64Array, axis: int = -1) -> Float64Array:
    return np.asarray(np.mean(_means(tasks, axis), axis=0))


def median(*tasks: Float64Array, axis: int = -1) -> Float64Array:
    return np.asarray(np.median(_means(tasks, axis), axis=0))


def gap(*tasks: Float64Array, axis: int = -1) -> Float64Array:
    return mean(*(2.0 - np.minimum(task, 2.0) for task in tasks), axis=axis)


def _broadcast(tasks: tuple[Float64Array, ...]) -> list[Float64Array]:
    leading = np.broadcast_shapes(*(task.shape[:-1] for task in tasks))
    return [np.broadcast_to(task, (*leading, task.shape[-1])) for task in tasks]


def _means(tasks: tuple[Float64Array, ...], axis: int) -> list[Float64Array]:
    return list(np.broadcast_arrays(*(np.mean(task, axis=axis) for task in tasks)))


ORACLES: dict[str, Statistic] = {
    "iqm": iqm,
    "mean": mean,
    "median": median,
    "optimality_gap": gap,
}


@pytest.mark.parametrize("name", ORACLES)
def test_bca_intervals_agree_with_scipys_on_one_sample_per_task(name: str) -> None:
    samples = tuple(np.array(task) for task in SKEWED)
    theirs = scipy.stats.bootstrap(
        samples,
        ORACLES[name],
        n_resamples=20_000,
        batch=2_000,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = stats.interval_estimates(
        frame(SKEWED), statistics=(name,), method="bca", resamples=20_000, optimal=2.0
    )
    # As for a percentile, about 0.7 % of the width; three times that, since the tails
    # and the bias are estimated, too, and five standard errors of a difference.
    tolerance = 5 * 3 * 0.007 * np.sqrt(2) * (theirs.high - theirs.low)
    assert ours["ci_low"].item() == pytest.approx(theirs.low, abs=tolerance)
    assert ours["ci_high"].item() == pytest.approx(theirs.high, abs=tolerance)


@pytest.mark.parametrize("tasks", [SKEWED, SKEWED[:1], SKEWED[:2]], ids=len)
@pytest.mark.parametrize("name", ORACLES)
def test_leaving_out_one_run_is_computing_without_it(
    name: str, tasks: list[list[float]]
) -> None:
    of = layout(tasks)
    estimators = {key: build(of) for key, build in STATISTICS.items()}
    estimators["optimality_gap"] = optimality_gap(of, np.full(len(tasks), 2.0))
    ours = estimators[name].without_each()
    arrays = [np.sort(np.array(task)) for task in tasks]
    theirs = [
        ORACLES[name](*(np.delete(a, i) if u == t else a for u, a in enumerate(arrays)))
        for t, array in enumerate(arrays)
        for i in range(array.size)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_probability_of_improvement_is_mann_whitneys_u_on_the_same_draws() -> None:
    x, y = [[1.0, 2, 2, 5], [0.5, 3, 3]], [[2.0, 2, 4], [3.0, 1, 0.5, 0.5, 9]]
    sides = Sides(layout(x), layout(y))
    counts = [
        np.concatenate(list(resample_counts(s, seed=0, resamples=50, side=side)))
        for s, side in ((sides.x, ":x"), (sides.y, ":y"))
    ]
    ours = _of_counts(sides, _lookups(sides), counts[0], counts[1])
    for row, value in enumerate(ours):
        shares = []
        for t in range(2):
            drawn = []
            for side, count in ((sides.x, counts[0]), (sides.y, counts[1])):
                mine = slice(side.starts[t], side.starts[t] + side.sizes[t])
                drawn.append(np.repeat(side.values[mine], count[row, mine]))
            u = scipy.stats.mannwhitneyu(*drawn, method="asymptotic").statistic
            shares.append(u / drawn[0].size / drawn[1].size)
        assert value == pytest.approx(np.mean(shares), rel=1e-12)


def test_rliables_cases_of_aggregates_and_improvement() -> None:
    # Source: google-research/rliable, tests/rliable/metrics_test.py; runs x tasks.
    x = [[1.0, 2.0, 1.0, 2.0], [2.0, 2.0, 1.0, 1.0]]
    y = [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    for tasks, expected in ((x, 1.5), (y, 2.0)):
        result = stats.interval_estimates(
            frame(tasks), statistics=("median", "mean", "iqm"), resamples=400
        )
        assert result["estimate"].to_list() == [expected] * 3
    result = stats.probability_of_improvement(
        pl.concat([frame(x, "x"), frame(y, "y")]), pairs=[("x", "y")], resamples=400
    )
    assert result["estimate"].item() == pytest.approx(1 / 3, rel=1e-12)


@pytest.mark.parametrize("method", ["percentile", "corrected", "bca"])
def test_rliables_matrix_has_estimates_inside_their_intervals(method: str) -> None:
    # Source: google-research/rliable, tests/library_test.py: 5 runs of 16 tasks, and
    # the same upside down, which is no other sample.
    x = np.arange(80.0).reshape(5, 16)
    data = pl.concat([frame(x.T.tolist(), "x"), frame(x[::-1].T.tolist(), "y")])
    result = stats.interval_estimates(
        data, statistics=("iqm", "mean", "median"), method=method, resamples=1_000
    )
    assert result["estimate"].to_list() == [39.5] * 6
    assert (result["ci_low"] < 39.5).all()
    assert (result["ci_high"] > 39.5).all()
    pair = stats.probability_of_improvement(data, method=method, resamples=1_000)
    assert pair["estimate"].to_list() == [0.5, 0.5]
    assert (pair["ci_low"] < 0.5).all()
    profiles = stats.performance_profiles(data, thresholds=[0.0, 0.25, 0.5, 1.0])
    # Only the scores 0 and 1 are not above 0 and 1: one and two of 80.
    assert profiles["fraction"].to_list() == [79 / 80, 79 / 80, 79 / 80, 78 / 80] * 2


def test_every_run_a_cluster_of_its_own_is_the_bootstrap_of_runs() -> None:
    data = frame(SKEWED)
    options = {"statistics": ("iqm", "mean", "median"), "resamples": 20_000}
    runs = stats.interval_estimates(data, **options)  # type: ignore[arg-type]  # a mapping of options
    clusters = stats.interval_estimates(data, cluster="run_path", **options)  # type: ignore[arg-type]  # as above
    widths = runs["ci_high"] - runs["ci_low"]
    for end in ("ci_low", "ci_high"):
        # Corrected by n / (n - 1) of all clusters instead of by task: a little apart.
        assert ((runs[end] - clusters[end]).abs() / widths).max() < 0.06  # type: ignore[operator]  # polars: any value


def test_correlated_rows_need_clusters() -> None:
    # 300 groups of 8 machines with 5 runs each; machines differ twice as much as runs.
    rng = np.random.default_rng(3)
    rows = [
        (f"group {g:03}", str(m), f"{m}/{i}", level + noise)
        for g in range(300)
        for m, level in enumerate(rng.normal(0, 2, 8))
        for i, noise in enumerate(rng.normal(0, 1, 5))
    ]
    data = pl.DataFrame(
        rows, ["group_name", "machine", "run_path", "score"], orient="row"
    )
    covered = {}
    for cluster in (None, "machine"):
        result = stats.interval_estimates(
            data, task=None, statistics=("mean",), cluster=cluster, resamples=1_000
        )
        inside = pl.lit(0.0).is_between("ci_low", "ci_high").mean()
        covered[cluster] = result.select(inside).item()
    assert covered[None] < 0.7
    assert covered["machine"] > 0.85


def test_resampling_tasks_too_has_the_variance_of_both_levels() -> None:
    # Task means scatter with standard deviation 2, runs with 1: the mean over 30 tasks
    # of 4 runs has a standard error of sqrt((4 + 1/4) / 30).
    rng = np.random.default_rng(0)
    tasks = [list(rng.normal(level, 1, 4)) for level in rng.normal(0, 2, 30)]
    row = stats.interval_estimates(
        frame(tasks), statistics=("mean",), level="tasks", resamples=4_000
    ).row(0, named=True)
    of = layout(tasks)
    means = np.add.reduceat(of.values, of.starts) / 4
    expected = means.std(ddof=1) / np.sqrt(30)
    width = row["ci_high"] - row["ci_low"]
    assert width == pytest.approx(2 * 1.96 * expected, rel=0.12)
    assert row["estimate"] == pytest.approx(point_estimate(STATISTICS["mean"](of), of))
