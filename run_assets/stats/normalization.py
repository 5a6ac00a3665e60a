"""Scores of different tasks brought to one scale, so that they can be pooled."""

from collections.abc import Mapping

import polars as pl

from run_assets.errors import UsageError, did_you_mean
from run_assets.stats.options import check_choice
from run_assets.stats.samples import check_columns, task_label

METHODS = ("bounds", "minmax", "zscore", "robust", "none")
ANY_TASK = "*"

# Scores that differ by less than this share of their size differ by rounding only.
_ROUNDING = 1e-12


def normalize(
    scores: pl.DataFrame,
    *,
    method: str = "bounds",
    per_task: Mapping[str, Mapping[str, float]] | None = None,
    task: str | None = "task",
    score: str = "score",
) -> pl.DataFrame:
    """The same frame with the scores of each task on a common scale.

    - ``bounds``: ``(score - low) / (high - low)`` with given bounds: 0 is the bad
      reference (random play), 1 the good one. For a cost, ``low`` is the larger number.
      The only method that does not depend on which runs are compared.
    - ``minmax``: bounds are the lowest and highest score of the task, over all groups.
    - ``zscore``: distance from the task's mean in standard deviations (n - 1).
    - ``robust``: distance from the task's median in interquartile ranges (quantiles
      linearly interpolated).
    - ``none``: unchanged.

    Source: Agarwal et al. 2021, section 2 for bounds (human-normalized scores).

    Args:
        scores: One row per run and task.
        method: One of the above.
        per_task: For ``bounds``: ``{"maze": {"low": 0, "high": 100}}``; the key ``*``
            serves tasks that are not named.
        task: Column with the task, or None for one task.
        score: Column with the number.

    Returns:
        The frame with ``score`` replaced, as Float64. A score that is not finite has no
        part in the scale; all scores of a task without spread become null.

    Raises:
        UsageError: An unknown method or column, a task without bounds, bounds that
            are equal or not finite, or bounds for a method that takes none.

    >>> scores = pl.DataFrame({"task": ["maze", "maze"], "score": [25.0, 100.0]})
    >>> normalize(scores, per_task={"maze": {"low": 0, "high": 100}})["score"].to_list()
    [0.25, 1.0]
    """
    check_choice("method", method, METHODS)
    check_columns(scores, [*([task] if task else []), score], score)
    if method != "bounds" and per_task:
        message = f"per_task bounds need method 'bounds', got method {method!r}"
        raise UsageError(message)
    value = pl.col(score).cast(pl.Float64)
    stratum = pl.col(task).cast(pl.String) if task else pl.lit(None, pl.String)
    if method == "bounds":
        return scores.with_columns(_bounded(scores, value, stratum, per_task or {}))
    usable = value.filter(value.is_finite())
    location, scale = _location_and_scale(method, usable)
    if method == "none":
        return scores.with_columns(value)
    spread = scale.over(stratum)
    rounding = _ROUNDING * usable.abs().max().over(stratum)
    scaled = (value - location.over(stratum)) / spread
    return scores.with_columns(pl.when(spread > rounding).then(scaled).alias(score))


def _location_and_scale(method: str, usable: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    if method == "minmax":
        return usable.min(), usable.max() - usable.min()
    if method == "zscore":
        return usable.mean(), usable.std(ddof=1)
    quartiles = [usable.quantile(q, "linear") for q in (0.25, 0.75)]
    return usable.median(), quartiles[1] - quartiles[0]


def _bounded(
    scores: pl.DataFrame,
    value: pl.Expr,
    stratum: pl.Expr,
    per_task: Mapping[str, Mapping[str, float]],
) -> pl.Expr:
    tasks = scores.select(stratum.unique()).to_series()
    bounds = [_bounds(task, per_task) for task in tasks]
    low, high = (
        # The cast is for an empty frame, where polars keeps the type of the keys.
        stratum.replace_strict(tasks, [pair[end] for pair in bounds]).cast(pl.Float64)
        for end in (0, 1)
    )
    return (value - low) / (high - low)


def _bounds(
    task: str | None, per_task: Mapping[str, Mapping[str, float]]
) -> tuple[float, float]:
    key = task if task is not None and task in per_task else ANY_TASK
    if key not in per_task:
        hint = did_you_mean(task or "", per_task)
        message = (
            f"per_task has no bounds for task {task_label(task)}{hint}; "
            f"name it, or give bounds for all other tasks as {ANY_TASK!r}"
        )
        raise UsageError(message)
    low, high = (_bound(key, per_task[key], end) for end in ("low", "high"))
    if low == high:
        message = f"bounds of task {key!r} must differ, got low = high = {low}"
        raise UsageError(message)
    return low, high


def _bound(task: str, bounds: Mapping[str, float], end: str) -> float:
    value = bounds.get(end)
    if value is None or not abs(value) < float("inf"):
        message = f"bounds of task {task!r} need a finite {end!r}, got {value}"
        raise UsageError(message)
    return float(value)
