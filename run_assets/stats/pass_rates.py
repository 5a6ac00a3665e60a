"""Pass rates of repeated trials: pass@k (any of k succeeds), pass^k (all of k do)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, sqrt

import polars as pl

from run_assets.errors import UsageError
from run_assets.stats.options import check_confidence
from run_assets.stats.samples import check_columns

SCHEMA = {
    "k": pl.Int64,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "n_tasks": pl.Int64,
    "min_trials": pl.Int64,
    "max_trials": pl.Int64,
    "notes": pl.String,
}

FEW_TASKS = 10
"""Below this many tasks an interval over tasks says little."""

Row = dict[str, object]
Rate = Callable[[int, int, int], Fraction]
"""From trials, successes and k to the estimate of one task."""


def pass_at_k(
    trials: pl.DataFrame,
    *,
    task: str,
    success: str,
    k: int | Sequence[int],
    group: str | None = None,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Chance that at least one of k trials of a task succeeds, averaged over tasks.

    A task with n trials, c of them successful, has the unbiased estimate
    ``1 - C(n - c, k) / C(n, k)``: the share of all sets of k of its trials with a
    success in them, counted exactly in integers. It is not "any trial succeeded", which
    grows with n, nor ``1 - (1 - c / n) ** k``, which is too large.

    Intervals are over tasks: how far the estimate would move with other tasks of the
    same kind. Trials are never resampled, because the estimator of a resample is biased
    for k > 1.

    Source: Chen et al. 2021 (HumanEval), section 2.1.

    Args:
        trials: One row per trial.
        task: Column with the task.
        success: Column with the outcome: boolean, or 0 and 1. Null: no outcome, such a
            trial does not count.
        k: One number of trials, or several.
        group: Column with what is compared (a model), or None for one group.
        confidence: Nominal coverage in (0, 1).

    Returns:
        One row per k as asked (and group, sorted) with the columns of ``SCHEMA`` (and
        ``group_name``). An estimate is null when some task has fewer than k trials,
        because a mean over the others is the pass rate of another set of tasks;
        ``notes`` says so.

    Raises:
        UsageError: A column is unknown, an outcome is no success or failure, a task has
            no name, or k is below 1.

    >>> trials = pl.DataFrame({"task": ["sort"] * 6, "passed": [True, False] * 3})
    >>> rates = pass_at_k(trials, task="task", success="passed", k=(1, 2))
    >>> rates["estimate"].to_list()
    [0.5, 0.8]
    """
    asked = _Question(_any_of, k, confidence)
    return _rates(trials, task, success, group, asked)


