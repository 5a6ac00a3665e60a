"""How far a sweep has come: each model on each task, the time left, what fails."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import polars as pl

from run_assets.sweeps.policy import OPEN, TERMINAL

CELLS = {
    "task": pl.String,
    "model": pl.String,
    **dict.fromkeys(
        (
            *("trials", "pending", "running", "will_retry"),
            *("successful", "failed_final", "skipped_early_stop", "solved"),
        ),
        pl.Int64,
    ),
    "success_rate": pl.Float64,
    "cost": pl.Float64,
}
"""Columns of `cells`."""

Rows = Sequence[Mapping[str, Any]]


def cells(trials: Rows) -> pl.DataFrame:
    """One row per task and model: how many trials have which status.

    ``success_rate`` is that of the trials that ran; null where none did.
    """
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in trials:
        grouped[one["task"], one["model"]].append(one)
    rows = [
        {"task": task, "model": model, **_cell(mine)}
        for (task, model), mine in sorted(grouped.items())
    ]
    return pl.DataFrame(rows, schema=CELLS)


def _cell(trials: Rows) -> dict[str, Any]:
    statuses = Counter(one["status"] for one in trials)
    ran = [one for one in trials if one["status"] == "successful"]
    solved = sum(1 for one in ran if one["success"])
    return {
        "trials": len(trials),
        **{
            status: statuses[status]
            for status in CELLS
            if status in (*OPEN, *TERMINAL, "running")
        },
        "solved": solved,
        "success_rate": solved / len(ran) if ran else None,
        "cost": sum(one["cost"] or 0.0 for one in trials),
    }


def matrix(found: pl.DataFrame) -> pl.DataFrame:
    """Tasks down, models across, with `cell_text` in each cell."""
    texts = found.select(
        "task",
        "model",
        text=pl.struct(pl.all()).map_elements(cell_text, return_dtype=pl.String),
    )
    return texts.pivot("model", index="task", values="text")


def cell_text(cell: Mapping[str, Any]) -> str:
    """What the matrix says of one model on one task.

    >>> cell = {"trials": 8, "successful": 4, "skipped_early_stop": 0, "running": 1,
    ...         "failed_final": 1, "will_retry": 0, "success_rate": 0.75}
    >>> cell_text(cell)
    '5/8  75% 1 running 1 failed'
    """
    done = sum(cell[status] for status in TERMINAL)
    total = str(cell["trials"])
    parts = [f"{done:>{len(total)}}/{total}"]
    if cell["success_rate"] is not None:
        parts.append(f"{cell['success_rate']:>4.0%}")
    named = {"running": "running", "will_retry": "to retry", "failed_final": "failed"}
    named["skipped_early_stop"] = "skipped"
    parts += [f"{cell[key]} {text}" for key, text in named.items() if cell[key]]
    return " ".join(parts)


def seconds_left(
    trials: Rows, attempts: Rows, at_once: int, now: float
) -> float | None:
    """Seconds until the last trial ends, if the rest is like what there was.

    A trial is expected to take as long as others of its model and task did on average,
    else of its model, else of all.

    Args:
        trials: All of them; ``began`` is when a running one started.
        attempts: Ended attempts with ``model, task, seconds``.
        at_once: How many run at the same time.
        now: Seconds since 1970, as ``began``.

    Returns:
        ``None`` before the first end; 0 where nothing is open.
    """
    remaining = [one for one in trials if one["status"] not in TERMINAL]
    if not remaining:
        return 0.0
    if not attempts:
        return None
    known: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for one in attempts:
        for key in _keys(one):
            known[key].append(one["seconds"])
    means = {key: fmean(values) for key, values in known.items()}
    total = 0.0
    for one in remaining:
        expected = next(means[key] for key in _keys(one) if key in means)
        spent = now - one["began"] if one["status"] == "running" else 0.0
        total += max(expected - spent, 0.0)
    return total / max(1, min(at_once, len(remaining)))


def _keys(one: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    return ((one["model"], one["task"]), (one["model"],), ())


def failures(attempts: Rows) -> pl.DataFrame:
    """One row per class of error: how often, in how many trials, and the last text."""
    schema = {
        "error_class": pl.String,
        "attempts": pl.Int64,
        "trials": pl.Int64,
        "failed_final": pl.Int64,
        "last_error": pl.String,
    }
    bad = [one for one in attempts if one["error_class"] is not None]
    rows = []
    for name, count in sorted(Counter(one["error_class"] for one in bad).items()):
        mine = [one for one in bad if one["error_class"] == name]
        given_up = {
            one["trial_id"] for one in mine if one["trial_status"] == "failed_final"
        }
        told = [one["error"] for one in mine if one["error"]]
        rows.append(
            {
                "error_class": name,
                "attempts": count,
                "trials": len({one["trial_id"] for one in mine}),
                "failed_final": len(given_up),
                "last_error": told[-1] if told else None,
            }
        )
    return pl.DataFrame(rows, schema=schema)
