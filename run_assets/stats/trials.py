"""Trials of models on tasks: which of them count, and what must not be mixed.

Frames of trials are ``core.trials`` or a part of it: one row a trial. A trial without
an outcome (``is_success`` null) counts nowhere. A cell is a model on a task.
"""

from collections.abc import Iterator

import polars as pl

from run_assets.contracts.evaluations import ALL_SWEEPS

CELL = ("model", "task")

STOPPED = (
    "stopped at the first success, so that the number of trials depends on the outcome"
)


def with_outcome(trials: pl.DataFrame) -> pl.DataFrame:
    """Trials that succeeded or failed, in an order of their own."""
    return trials.filter(pl.col("is_success").is_not_null()).sort(
        "model", "task", "sweep_id", "source", "trial"
    )


def scopes(trials: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """All trials together, then each sweep by itself; nothing without outcomes.

    A cell that one of its sweeps stopped early was stopped early.
    """
    known = with_outcome(trials)
    if known.is_empty():
        return
    stopped = pl.col("is_stopped_early").any().over(CELL)
    yield ALL_SWEEPS, known.with_columns(is_stopped_early=stopped)
    named = known.filter(pl.col("sweep_id") != "")
    for (sweep_id,), mine in sorted(
        named.partition_by("sweep_id", as_dict=True, maintain_order=True).items()
    ):
        yield str(sweep_id), mine


def cells(trials: pl.DataFrame) -> pl.DataFrame:
    """One row per model and task: trials ``n``, successes ``c``, ``is_stopped``.

    Args:
        trials: With an outcome each.
    """
    return (
        trials.group_by(CELL)
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("is_success").sum().cast(pl.Int64).alias("c"),
            pl.col("is_stopped_early").any().alias("is_stopped"),
        )
        .sort(CELL)
    )


def stopped_tasks(trials: pl.DataFrame) -> dict[str, int]:
    """How many tasks of each model were stopped early; only models that have some."""
    found = cells(trials).filter("is_stopped").group_by("model").len()
    return dict(found.iter_rows())


def stopped_note(n_stopped: int, n_tasks: int) -> str:
    """Why a number over several tasks is missing."""
    return f"no estimate: {n_stopped} of {n_tasks} tasks were {STOPPED}"
