"""What is known of the trials of one sweep, or of all, before it has a form."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from run_assets.contracts.evaluations import ALL_SWEEPS, ALL_TASKS
from run_assets.contracts.tables import table

EVALUATION_TABLES = (
    "core.trials",
    "marts.model_tasks",
    "marts.models",
    "stats.success_rates",
    "stats.pass_at_k",
    "stats.model_comparisons",
    "stats.task_difficulty",
    "stats.efficiency",
    "stats.leaderboard",
    "stats.trial_outliers",
    "stats.results_over_time",
)
"""What is known of a sweep; each table is the attribute of its name."""

MAX_SWEEPS = 3


@dataclass(frozen=True)
class EvaluationContent:
    """The trials of one sweep and what was computed from them.

    Attributes:
        sweep_id: The sweep; ``*`` for all trials together.
        trials: Its rows of ``core.trials``.
        model_tasks: Its rows of ``marts.model_tasks``; the others likewise.
    """

    sweep_id: str
    trials: pl.DataFrame
    model_tasks: pl.DataFrame
    models: pl.DataFrame
    success_rates: pl.DataFrame
    pass_at_k: pl.DataFrame
    model_comparisons: pl.DataFrame
    task_difficulty: pl.DataFrame
    efficiency: pl.DataFrame
    leaderboard: pl.DataFrame
    trial_outliers: pl.DataFrame
    results_over_time: pl.DataFrame

    @property
    def name(self) -> str:
        """What figures and sections of it are called."""
        is_all = self.sweep_id == ALL_SWEEPS
        return "evaluation" if is_all else f"evaluation {self.sweep_id}"

    @property
    def totals(self) -> pl.DataFrame:
        """Success rates over all tasks, the best model first."""
        return self.success_rates.filter(task=ALL_TASKS).sort(
            "estimate", "model", descending=[True, False], nulls_last=True
        )

    @property
    def model_names(self) -> list[str]:
        """Models with an outcome, the best first."""
        return self.totals["model"].to_list()

    @property
    def task_names(self) -> list[str]:
        """Tasks with an outcome, the hardest first."""
        ranked = self.task_difficulty.sort(
            "difficulty", "task", descending=[True, False], nulls_last=True
        )
        return ranked["task"].to_list()


def evaluation_of(
    sweep_id: str, read: Callable[[str], pl.DataFrame]
) -> EvaluationContent:
    """What is known of a sweep.

    Args:
        sweep_id: The sweep; ``*`` for all trials together.
        read: Gives the rows of a table.
    """
    frames = {}
    for name in EVALUATION_TABLES:
        rows = read(name)
        is_by_trial = name in ("core.trials", "stats.trial_outliers")
        if sweep_id != ALL_SWEEPS or not is_by_trial:
            rows = rows.filter(sweep_id=sweep_id)
        frames[name.partition(".")[2]] = rows.select(table(name).columns)
    return EvaluationContent(sweep_id, **frames)


def shown_sweeps(trials: pl.DataFrame) -> Iterator[str]:
    """The sweeps that a report shows: the newest, or all trials where some have none.

    Args:
        trials: ``core.trials``.
    """
    known = trials.filter(pl.col("is_success").is_not_null())
    if known.is_empty():
        return
    latest = (
        known.filter(pl.col("sweep_id") != "")
        .group_by("sweep_id")
        .agg(pl.max("ended_at"))
        .sort("ended_at", "sweep_id", descending=True, nulls_last=True)
    )
    yield from latest["sweep_id"].head(MAX_SWEEPS)
    if (known["sweep_id"] == "").any():
        yield ALL_SWEEPS
