"""Point estimates with bootstrap confidence intervals, by group and statistic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.errors import UsageError, did_you_mean
from run_assets.stats.aggregate import (
    NAMES,
    STATISTICS,
    Estimator,
    optimality_gap,
    point_estimate,
)
from run_assets.stats.options import check_choice, check_confidence
from run_assets.stats.resampling import resample_counts
from run_assets.stats.samples import (
    GroupScores,
    ScoreColumns,
    Strata,
    coverage_notes,
    read_groups,
    strata,
    task_label,
)

METHODS = ("percentile", "corrected")

SCHEMA = {
    "group_name": pl.String,
    "statistic": pl.String,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_runs": pl.Int64,
    "n_tasks": pl.Int64,
    "min_runs_per_task": pl.Int64,
    "max_runs_per_task": pl.Int64,
    "resamples": pl.Int64,
    "seed": pl.Int64,
    "notes": pl.String,
}

Row = dict[str, object]


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        method: ``percentile`` or ``corrected``.
        confidence: Nominal coverage in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1.

    Raises:
        UsageError: A value is outside these limits.
    """

    method: str
    confidence: float
    resamples: int
    seed: int

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_confidence(self.confidence)
        if self.resamples < 1:
            message = f"resamples must be at least 1, got {self.resamples}"
            raise UsageError(message)
        if not 0 <= self.seed < 2**63:
            message = f"seed must be from 0 to 2**63 - 1, got {self.seed}"
            raise UsageError(message)

    def tail(self, layout: Strata, *, pooled: bool) -> float:
        """Share of the resamples that lies outside each end of the interval.

        ``percentile`` leaves ``(1 - confidence) / 2``. A bootstrap over n runs has a
        variance too small by (n - 1) / n; ``corrected`` reaches further out, to the
        normal quantile times the square root of what is missing.

        Source: Hesterberg 2015 for the narrowness of a bootstrap and the "expanded
        percentile" interval, which starts from a t quantile where this one takes z.

        Args:
            layout: The scores; only the numbers of runs matter.
            pooled: True when tasks count by their runs, False when all count the same.
        """
        z = NormalDist().inv_cdf((1 + self.confidence) / 2)
        if self.method == "corrected":
            z *= sqrt(_missing_variance(layout.sizes, pooled=pooled))
        return NormalDist().cdf(-z)

    def notes(self) -> list[str]:
        """What a reader must know about these settings."""
        expected = self.resamples * (1 - self.confidence) / 2
        return [f"only {self.resamples} resamples"] if expected < 5 else []

    @property
    def columns(self) -> Row:
        """The settings, as columns of a result."""
        return {
            "confidence": self.confidence,
            "method": self.method,
            "resamples": self.resamples,
            "seed": self.seed,
        }


