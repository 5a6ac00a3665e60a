"""What the trials of a sweep say: rates, efficiency and the names W&B knows them by."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from run_assets.stats.pass_rates import pass_at_k, pass_hat_k
from run_assets.sweeps.early_stopping import first_k_rate
from run_assets.sweeps.policy import OPEN

TRIALS = {
    **dict.fromkeys(("model", "task", "status", "error_class"), pl.String),
    **dict.fromkeys(("trial", "steps", "tokens", "attempts", "success"), pl.Int64),
    **dict.fromkeys(("reward", "max_reward", "cost", "seconds"), pl.Float64),
}
"""What is used of each trial."""

RATES = {
    "model": pl.String,
    "statistic": pl.String,
    "k": pl.Int64,
    **dict.fromkeys(("estimate", "ci_low", "ci_high"), pl.Float64),
    "n_tasks": pl.Int64,
    "notes": pl.String,
}
"""Columns of `pass_rates`: one row per model, statistic and k."""

_NO_RATE = "no estimate: no trial has a result yet"
_HIDDEN = (
    "no estimate: a task stops at its first success, so nobody knows whether k trials "
    "in a row would have succeeded"
)


def trials_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of the ledger as a frame."""
    picked = [{name: row[name] for name in TRIALS} for row in rows]
    return pl.DataFrame(picked, schema=TRIALS)


def pass_rates(
    trials: pl.DataFrame, ks: Sequence[int], *, stops_early: bool
) -> pl.DataFrame:
    """pass@k and pass^k of each model; trials that failed for good have no outcome.

    Args:
        trials: With the columns of ``TRIALS``.
        ks: Numbers of trials.
        stops_early: The sweep stops a task at its first success; such trials are never
            mixed with others, see `first_k_rate`.

    Returns:
        The columns of ``RATES``; an estimate is null where ``notes`` says why.
    """
    rows = [
        {"model": model, "statistic": statistic, **rate}
        for (model,), mine in sorted(trials.partition_by("model", as_dict=True).items())
        for statistic in ("pass@k", "pass^k")
        for rate in _rates(mine, statistic, ks, stops_early=stops_early)
    ]
    return pl.DataFrame(rows, schema=RATES)


def _rates(
    mine: pl.DataFrame, statistic: str, ks: Sequence[int], *, stops_early: bool
) -> list[dict[str, Any]]:
    ran = mine.filter(status="successful")
    if stops_early and statistic == "pass@k":
        return [first_k_rate(mine.to_dicts(), k) for k in ks]
    n_tasks = mine["task"].n_unique()
    empty = {"estimate": None, "ci_low": None, "ci_high": None, "n_tasks": n_tasks}
    if ran["task"].n_unique() < n_tasks:
        return [{"k": k, **empty, "notes": _NO_RATE} for k in ks]
    if stops_early:
        return [{"k": k, **empty, "notes": _HIDDEN} for k in ks]
    function = pass_at_k if statistic == "pass@k" else pass_hat_k
    found = function(ran, task="task", success="success", k=ks)
    return found.select([name for name in RATES if name in found.columns]).to_dicts()


def by_model(trials: pl.DataFrame, *, stops_early: bool = False) -> pl.DataFrame:
    """One row per model: how many trials, how they went, what they took.

    Where tasks stop at their first success, ``success_rate`` is that of first trials:
    whether there is another one was decided by the outcome.
    """
    return _grouped(trials, "model", stops_early=stops_early)


def by_task(trials: pl.DataFrame, *, stops_early: bool = False) -> pl.DataFrame:
    """One row per task, over all models, as `by_model`; the hardest first."""
    return _grouped(trials, "task", stops_early=stops_early).sort(
        pl.col("success_rate"), "task", nulls_last=True
    )


def _grouped(trials: pl.DataFrame, key: str, *, stops_early: bool) -> pl.DataFrame:
    ran = pl.col("status") == "successful"
    judged = ran & (pl.col("trial") == 0) if stops_early else ran
    solved = ran & (pl.col("success") == 1)
    return (
        trials.group_by(key)
        .agg(
            n_trials=pl.len(),
            n_run=ran.sum(),
            n_success=solved.sum(),
            n_failed=(pl.col("status") == "failed_final").sum(),
            n_skipped=(pl.col("status") == "skipped_early_stop").sum(),
            n_open=pl.col("status").is_in([*OPEN, "running"]).sum(),
            success_rate=pl.col("success").filter(judged).mean(),
            mean_reward=pl.col("reward").filter(ran).mean(),
            std_reward=pl.col("reward").filter(ran).std(),
            max_reward=pl.col("max_reward").filter(ran).max(),
            mean_steps=pl.col("steps").filter(ran).mean(),
            mean_tokens=pl.col("tokens").filter(ran).mean(),
            tokens_per_success=_per_success("tokens", ran, solved),
            cost_per_success=_per_success("cost", ran, solved),
            mean_seconds=pl.col("seconds").filter(ran).mean(),
        )
        .sort(key)
    )


