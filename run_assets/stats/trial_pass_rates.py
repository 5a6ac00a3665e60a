"""pass@k and pass^k of models over their tasks, and of each task by itself."""

from collections.abc import Sequence

import polars as pl

from run_assets.contracts.evaluations import ALL_TASKS
from run_assets.stats.pass_rates import pass_at_k, pass_hat_k
from run_assets.stats.trials import STOPPED, cells, stopped_note, stopped_tasks

SCHEMA = {
    "model": pl.String,
    "task": pl.String,
    "statistic": pl.String,
    "k": pl.Int64,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "n_tasks": pl.Int64,
    "min_trials": pl.Int64,
    "max_trials": pl.Int64,
    "any_success_rate": pl.Float64,
    "is_stopped_early": pl.Boolean,
    "notes": pl.String,
}
STATISTICS = {"pass@k": pass_at_k, "pass^k": pass_hat_k}
_ENDS = ("estimate", "ci_low", "ci_high")


def trial_pass_rates(
    trials: pl.DataFrame, *, k: Sequence[int], confidence: float = 0.95
) -> pl.DataFrame:
    """Chance that any of k trials succeeds, or that all do, by model and by cell.

    Estimates are unbiased for each task and averaged over tasks, never pooled: with
    one task solved always and one never, pass@8 is 0.5. ``any_success_rate`` stands
    beside them: the share of tasks with any success in all trials made, which some
    call pass@1 and which grows with the number of trials.

    Args:
        trials: Rows of ``core.trials`` with an outcome each.
        k: Numbers of trials.
        confidence: Nominal coverage of intervals over tasks, in (0, 1).

    Returns:
        Rows with the columns of ``SCHEMA``; task ``*`` is the mean over all tasks. An
        estimate is null, and ``notes`` says why, where a task has fewer than k trials
        or was stopped at its first success.
    """
    frames = [
        _of(trials, statistic, k, confidence, by_task=by_task)
        for statistic in STATISTICS
        for by_task in (False, True)
    ]
    return pl.concat(frames).sort("model", "task", "statistic", "k")


def _of(
    trials: pl.DataFrame,
    statistic: str,
    k: Sequence[int],
    confidence: float,
    *,
    by_task: bool,
) -> pl.DataFrame:
    keys = ["model", "task"] if by_task else ["model"]
    groups = trials.select(keys).unique().sort(keys).with_row_index("group")
    numbered = trials.join(groups, on=keys)
    rates = STATISTICS[statistic](
        numbered,
        task="task",
        success="is_success",
        k=k,
        group="group",
        confidence=confidence,
    )
    found = rates.with_columns(pl.col("group_name").cast(pl.UInt32)).join(
        groups, left_on="group_name", right_on="group"
    )
    if not by_task:
        found = found.with_columns(task=pl.lit(ALL_TASKS))
    solved = _solved(trials, keys)
    rows = found.join(solved, on=keys).with_columns(statistic=pl.lit(statistic))
    stopped = stopped_tasks(trials)
    reasons = [
        _reason(row, stopped, by_task=by_task) for row in rows.iter_rows(named=True)
    ]
    is_stopped = pl.col("is_stopped_early")
    note = pl.Series("reason", reasons, pl.String)
    return (
        rows.with_columns(
            pl.when(is_stopped).then(None).otherwise(pl.col(one)).alias(one)
            for one in _ENDS
        )
        .with_columns(pl.when(is_stopped).then(note).otherwise("notes").alias("notes"))
        .select(list(SCHEMA))
    )


def _solved(trials: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    counted = cells(trials)
    return counted.group_by(keys).agg(
        (pl.col("c") > 0).mean().alias("any_success_rate"),
        pl.col("is_stopped").any().alias("is_stopped_early"),
    )


def _reason(row: dict[str, object], stopped: dict[str, int], *, by_task: bool) -> str:
    if by_task:
        return f"no estimate: {STOPPED}"
    return stopped_note(stopped.get(str(row["model"]), 0), int(str(row["n_tasks"])))
