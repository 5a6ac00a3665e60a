"""Success rates of models: Wilson intervals of cells, of totals those over tasks."""

from math import sqrt

import polars as pl

from run_assets.contracts.evaluations import ALL_TASKS
from run_assets.errors import UsageError
from run_assets.stats.options import check_confidence
from run_assets.stats.pass_rates import pass_at_k
from run_assets.stats.trials import STOPPED, cells, stopped_note, stopped_tasks

SCHEMA = {
    "model": pl.String,
    "task": pl.String,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_trials": pl.Int64,
    "n_successes": pl.Int64,
    "n_tasks": pl.Int64,
    "any_success_rate": pl.Float64,
    "is_stopped_early": pl.Boolean,
    "lower_bound": pl.Float64,
    "notes": pl.String,
}

FEW_TRIALS = 5
Row = dict[str, object]


def success_rates(trials: pl.DataFrame, *, confidence: float = 0.95) -> pl.DataFrame:
    """Share of successful trials of each model on each task, and over all tasks.

    The rate of a cell has Wilson's interval. The total of a model is the mean over its
    tasks, whose intervals say how far it would move with other tasks of the same kind:
    trials of one task resemble each other, so they are no independent sample of tasks.

    A cell whose trials were stopped at the first success has no unbiased rate (one
    success in the first trial says little); it has a lower bound instead, and a model
    with such a cell has no total.

    Source: Wilson 1927; Miller 2024 (arXiv 2411.00640) for clusters.

    Args:
        trials: Rows of ``core.trials`` with an outcome each.
        confidence: Nominal coverage in (0, 1).

    Returns:
        One row per model and task, and one with task ``*`` per model, with the columns
        of ``SCHEMA``. ``any_success_rate`` is the share of tasks with any success.

    >>> trials = pl.DataFrame({
    ...     "model": ["a"] * 4, "task": ["t"] * 4, "is_stopped_early": [False] * 4,
    ...     "is_success": [True, False, False, False],
    ... })
    >>> success_rates(trials).select("task", "estimate", "n_trials").rows()
    [('*', 0.25, 4), ('t', 0.25, 4)]
    """
    check_confidence(confidence)
    counted = cells(trials)
    rows = [_cell(row, confidence) for row in counted.iter_rows(named=True)]
    totals = _totals(trials, counted, confidence)
    return pl.DataFrame([*totals, *rows], schema=SCHEMA).sort("model", "task")


def _cell(cell: Row, confidence: float) -> Row:
    n, c = int(str(cell["n"])), int(str(cell["c"]))
    base: Row = {
        "model": cell["model"],
        "task": cell["task"],
        "confidence": confidence,
        "method": "wilson",
        "n_trials": n,
        "n_successes": c,
        "n_tasks": 1,
        "any_success_rate": float(c > 0),
        "is_stopped_early": cell["is_stopped"],
    }
    if cell["is_stopped"]:
        bound = first_success_bound(n, confidence)
        note = f"no estimate: {STOPPED}; see lower_bound"
        return {**base, "lower_bound": bound, "notes": note}
    low, high = wilson_interval(c, n, confidence)
    few = f"few trials ({n}): read intervals with care" if n < FEW_TRIALS else ""
    return {**base, "estimate": c / n, "ci_low": low, "ci_high": high, "notes": few}


def _totals(
    trials: pl.DataFrame, counted: pl.DataFrame, confidence: float
) -> list[Row]:
    rates = pass_at_k(
        trials,
        task="task",
        success="is_success",
        k=1,
        group="model",
        confidence=confidence,
    )
    stopped = stopped_tasks(trials)
    solved = counted.group_by("model").agg(
        pl.col("n").sum(), pl.col("c").sum(), (pl.col("c") > 0).mean().alias("any")
    )
    sums = {row["model"]: row for row in solved.iter_rows(named=True)}
    rows: list[Row] = []
    for rate in rates.iter_rows(named=True):
        model, n_tasks = rate["group_name"], rate["n_tasks"]
        row: Row = {
            "model": model,
            "task": ALL_TASKS,
            "confidence": confidence,
            "method": "tasks",
            "n_trials": sums[model]["n"],
            "n_successes": sums[model]["c"],
            "n_tasks": n_tasks,
            "any_success_rate": sums[model]["any"],
            "is_stopped_early": model in stopped,
        }
        if model in stopped:
            rows.append({**row, "notes": stopped_note(stopped[model], n_tasks)})
        else:
            names = ("estimate", "ci_low", "ci_high", "notes")
            rows.append({**row, **{name: rate[name] for name in names}})
    return rows


def wilson_interval(c: int, n: int, confidence: float) -> tuple[float, float]:
    """Score interval of a share: the shares that a test would not reject.

    Source: Wilson 1927; as ``statsmodels.stats.proportion.proportion_confint``.

    Args:
        c: Successes.
        n: Trials, at least 1.
        confidence: Nominal coverage in (0, 1).

    Raises:
        UsageError: There is no trial, or more successes than trials.

    >>> [round(end, 3) for end in wilson_interval(2, 8, 0.95)]
    [0.071, 0.591]
    """
    if n < 1 or not 0 <= c <= n:
        msg = f"a rate needs 0 to n successes of at least one trial, got {c} of {n}"
        raise UsageError(msg)
    from statistics import NormalDist

    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = c / n
    center = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    low = 0.0 if c == 0 else center - half
    return low, 1.0 if c == n else center + half


def first_success_bound(n: int, confidence: float) -> float:
    """The smallest rate at which a first success within n trials is no surprise.

    Trials are made one after the other until the first success: the bound solves
    ``1 - (1 - p)^n = 1 - confidence``. It is one-sided and exact for this design.

    Source: Clopper and Pearson 1934, for the geometric distribution.

    >>> round(first_success_bound(1, 0.95), 3)
    0.05
    """
    return 1 - float(confidence ** (1 / n))