def _per_success(column: str, ran: pl.Expr, solved: pl.Expr) -> pl.Expr:
    """What all trials took, for each that succeeded; null where nobody said it all."""
    told = pl.col(column).filter(ran)
    is_whole = (told.null_count() == 0) & (solved.sum() > 0)
    return pl.when(is_whole).then(told.sum() / solved.sum())


def metrics(
    trials: pl.DataFrame, ks: Sequence[int], *, stops_early: bool, hours: float
) -> dict[str, float | int | str]:
    """The sweep's numbers under the names of the W&B dashboards; nothing unknown.

    Args:
        trials: With the columns of ``TRIALS``.
        ks: For pass@k.
        stops_early: As in `pass_rates`.
        hours: Since the sweep began.
    """
    ran = trials.filter(status="successful")
    cells = ran.with_columns(model=pl.lit("all"), task=_cell())
    whole = by_model(cells, stops_early=stops_early)
    every = trials.with_columns(model=pl.lit("all"), task=_cell())
    rates = pass_rates(every, [1, *ks], stops_early=stops_early)
    models = by_model(ran, stops_early=stops_early)
    tasks = by_task(ran, stops_early=stops_early)
    named: dict[str, Any] = {
        **_performance("performance", whole, rates),
        **_by_group(models, "model", pass_rates(trials, [1], stops_early=stops_early)),
        **_by_group(tasks, "task", None),
        **{
            f"pass_at_k/pass_at_{row['k']}": row["estimate"]
            for row in rates.filter(statistic="pass@k").to_dicts()
            if row["k"] in ks
        },
        **_efficiency(whole),
        **_spread(whole, rates),
        **_sweep(trials, models, tasks, hours),
    }
    return {name: value for name, value in named.items() if value is not None}


def _cell() -> pl.Expr:
    """Model and task together: what is averaged over where all models are."""
    return pl.concat_str("model", pl.lit("\x1f"), "task")


def _performance(
    prefix: str, rows: pl.DataFrame, rates: pl.DataFrame | None
) -> dict[str, Any]:
    if rows.is_empty():
        return {}
    row = rows.to_dicts()[0]
    first = (
        rates.filter(statistic="pass@k", k=1)["estimate"].to_list()
        if rates is not None
        else []
    )
    return {
        f"{prefix}/success_rate": row["success_rate"],
        f"{prefix}/mean_reward": row["mean_reward"],
        f"{prefix}/pass_at_1": first[0] if first else None,
    }


def _by_group(
    rows: pl.DataFrame, key: str, rates: pl.DataFrame | None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (name,), mine in rows.partition_by(key, as_dict=True).items():
        told = rates.filter(pl.col("model") == name) if rates is not None else None
        found |= _performance(f"by_{key}/{name}", mine, told)
    return found


def _efficiency(whole: pl.DataFrame) -> dict[str, Any]:
    names = ("mean_tokens", "tokens_per_success", "cost_per_success", "mean_steps")
    return {f"efficiency/{one}": _first(whole, one) for one in names}


def _spread(whole: pl.DataFrame, rates: pl.DataFrame) -> dict[str, Any]:
    one = rates.filter(statistic="pass@k", k=1)
    return {
        "stats/num_trajectories": _first(whole, "n_run") or 0,
        "stats/std_reward": _first(whole, "std_reward"),
        "stats/success_rate_ci_95_lower": _first(one, "ci_low"),
        "stats/success_rate_ci_95_upper": _first(one, "ci_high"),
    }


def _sweep(
    trials: pl.DataFrame, models: pl.DataFrame, tasks: pl.DataFrame, hours: float
) -> dict[str, Any]:
    best = models.sort("success_rate", "model", descending=[True, False])
    counts = dict(trials["status"].value_counts().iter_rows())
    return {
        "sweep/total_trajectories": trials.height,
        "sweep/num_models": trials["model"].n_unique(),
        "sweep/num_tasks": trials["task"].n_unique(),
        "sweep/total_time_hours": hours,
        "sweep/avg_time_per_trajectory": _mean(trials, "seconds"),
        "sweep/best_model": _first(best, "model"),
        "sweep/best_model_success_rate": _first(best, "success_rate"),
        "sweep/hardest_task": _first(tasks, "task"),
        "sweep/hardest_task_success_rate": _first(tasks, "success_rate"),
        **{f"sweep/{status}": count for status, count in sorted(counts.items())},
    }


def _first(frame: pl.DataFrame, column: str) -> Any:
    return None if frame.is_empty() else frame[column][0]


def _mean(frame: pl.DataFrame, column: str) -> float | None:
    found: Any = frame[column].mean()
    return None if found is None else float(found)
