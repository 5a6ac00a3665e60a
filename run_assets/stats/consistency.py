"""Do the tables of statistics agree with the scores, and say something of each?

Each function returns what is wrong, by name; nothing where all is well.
"""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

INTERVALS: Mapping[str, tuple[str, str, str]] = {
    "stats.interval_estimates": ("estimate", "ci_low", "ci_high"),
    "stats.performance_profiles": ("fraction", "ci_low", "ci_high"),
    "stats.comparisons": ("mean_difference", "ci_low", "ci_high"),
    "stats.probability_of_improvement": ("estimate", "ci_low", "ci_high"),
    "stats.sample_efficiency": ("estimate", "ci_low", "ci_high"),
    "stats.rank_stability": ("rank", "rank_low", "rank_high"),
    "stats.optimality_gaps": ("gap", "ci_low", "ci_high"),
    "stats.success_rates": ("estimate", "ci_low", "ci_high"),
    "stats.pass_at_k": ("estimate", "ci_low", "ci_high"),
    "stats.model_comparisons": ("estimate", "ci_low", "ci_high"),
    "stats.task_difficulty": ("success_rate", "ci_low", "ci_high"),
    "stats.efficiency": ("tokens_per_success", "tokens_ci_low", "tokens_ci_high"),
    "stats.leaderboard": ("rank", "rank_low", "rank_high"),
    "stats.results_over_time": ("success_rate", "ci_low", "ci_high"),
}
"""Estimate and ends of the interval in each table."""

_ROUNDING = 1e-9


def outside_their_intervals(
    rows: pl.DataFrame, columns: tuple[str, str, str], key: Sequence[str]
) -> dict[str, str]:
    """Estimates that their own interval does not contain.

    Args:
        rows: A table of statistics.
        columns: Names of the estimate and of both ends.
        key: Columns that name a row.
    """
    value, low, high = (pl.col(name) for name in columns)
    slack = _ROUNDING * pl.max_horizontal(low.abs(), high.abs(), value.abs())
    inside = (value >= low - slack) & (value <= high + slack) & (low <= high + slack)
    wrong = rows.filter(low.is_not_null(), ~inside.fill_null(value=False))
    return {
        _named(row, key): f"{columns[0]} {row[columns[0]]} in "
        f"[{row[columns[1]]}, {row[columns[2]]}]"
        for row in wrong.iter_rows(named=True)
    }


def miscounted(estimates: pl.DataFrame, scores: pl.DataFrame) -> dict[str, str]:
    """Estimates whose ``n_runs`` or ``n_tasks`` are not those of ``stats.scores``."""
    keys = ["analysis", "group_name"]
    counted = (
        scores.filter(pl.col("score").is_finite())
        .group_by(keys)
        .agg(
            pl.col("replicate").n_unique().cast(pl.Int64).alias("runs"),
            pl.col("task").n_unique().cast(pl.Int64).alias("tasks"),
        )
    )
    both = estimates.join(counted, on=keys, how="left").with_columns(
        pl.col("runs", "tasks").fill_null(0)
    )
    wrong = both.filter(
        pl.col("n_runs").ne_missing(pl.col("runs"))
        | pl.col("n_tasks").ne_missing(pl.col("tasks"))
    )
    return {
        _named(row, [*keys, "statistic"]): f"n_runs {row['n_runs']}, n_tasks "
        f"{row['n_tasks']}; stats.scores has {row['runs']} and {row['tasks']}"
        for row in wrong.iter_rows(named=True)
    }


def uncounted_rows(state: pl.DataFrame, stored: pl.DataFrame) -> dict[str, str]:
    """Result sources of which more or fewer rows are stored than they count.

    Args:
        state: ``raw.result_sources``.
        stored: Rows by ``source`` and ``target``, in ``rows``.
    """
    both = state.join(stored, on=["source", "target"], how="left")
    wrong = both.filter(pl.col("row_count") != pl.col("rows").fill_null(0))
    return {
        f"{row['source']}: {row['target']}": f"{row['row_count']} rows, "
        f"{row['rows'] or 0} stored"
        for row in wrong.iter_rows(named=True)
    }


def uncounted_trials(rates: pl.DataFrame, trials: pl.DataFrame) -> dict[str, str]:
    """Models whose rate is not of all of their trials with an outcome.

    Args:
        rates: ``stats.success_rates``.
        trials: ``core.trials``.
    """
    totals = rates.filter(sweep_id="*", task="*").select("model", "n_trials")
    known = trials.filter(pl.col("is_success").is_not_null())
    counted = known.group_by("model").agg(pl.len().cast(pl.Int64).alias("n"))
    both = totals.join(counted, on="model", how="full", coalesce=True)
    wrong = both.filter(pl.col("n_trials").ne_missing(pl.col("n"))).sort("model")
    return {
        row["model"]: f"{row['n'] or 0} trials have an outcome, the rate is of "
        f"{row['n_trials'] or 0}"
        for row in wrong.iter_rows(named=True)
    }


def unanswered(
    rows: pl.DataFrame, scores: pl.DataFrame, analyses: Iterable[str]
) -> dict[str, str]:
    """Analyses that have scores and no row.

    Args:
        rows: A table of statistics.
        scores: ``stats.scores``.
        analyses: Those that should have rows.
    """
    there = set(rows["analysis"])
    scored = set(scores.filter(pl.col("score").is_finite())["analysis"])
    return {
        name: "has scores and no row here"
        for name in analyses
        if name in scored and name not in there
    }


def scoreless(scores: pl.DataFrame, analyses: Iterable[str]) -> dict[str, str]:
    """Analyses without a single usable score, and how far they came."""
    wrong = {}
    for name in analyses:
        mine = scores.filter(analysis=name)
        if mine["score"].is_finite().any():
            continue
        reason = (
            "no run is admitted by its filters and has its group"
            if mine.is_empty()
            else f"none of its {mine.height} runs has a finite score"
        )
        wrong[name] = f"{reason}; see the report, section coverage"
    return wrong


def _named(row: Mapping[str, object], key: Sequence[str]) -> str:
    return " / ".join(str(row[name]) for name in key)
