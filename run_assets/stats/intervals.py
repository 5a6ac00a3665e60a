"""Point estimates with bootstrap confidence intervals, by group and statistic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite

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
from run_assets.stats.bootstrap import (
    BASIS,
    Bootstrap,
    Row,
)
from run_assets.stats.levels import LEVELS, Level, level_of
from run_assets.stats.options import check_choice
from run_assets.stats.samples import (
    GroupScores,
    ScoreColumns,
    Strata,
    coverage_notes,
    read_groups,
    strata,
    task_label,
)

SCHEMA = {
    "group_name": pl.String,
    "statistic": pl.String,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "method": pl.String,
    "level": pl.String,
    "n_runs": pl.Int64,
    **BASIS,
}


@dataclass(frozen=True)
class _Question:
    """What is asked of each group, checked."""

    statistics: tuple[str, ...]
    bootstrap: Bootstrap
    level: str
    optimal: float | Mapping[str, float]


def interval_estimates(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    statistics: Sequence[str] = ("iqm", "mean", "median", "optimality_gap"),
    method: str = "corrected",
    confidence: float = 0.95,
    resamples: int = 50_000,
    seed: int = 0,
    optimal: float | Mapping[str, float] = 1.0,
    cluster: str | None = None,
    level: str | None = None,
) -> pl.DataFrame:
    """Aggregate scores of each group with bootstrap intervals.

    An interval says how far the estimate would move with other data of the kind that is
    resampled: other runs of the same tasks, other tasks too, or other clusters.

    Source: Agarwal et al. 2021, section 4.1 (stratified percentile bootstrap).

    Args:
        scores: One row per run and task, ragged allowed.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one stratum; nulls are a stratum.
        score: Column with the number, in any unit; the results are in the same unit.
        replicate: Column with the independent run, or None when each row is one.
        statistics: Any of ``iqm``, ``mean``, ``median``, ``optimality_gap``.
        method: ``corrected``, wider with few runs; ``percentile``, or ``bca``, which
            follows skewness but not the lack of runs.
        confidence: Nominal coverage in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1; the same seed gives the same bytes.
        optimal: Best possible score, for all tasks or by task.
        cluster: Column that tells which rows are correlated (the run, where one run is
            scored in many tasks; a machine, a dataset); such rows are drawn together.
        level: What is drawn with replacement. ``runs``: the runs of each task.
            ``tasks``: the tasks, then their runs, so that the interval speaks about
            other tasks as well; not with ``bca``. ``clusters``: the clusters. By
            default clusters if ``cluster`` is given, else runs.

    Returns:
        One row per group (sorted) and statistic (as asked) with the columns of
        ``SCHEMA``. What cannot be computed is null and ``notes`` says why; the notes
        also count the scores that were left out.

    Raises:
        UsageError: An option or column is unknown, options contradict each other, an
            optimum is not finite, or a group, run or cluster has no name.

    >>> scores = pl.DataFrame({"group_name": ["a"] * 4, "score": [1.0, 2.0, 3.0, 6.0]})
    >>> interval_estimates(
    ...     scores, task=None, replicate=None, method="percentile"
    ... ).select("statistic", "estimate", "ci_low", "ci_high").rows()[0]
    ('iqm', 2.5, 1.0, 6.0)
    """
    statistics = tuple(dict.fromkeys(statistics))
    for name in statistics:
        check_choice("statistic", name, NAMES)
    _check_optimal(optimal)
    bootstrap = Bootstrap(method, confidence, resamples, seed)
    level = _checked_level(level, cluster, method)
    question = _Question(statistics, bootstrap, level, optimal)
    # Rows of one run and task in different clusters stay apart, as pairs do.
    columns = ScoreColumns(group, task, score, replicate, pair=cluster)
    groups = read_groups(scores, columns)
    tasks = {name for item in groups for name in item.runs["task"].unique()}
    rows = [row for item in groups for row in _group_rows(item, question, tasks)]
    return pl.DataFrame(rows, schema=SCHEMA)


def _checked_level(level: str | None, cluster: str | None, method: str) -> str:
    if level is None:
        return "runs" if cluster is None else "clusters"
    check_choice("level", level, LEVELS)
    if (level == "clusters") != (cluster is not None):
        message = (
            f"level {level!r} and cluster={cluster!r} contradict each other; give the "
            "column of the clusters with level='clusters', and only then"
        )
        raise UsageError(message)
    if level == "tasks" and method == "bca":
        message = (
            "method 'bca' knows no level 'tasks': there is no single sample to leave "
            "items out of; use 'percentile' or 'corrected'"
        )
        raise UsageError(message)
    return level


def _group_rows(
    group: GroupScores, question: _Question, all_tasks: set[str | None]
) -> list[Row]:
    base = {
        "group_name": group.name,
        "level": question.level,
        "n_runs": group.n_runs,
        **question.bootstrap.columns,
    }
    if group.runs.is_empty():
        notes = "; ".join([*group.notes, "no estimate: no usable score"])
        return [
            {**base, "statistic": name, "n_tasks": 0, "notes": notes}
            for name in question.statistics
        ]
    layout = strata(group)
    sizes = {
        "n_tasks": layout.sizes.size,
        "min_runs_per_task": int(layout.sizes.min()),
        "max_runs_per_task": int(layout.sizes.max()),
    }
    common = [
        *group.notes,
        *coverage_notes(layout, all_tasks),
        *question.bootstrap.notes(),
    ]
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
        for name, result in _estimates(group, layout, question).items()
    ]


@dataclass(frozen=True)
class _Interval:
    estimate: float | None
    low: float | None
    high: float | None
    notes: tuple[str, ...] = ()


def _estimates(
    group: GroupScores, layout: Strata, question: _Question
) -> dict[str, _Interval]:
    results: dict[str, _Interval] = {}
    estimators: dict[str, Estimator] = {}
    for name in question.statistics:
        if name in STATISTICS:
            estimators[name] = STATISTICS[name](layout)
        elif lacking := _without_optimum(layout, question.optimal):
            results[name] = _Interval(None, None, None, (lacking,))
        else:
            optima = _optima(layout, question.optimal)
            estimators[name] = optimality_gap(layout, optima)
    level = level_of(question.level, group, layout)
    results |= _intervals(layout, estimators, level, question.bootstrap)
    return {name: results[name] for name in question.statistics}


def _intervals(
    layout: Strata,
    estimators: Mapping[str, Estimator],
    level: Level,
    bootstrap: Bootstrap,
) -> dict[str, _Interval]:
    points = {name: point_estimate(of, layout) for name, of in estimators.items()}
    if reason := level.no_interval_reason():
        return {n: _Interval(at, None, None, (reason,)) for n, at in points.items()}
    notes = tuple(level.notes())
    drawn = level.replicates(estimators, bootstrap)
    results = {}
    for name, estimate in points.items():
        low, high = bootstrap.ends(
            estimate,
            drawn[name],
            missing_variance=level.missing_variance(pooled=name == "iqm"),
            acceleration=partial(level.acceleration, estimators[name]),
        )
        results[name] = _Interval(estimate, low, high, notes)
    return results


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
