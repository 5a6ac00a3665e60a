"""What a success costs: tokens and cost with intervals, and the Pareto front."""

from collections.abc import Sequence

import polars as pl

from run_assets.stats.ratios import Ratio, ratio_of_sums
from run_assets.stats.trials import STOPPED, cells, stopped_tasks

SCHEMA = {
    "model": pl.String,
    "success_rate": pl.Float64,
    "tokens_per_success": pl.Float64,
    "tokens_ci_low": pl.Float64,
    "tokens_ci_high": pl.Float64,
    "cost_per_success": pl.Float64,
    "cost_ci_low": pl.Float64,
    "cost_ci_high": pl.Float64,
    "confidence": pl.Float64,
    "tokens_per_successful_trial": pl.Float64,
    "reward_per_token": pl.Float64,
    "mean_reward": pl.Float64,
    "mean_steps": pl.Float64,
    "mean_tokens": pl.Float64,
    "mean_cost": pl.Float64,
    "mean_seconds": pl.Float64,
    "is_token_efficient": pl.Boolean,
    "is_cost_efficient": pl.Boolean,
    "n_trials": pl.Int64,
    "n_successes": pl.Int64,
    "n_tasks": pl.Int64,
    "is_stopped_early": pl.Boolean,
    "notes": pl.String,
}
Row = dict[str, object]


def trial_costs(trials: pl.DataFrame, *, confidence: float = 0.95) -> pl.DataFrame:
    """Tokens, cost, steps and time of each model, for each trial and each success.

    A success costs what all trials cost over the successes among them: failures are
    paid for, too. ``tokens_per_successful_trial`` leaves them out. Intervals are over
    tasks (or over the trials of an only task). Trials that do not say what they cost
    count in neither sum.

    A model is efficient where no other reaches a success rate as high with as few
    tokens a trial, and is better in one of both.

    Args:
        trials: Rows of ``core.trials`` with an outcome each.
        confidence: Nominal coverage in (0, 1).

    Returns:
        One row per model with the columns of ``SCHEMA``.
    """
    stopped = stopped_tasks(trials)
    rows = [
        _row(str(model), mine, confidence, is_stopped=model in stopped)
        for (model,), mine in sorted(
            trials.partition_by("model", as_dict=True, maintain_order=True).items()
        )
    ]
    found = pl.DataFrame(rows, schema=SCHEMA)
    return found.with_columns(
        _front("is_token_efficient", found, "mean_tokens"),
        _front("is_cost_efficient", found, "mean_cost"),
    )


def _row(model: str, mine: pl.DataFrame, confidence: float, *, is_stopped: bool) -> Row:
    tokens = _per_success(mine, "total_tokens", confidence)
    cost = _per_success(mine, "cost", confidence)
    rates = cells(mine).select(pl.col("c") / pl.col("n"))["c"]
    told = mine.filter(pl.col("total_tokens") > 0, pl.col("reward").is_not_null())
    notes = [
        f"{what}: {one.note}"
        for what, one in (("tokens", tokens), ("cost", cost))
        if one.note
    ]
    if is_stopped:
        notes.insert(0, f"no success rate: trials were {STOPPED}")
    return {
        "model": model,
        "success_rate": None if is_stopped else rates.mean(),
        "tokens_per_success": tokens.estimate,
        "tokens_ci_low": tokens.low,
        "tokens_ci_high": tokens.high,
        "cost_per_success": cost.estimate,
        "cost_ci_low": cost.low,
        "cost_ci_high": cost.high,
        "confidence": confidence,
        "tokens_per_successful_trial": mine.filter("is_success")["total_tokens"].mean(),
        "reward_per_token": None
        if told.is_empty()
        else float(told["reward"].sum()) / float(told["total_tokens"].sum()),
        "mean_reward": mine["reward"].mean(),
        "mean_steps": mine["n_steps"].mean(),
        "mean_tokens": mine["total_tokens"].mean(),
        "mean_cost": mine["cost"].mean(),
        "mean_seconds": mine["duration_seconds"].mean(),
        "n_trials": mine.height,
        "n_successes": int(mine["is_success"].sum()),
        "n_tasks": rates.len(),
        "is_stopped_early": is_stopped,
        "notes": "; ".join(notes),
    }


def _per_success(mine: pl.DataFrame, column: str, confidence: float) -> Ratio:
    told = mine.filter(pl.col(column).is_not_null())
    if told.is_empty():
        return Ratio(None, None, None, "no trial says")
    is_one_task = told["task"].n_unique() == 1
    clusters = ["source", "sweep_id", "trial"] if is_one_task else ["task"]
    sums = (
        told.group_by(clusters)
        .agg(pl.col(column).cast(pl.Float64).sum(), pl.col("is_success").sum())
        .sort(clusters)
    )
    over, under = (
        sums[column].to_numpy(),
        sums["is_success"].cast(pl.Float64).to_numpy(),
    )
    return ratio_of_sums(over, under, confidence=confidence)


def _front(name: str, found: pl.DataFrame, column: str) -> pl.Series:
    points = found.select("success_rate", column).rows()
    return pl.Series(name, pareto_front(points), pl.Boolean)


def pareto_front(
    points: Sequence[tuple[float | None, float | None]],
) -> list[bool | None]:
    """Whether no other point has as much for as little, and more or for less.

    Args:
        points: What is good and what it costs; a point with a None has no place.

    >>> pareto_front([(0.5, 10), (0.4, 10), (0.4, 5), (None, 1)])
    [True, False, True, None]
    """
    known = [(good, cost) for good, cost in points if None not in (good, cost)]
    return [
        None
        if good is None or cost is None
        else not any(
            g >= good and c <= cost and (g, c) != (good, cost)  # type: ignore[operator]  # known
            for g, c in known
        )
        for good, cost in points
    ]