def interval_estimates(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    statistics: Sequence[str] = ("iqm", "mean", "median"),
    method: str = "percentile",
    confidence: float = 0.95,
    resamples: int = 50_000,
    seed: int = 0,
    optimal: float | Mapping[str, float] = 1.0,
) -> pl.DataFrame:
    """Aggregate scores of each group with stratified bootstrap intervals.

    Runs are resampled with replacement within their tasks. An interval says how far the
    estimate would move with other runs of the same tasks, not with other tasks.

    Source: Agarwal et al. 2021, section 4.1 (stratified percentile bootstrap).

    Args:
        scores: One row per run and task, ragged allowed.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one stratum; nulls are a stratum.
        score: Column with the number, in any unit; the results are in the same unit.
        replicate: Column with the independent run, or None when each row is one.
        statistics: Any of ``iqm``, ``mean``, ``median``, ``optimality_gap``.
        method: ``percentile``, or ``corrected``, which is wider with few runs.
        confidence: Nominal coverage in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1; the same seed gives the same bytes.
        optimal: Best possible score, for all tasks or by task.

    Returns:
        One row per group (sorted) and statistic (as asked) with the columns of
        ``SCHEMA``. What cannot be computed is null and ``notes`` says why; the notes
        also count the scores that were left out.

    Raises:
        UsageError: An option or column is unknown, an optimum is not finite, or a group
            or run has no name.

    >>> scores = pl.DataFrame({"group_name": ["a"] * 4, "score": [1.0, 2.0, 3.0, 6.0]})
    >>> interval_estimates(scores, task=None, replicate=None).select(
    ...     "statistic", "estimate", "ci_low", "ci_high"
    ... ).rows()[0]
    ('iqm', 2.5, 1.0, 6.0)
    """
    statistics = tuple(dict.fromkeys(statistics))
    for name in statistics:
        check_choice("statistic", name, NAMES)
    _check_optimal(optimal)
    bootstrap = Bootstrap(method, confidence, resamples, seed)
    columns = ScoreColumns(group, task, score, replicate)
    groups = read_groups(scores, columns)
    tasks = {name for item in groups for name in item.runs["task"]}
    rows = [
        row
        for item in groups
        for row in _group_rows(item, statistics, bootstrap, optimal, tasks)
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def percentile_ends(
    replicates: NDArray[np.float64], tail: float
) -> NDArray[np.float64]:
    """Quantiles ``tail`` and ``1 - tail`` over the resamples, linearly interpolated.

    Args:
        replicates: Shape ``(resamples, ...)``.
        tail: In (0, 0.5).

    Returns:
        Shape ``(2, ...)``: the low and the high end.
    """
    ends = np.quantile(replicates, (tail, 1 - tail), axis=0)
    return np.asarray(ends, dtype=np.float64)


def no_interval_reason(layout: Strata) -> str | None:
    """Why resampling runs within tasks cannot say anything, or None when it can."""
    if layout.values.size == 1:
        return "no interval: one run"
    if int(layout.sizes.max()) == 1:
        return "no interval: one run per task, so runs of a task cannot be resampled"
    return None


def single_run_notes(layout: Strata) -> list[str]:
    """A warning when some tasks, not all, have one run."""
    singles = int((layout.sizes == 1).sum())
    if not singles or singles == layout.sizes.size:
        return []
    return [
        f"{singles} of {layout.sizes.size} tasks have one run: their noise is unseen"
    ]


def _missing_variance(sizes: NDArray[np.int64], *, pooled: bool) -> float:
    """True over bootstrap variance if the runs of every task scatter the same.

    With n runs in each task this is n / (n - 1) either way.
    """
    weights = sizes.astype(np.float64) if pooled else 1 / sizes
    return float(weights.sum() / (weights * (1 - 1 / sizes)).sum())


def _group_rows(
    group: GroupScores,
    statistics: Sequence[str],
    bootstrap: Bootstrap,
    optimal: float | Mapping[str, float],
    all_tasks: set[str | None],
) -> list[Row]:
    base = {"group_name": group.name, "n_runs": group.n_runs, **bootstrap.columns}
    if group.runs.is_empty():
        notes = "; ".join([*group.notes, "no estimate: no usable score"])
        return [
            {**base, "statistic": name, "n_tasks": 0, "notes": notes}
            for name in statistics
        ]
    layout = strata(group)
    sizes = {
        "n_tasks": layout.sizes.size,
        "min_runs_per_task": int(layout.sizes.min()),
        "max_runs_per_task": int(layout.sizes.max()),
    }
    common = [*group.notes, *coverage_notes(layout, all_tasks), *bootstrap.notes()]
    results = _estimates(layout, statistics, bootstrap, optimal)
    return [
        {
            **base,
            **sizes,
            "statistic": name,
            "estimate": result.estimate,
            "ci_low": result.low,
            "ci_high": result.high,
            "notes": "; ".join([*common, *result.notes]),
        }
        for name, result in results.items()
    ]


@dataclass(frozen=True)
class _Interval:
    estimate: float | None
    low: float | None
    high: float | None
    notes: tuple[str, ...] = ()


def _estimates(
    layout: Strata,
    statistics: Sequence[str],
    bootstrap: Bootstrap,
    optimal: float | Mapping[str, float],
) -> dict[str, _Interval]:
    results: dict[str, _Interval] = {}
    estimators: dict[str, Estimator] = {}
    for name in statistics:
        if name in STATISTICS:
            estimators[name] = STATISTICS[name](layout)
        elif lacking := _without_optimum(layout, optimal):
            results[name] = _Interval(None, None, None, (lacking,))
        else:
            estimators[name] = optimality_gap(layout, _optima(layout, optimal))
    results |= _intervals(layout, estimators, bootstrap)
    return {name: results[name] for name in statistics}


def _intervals(
    layout: Strata, estimators: Mapping[str, Estimator], bootstrap: Bootstrap
) -> dict[str, _Interval]:
    points = {name: point_estimate(of, layout) for name, of in estimators.items()}
    if reason := no_interval_reason(layout):
        return {n: _Interval(at, None, None, (reason,)) for n, at in points.items()}
    notes = tuple(single_run_notes(layout))
    replicates = _replicates(layout, estimators, bootstrap)
    results = {}
    for name, estimate in points.items():
        tail = bootstrap.tail(layout, pooled=name == "iqm")
        low, high = percentile_ends(replicates[name], tail)
        results[name] = _Interval(estimate, float(low), float(high), notes)
    return results


def _replicates(
    layout: Strata, estimators: Mapping[str, Estimator], bootstrap: Bootstrap
) -> dict[str, NDArray[np.float64]]:
    """Every statistic of every resample; one pass over the draws serves all."""
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in estimators}
    for counts in resample_counts(
        layout, seed=bootstrap.seed, resamples=bootstrap.resamples
    ):
        for name, estimator in estimators.items():
            parts[name].append(estimator(counts))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _check_optimal(optimal: float | Mapping[str, float]) -> None:
    values = optimal.values() if isinstance(optimal, Mapping) else [optimal]
    if not all(isfinite(value) for value in values):
        message = f"optimal scores must be finite, got {optimal}"
        raise UsageError(message)


def _without_optimum(
    layout: Strata, optimal: float | Mapping[str, float]
) -> str | None:
    if not isinstance(optimal, Mapping):
        return None
    lacking = [task for task in layout.tasks if task is None or task not in optimal]
    if not lacking:
        return None
    hint = did_you_mean(lacking[0] or "", optimal)
    return f"no estimate: no optimal score for task {task_label(lacking[0])}{hint}"


def _optima(
    layout: Strata, optimal: float | Mapping[str, float]
) -> NDArray[np.float64]:
    if isinstance(optimal, Mapping):
        return np.array([optimal[task] for task in layout.tasks if task is not None])
    return np.full(len(layout.tasks), float(optimal))