def pass_hat_k(
    trials: pl.DataFrame,
    *,
    task: str,
    success: str,
    k: int | Sequence[int],
    group: str | None = None,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Chance that all of k trials of a task succeed, averaged over tasks.

    A task with n trials, c of them successful, has the unbiased estimate
    ``C(c, k) / C(n, k)``. Arguments, intervals and columns are those of ``pass_at_k``.

    Source: Yao et al. 2024 (tau-bench), section 3.

    >>> trials = pl.DataFrame({"task": ["sort"] * 6, "passed": [True, False] * 3})
    >>> rates = pass_hat_k(trials, task="task", success="passed", k=(1, 2))
    >>> rates["estimate"].to_list()
    [0.5, 0.2]
    """
    asked = _Question(_all_of, k, confidence)
    return _rates(trials, task, success, group, asked)


def _any_of(n: int, c: int, k: int) -> Fraction:
    return 1 - Fraction(comb(n - c, k), comb(n, k))


def _all_of(n: int, c: int, k: int) -> Fraction:
    return Fraction(comb(c, k), comb(n, k))


@dataclass(frozen=True)
class _Question:
    rate: Rate
    k: int | Sequence[int]
    confidence: float

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        if not self.ks or min(self.ks) < 1:
            message = f"k must be a number of trials from 1, got {self.k!r}"
            raise UsageError(message)

    @property
    def ks(self) -> tuple[int, ...]:
        """Each k once, as asked."""
        return (self.k,) if isinstance(self.k, int) else tuple(dict.fromkeys(self.k))


def _rates(
    trials: pl.DataFrame, task: str, success: str, group: str | None, asked: _Question
) -> pl.DataFrame:
    columns = [task, *([group] if group else [])]
    check_columns(trials, [*columns, success], success)
    _refuse_unnamed(trials, columns)
    _refuse_shares(trials, success)
    if group is None:
        rows = _rows(trials, task, success, asked) if not trials.is_empty() else []
        return pl.DataFrame(rows, schema=SCHEMA)
    parts = trials.with_columns(pl.col(group).cast(pl.String)).partition_by(
        group, as_dict=True
    )
    rows = [
        {"group_name": name, **row}
        for (name,), part in sorted(parts.items())
        for row in _rows(part, task, success, asked)
    ]
    return pl.DataFrame(rows, schema={"group_name": pl.String, **SCHEMA})


def _refuse_unnamed(trials: pl.DataFrame, columns: Sequence[str]) -> None:
    for name in columns:
        if n_null := trials[name].null_count():
            message = (
                f"column {name!r} must name every trial, got {n_null} null of "
                f"{trials.height}; filter or fill these rows first"
            )
            raise UsageError(message)


def _refuse_shares(trials: pl.DataFrame, success: str) -> None:
    value = pl.col(success).cast(pl.Float64)
    odd = trials.filter(~value.is_in([0.0, 1.0]).fill_null(value=True))[success]
    if odd.len():
        message = (
            f"column {success!r} must be true or false (1 or 0), got {odd[0]}; "
            "compare a score with a threshold first, as in pl.col('score') >= 1"
        )
        raise UsageError(message)


def _rows(trials: pl.DataFrame, task: str, success: str, asked: _Question) -> list[Row]:
    outcome = pl.col(success).cast(pl.Float64)
    counts = trials.group_by(task).agg(
        outcome.count().alias("n"), outcome.sum().cast(pl.Int64).alias("c")
    )
    n_lost = trials.height - int(counts["n"].sum())
    notes = [f"{n_lost} trial(s) without an outcome left out"] if n_lost else []
    found = Counter(counts.select("n", "c").iter_rows())
    return [_row(found, one, asked, notes) for one in asked.ks]


def _row(
    counts: Counter[tuple[int, int]], k: int, asked: _Question, notes: Sequence[str]
) -> Row:
    n_tasks = counts.total()
    fewest = min(n for n, _ in counts)
    base: Row = {
        "k": k,
        "confidence": asked.confidence,
        "n_tasks": n_tasks,
        "min_trials": fewest,
        "max_trials": max(n for n, _ in counts),
    }
    if fewest < k:
        short = sum(tasks for (n, _), tasks in counts.items() if n < k)
        reason = (
            f"no estimate: {short} of {n_tasks} tasks have fewer than k = {k} trials "
            f"(as few as {fewest})"
        )
        return {**base, "notes": "; ".join([*notes, reason])}
    rates = {key: asked.rate(*key, k) for key in counts}
    estimate = sum((rates[key] * of for key, of in counts.items()), Fraction())
    mean = float(estimate / n_tasks)
    squares = sum((float(rates[key]) - mean) ** 2 * of for key, of in counts.items())
    low, high = (None, None)
    if n_tasks == 1:
        notes = [*notes, "no interval: one task"]
    else:
        low, high = share_interval(mean, squares, n_tasks, asked.confidence)
        if n_tasks < FEW_TASKS:
            notes = [*notes, f"few tasks ({n_tasks}): read intervals with care"]
    ends = {"estimate": mean, "ci_low": low, "ci_high": high}
    return {**base, **ends, "notes": "; ".join(notes)}


def share_interval(
    mean: float, squares: float, n_tasks: int, confidence: float
) -> tuple[float, float]:
    """Score interval of a mean of shares over tasks; it stays in [0, 1].

    Wilson's interval for as many independent yes-or-no tasks as would have this
    standard error, with a t quantile for the number of tasks. Where the shares do not
    differ, the tasks count as yes-or-no ones, so that 10 of 10 tasks solved is not
    certainty.

    Source: Wilson 1927; Korn and Graubard 1998 for the effective sample size.

    Args:
        mean: Mean of the shares.
        squares: Sum of squared distances from it.
        n_tasks: At least 2.
        confidence: Nominal coverage in (0, 1).

    >>> share_interval(1.0, 0.0, 10, 0.95)[1]
    1.0
    """
    from scipy.special import stdtrit

    t = float(stdtrit(n_tasks - 1, (1 + confidence) / 2))
    variance = squares / (n_tasks - 1) / n_tasks
    n = mean * (1 - mean) / variance if variance > 0 else float(n_tasks)
    center = (mean + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * sqrt(mean * (1 - mean) / n + (t / (2 * n)) ** 2)
    return max(0.0, min(center - half, mean)), min(1.0, max(center + half, mean))
