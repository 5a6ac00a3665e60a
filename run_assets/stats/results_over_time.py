"""How results change with time: success and reward of each model by window."""

from datetime import timedelta
from typing import Any

import polars as pl

from run_assets.stats.success_rates import wilson_interval
from run_assets.stats.trials import STOPPED

SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "window_start_at": pl.Datetime("us", "UTC"),
    "window_seconds": pl.Float64,
    "n_trials": pl.Int64,
    "n_successes": pl.Int64,
    "success_rate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "mean_reward": pl.Float64,
    "std_reward": pl.Float64,
    "is_stopped_early": pl.Boolean,
    "notes": pl.String,
}
WINDOWS = tuple(timedelta(hours=one) for one in (1, 6, 24, 24 * 7, 24 * 30))
MAX_WINDOWS = 100


def results_over_time(
    trials: pl.DataFrame, *, confidence: float = 0.95
) -> pl.DataFrame:
    """Success rate and reward of the trials that ended within each window of time.

    Windows are an hour, six, a day, a week or thirty days long: the shortest of which
    a hundred hold all trials. Intervals are Wilson's, for the trials of the window.

    Args:
        trials: Rows of ``core.trials`` with an outcome each; those without any time
            are left out.
        confidence: Nominal coverage in (0, 1).

    Returns:
        One row per model and window with trials, with the columns of ``SCHEMA``.
    """
    timed = trials.with_columns(
        pl.coalesce("ended_at", "started_at").alias("at")
    ).filter(pl.col("at").is_not_null())
    if timed.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    window = window_of(timed["at"])
    found = (
        timed.group_by("model", pl.col("at").dt.truncate(window).alias("start"))
        .agg(
            pl.len().alias("n"),
            pl.col("is_success").sum().alias("c"),
            pl.col("reward").mean(),
            pl.col("reward").std().alias("std"),
            pl.col("is_stopped_early").any().alias("is_stopped"),
        )
        .sort("model", "start")
    )
    rows = [_row(row, window, confidence) for row in found.iter_rows(named=True)]
    return pl.DataFrame(rows, schema=SCHEMA)


def window_of(moments: pl.Series) -> timedelta:
    """The shortest window of which ``MAX_WINDOWS`` hold all moments."""
    first, last = moments.sort()[[0, -1]].to_list()
    fitting = (one for one in WINDOWS if last - first <= MAX_WINDOWS * one)
    return next(fitting, WINDOWS[-1])


def _row(
    row: dict[str, object], window: timedelta, confidence: float
) -> dict[str, object]:
    n, c = int(str(row["n"])), int(str(row["c"]))
    found = {
        "model": row["model"],
        "window_start_at": row["start"],
        "window_seconds": window.total_seconds(),
        "n_trials": n,
        "n_successes": c,
        "confidence": confidence,
        "mean_reward": row["reward"],
        "std_reward": row["std"],
        "is_stopped_early": row["is_stopped"],
    }
    if row["is_stopped"]:
        return {**found, "notes": f"no rate: trials were {STOPPED}"}
    low, high = wilson_interval(c, n, confidence)
    return {**found, "success_rate": c / n, "ci_low": low, "ci_high": high, "notes": ""}
