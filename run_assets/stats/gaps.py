"""How far groups stay below the best possible score, task by task and over all."""

from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite

import polars as pl

from run_assets.errors import UsageError
from run_assets.stats.bootstrap import BASIS
from run_assets.stats.intervals import interval_estimates
from run_assets.stats.normalization import ANY_TASK
from run_assets.stats.samples import check_columns, task_label

ALL_TASKS = "*"
"""In column ``task`` of the result: the mean over all tasks of the group."""

SCHEMA = {
    "group_name": pl.String,
    "task": pl.String,
    "gap": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "gap_rate": pl.Float64,
    "rate_ci_low": pl.Float64,
    "rate_ci_high": pl.Float64,
    "optimum": pl.Float64,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_runs": pl.Int64,
    **BASIS,
}


def optimality_gaps(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    optimal: Mapping[str, float],
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    method: str = "corrected",
    confidence: float = 0.95,
    resamples: int = 50_000,
    seed: int = 0,
) -> pl.DataFrame:
    """How far each group stays below the optimum of each task, and on average.

    ``gap`` is the mean over runs of ``max(optimum - score, 0)``, in the unit of the
    scores; over all tasks the mean of the tasks' gaps. ``gap_rate`` is the same as a
    share of the optimum, averaged over tasks: 0 is perfect, 1 nothing achieved. A run
    above the optimum counts as the optimum.

    Source: Agarwal et al. 2021, section 4.3; intervals as in ``interval_estimates``.

    Args:
        scores: One row per run and task, ragged allowed; a higher score is better.
        optimal: Best possible score by task; the key ``*`` serves tasks that are not
            named.
        group: Column with the group that a run belongs to.
        task: Column with the task, or None for one task (its optimum is that of ``*``).
        score: Column with the number.
        replicate: Column with the independent run, or None when each row is one.
        method: Interval method, see ``interval_estimates``.
        confidence: Nominal coverage in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1; the same seed gives the same bytes.

    Returns:
        One row per group and task with the columns of ``SCHEMA``, and one per group
        with task ``*`` for the mean over its tasks (alone where ``task`` is None).
        A task without an optimum has no gap, and then there is none over all tasks: a
        mean over the rest would be another number. ``gap_rate`` is also null where an
        optimum is not above 0.

    Raises:
        UsageError: An optimum is not finite, a task is called ``*``, or an option or
            column is unknown.

    >>> scores = pl.DataFrame({
    ...     "group_name": ["a"] * 4, "task": ["maze", "maze", "nav", "nav"],
    ...     "run_path": ["r1", "r2", "r3", "r4"], "score": [60.0, 80.0, 1.0, 0.5],
    ... })
    >>> optimality_gaps(scores, optimal={"maze": 100, "nav": 1}).select(
    ...     "task", "gap", "gap_rate"
    ... ).rows()
    [('*', 15.125, 0.275), ('maze', 30.0, 0.3), ('nav', 0.25, 0.25)]
    """
    check_columns(scores, [group, *([task] if task else []), score], score)
    name = pl.col(task).cast(pl.String) if task else pl.lit(None, pl.String)
    # A task without a name cannot be a key of a mapping; here it needs one.
    frame = scores.with_columns(
        name.fill_null(task_label(None)).alias("task"),
        pl.col(score).cast(pl.Float64).alias("score"),
    )
    tasks = frame["task"].unique().sort().to_list()
    optima = _optima(tasks, optimal)
    estimate = partial(
        interval_estimates,
        group=group,
        replicate=replicate,
        statistics=("optimality_gap",),
        method=method,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
    known = {**optimal, **optima}  # those that no task has serve the suggestions
    parts = [_over_all_tasks(frame, optima, partial(estimate, optimal=known))]
    if task is not None:
        each = partial(estimate, optimal=known)
        parts += [_of_one_task(frame, one, optima.get(one), each) for one in tasks]
    return pl.concat(parts).sort(
        "group_name", pl.col("task") != ALL_TASKS, "task", maintain_order=True
    )


Estimate = Callable[..., pl.DataFrame]


def _over_all_tasks(
    frame: pl.DataFrame, optima: Mapping[str, float], estimate: Estimate
) -> pl.DataFrame:
    gaps = estimate(frame)
    if any(optimum <= 0 for optimum in optima.values()):
        reason = "no gap_rate: an optimum is not above 0"
        notes = pl.concat_str(
            pl.col("notes").replace("", None),
            pl.lit(reason),
            separator="; ",
            ignore_nulls=True,
        )
        return _named(gaps.with_columns(notes), ALL_TASKS)
    optimum = pl.col("task").replace_strict(
        optima or {"": 1.0}, default=1.0, return_dtype=pl.Float64
    )
    shares = frame.with_columns(pl.col("score") / optimum)
    # A task without an optimum leaves no gap, so there is no rate either.
    rates = estimate(shares, optimal=dict.fromkeys(optima, 1.0)).select(
        gap_rate="estimate", rate_ci_low="ci_low", rate_ci_high="ci_high"
    )
    return _named(pl.concat([gaps, rates], how="horizontal"), ALL_TASKS)


def _of_one_task(
    frame: pl.DataFrame, task: str, optimum: float | None, estimate: Estimate
) -> pl.DataFrame:
    found = estimate(frame.filter(pl.col("task") == task))
    found = found.with_columns(pl.lit(optimum, pl.Float64).alias("optimum"))
    if optimum is not None and optimum > 0:
        found = found.with_columns(
            gap_rate=_shares(found["estimate"], optimum),
            rate_ci_low=_shares(found["ci_low"], optimum),
            rate_ci_high=_shares(found["ci_high"], optimum),
        )
    return _named(found, task)


def _shares(amounts: pl.Series, optimum: float) -> pl.Series:
    # Not an expression: polars rounds a column and a single row over a number
    # differently, and a group must not depend on how many there are.
    shares = [None if one is None else one / optimum for one in amounts.to_list()]
    return pl.Series(shares, dtype=pl.Float64)


def _named(found: pl.DataFrame, task: str) -> pl.DataFrame:
    """The columns of ``SCHEMA``, those that are not there as null."""
    renamed = found.rename({"estimate": "gap"}).with_columns(pl.lit(task).alias("task"))
    return renamed.select(
        (pl.col(name) if name in renamed.columns else pl.lit(None))
        .cast(dtype)
        .alias(name)
        for name, dtype in SCHEMA.items()
    )


def _optima(tasks: list[str], optimal: Mapping[str, float]) -> dict[str, float]:
    """The optimum of each task of the scores that has one."""
    for name, optimum in optimal.items():
        if not isfinite(optimum):
            message = f"optimal scores must be finite, got {optimum} for {name!r}"
            raise UsageError(message)
    if ALL_TASKS in tasks:
        message = f"a task cannot be called {ALL_TASKS!r} here; rename it first"
        raise UsageError(message)
    named = {task: optimal.get(task, optimal.get(ANY_TASK)) for task in tasks}
    return {task: float(one) for task, one in named.items() if one is not None}
