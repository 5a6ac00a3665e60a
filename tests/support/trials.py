"""Frames of trials, as ``core.trials`` has them, from counts of successes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from run_assets.contracts.tables import table
from run_assets.store.lake import schema_of

START = datetime(2026, 1, 2, tzinfo=UTC)
Counts = Mapping[tuple[str, str], tuple[int, int]]
"""Successes and trials by model and task."""


def trial(model: str, task: str, number: int = 0, **facts: Any) -> dict[str, Any]:
    """One row; a success has the reward 1, a failure 0."""
    is_success = facts.get("is_success", False)
    at = START + timedelta(minutes=number)
    return {
        "source": "test",
        "sweep_id": "",
        "model": model,
        "task": task,
        "trial": number,
        "version": str(number),
        "trial_status": "successful",
        "is_success": is_success,
        "reward": None if is_success is None else float(is_success),
        "n_steps": 10,
        "total_tokens": 1000,
        "cost": 0.5,
        "duration_seconds": 60.0,
        "started_at": at,
        "ended_at": at + timedelta(seconds=60),
        "is_stopped_early": False,
        **facts,
    }


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as ``core.trials``; what a row leaves out is null."""
    schema = schema_of(table("core.trials"))
    return pl.DataFrame(rows, schema=schema)


def trials_of(counts: Counts, **facts: Any) -> pl.DataFrame:
    """Trials with these numbers of successes; the successes come last."""
    rows = [
        trial(model, task, number, is_success=number >= n - c, **facts)
        for (model, task), (c, n) in counts.items()
        for number in range(n)
    ]
    return frame(rows)
