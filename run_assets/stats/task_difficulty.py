"""How hard each task is: for all models together, and who solves it."""

import polars as pl

from run_assets.stats.pass_rates import share_interval
from run_assets.stats.trials import STOPPED, cells

SCHEMA = {
    "task": pl.String,
    "difficulty": pl.Float64,
    "success_rate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "best_model": pl.String,
    "best_rate": pl.Float64,
    "spread_rate": pl.Float64,
    "success_class": pl.String,
    "n_models": pl.Int64,
    "n_solved": pl.Int64,
    "n_trials": pl.Int64,
    "n_successes": pl.Int64,
    "mean_reward": pl.Float64,
    "is_stopped_early": pl.Boolean,
    "notes": pl.String,
}
Row = dict[str, object]


def task_difficulty(trials: pl.DataFrame, *, confidence: float = 0.95) -> pl.DataFrame:
    """Mean success rate of each task over models, the hardest first.

    Models count alike, however many trials each has. The interval is over models: how
    far the rate would move with other models. A task of which some model's trials were
    stopped at the first success has no rate.

    Args:
        trials: Rows of ``core.trials`` with an outcome each.
        confidence: Nominal coverage in (0, 1).

    Returns:
        One row per task with the columns of ``SCHEMA``.
    """
    rewards = dict(
        trials.filter(pl.col("reward").is_not_null())
        .group_by("task")
        .agg(pl.col("reward").mean())
        .iter_rows()
    )
    rows = [
        {**_row(str(task), mine, confidence), "mean_reward": rewards.get(task)}
        for (task,), mine in cells(trials).partition_by("task", as_dict=True).items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA).sort(
        "difficulty", "task", descending=[True, False], nulls_last=True
    )


def _row(task: str, mine: pl.DataFrame, confidence: float) -> Row:
    rated = mine.with_columns(rate=pl.col("c") / pl.col("n")).sort(
        "rate", "model", descending=[True, False]
    )
    n, c = int(mine["n"].sum()), int(mine["c"].sum())
    is_stopped = bool(mine["is_stopped"].any())
    row: Row = {
        "task": task,
        "confidence": confidence,
        "success_class": "none" if c == 0 else "all" if c == n else "some",
        "n_models": mine.height,
        "n_solved": int((mine["c"] > 0).sum()),
        "n_trials": n,
        "n_successes": c,
        "is_stopped_early": is_stopped,
    }
    if is_stopped:
        return {**row, "notes": f"no rate: trials were {STOPPED}"}
    rates = rated["rate"].to_list()
    mean = sum(rates) / len(rates)
    row |= {
        "difficulty": 1 - mean,
        "success_rate": mean,
        "best_model": rated["model"][0],
        "best_rate": rates[0],
        "spread_rate": rates[0] - rates[-1],
    }
    if len(rates) == 1:
        return {**row, "notes": "no interval: one model"}
    squares = sum((one - mean) ** 2 for one in rates)
    low, high = share_interval(mean, squares, len(rates), confidence)
    return {**row, "ci_low": low, "ci_high": high, "notes": ""}
