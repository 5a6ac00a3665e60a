"""Trials out of W&B runs that were read already: what their config and summary say."""

import json
import math
from collections import Counter
from typing import Any

import polars as pl

from run_assets.config_evaluations import WandbRunResults
from run_assets.sources.result_mapping import TRIALS, Query
from run_assets.sources.result_rows import Completed

_STATUS = {
    "running": "running",
    "finished": "successful",
    "failed": "failed_final",
    "crashed": "failed_final",
    "killed": "failed_final",
}
_SCHEMA = {
    "row_id": pl.Int64(),
    "sweep_id": pl.String(),
    "model": pl.String(),
    "task": pl.String(),
    "trial": pl.Int64(),
    "version": pl.String(),
    "reward": pl.Float64(),
    "has_succeeded": pl.Boolean(),
    "total_tokens": pl.Int64(),
    "cost": pl.Float64(),
    "duration_seconds": pl.Float64(),
    "trial_status": pl.String(),
    "error_class": pl.String(),
    "started_at": pl.Datetime("us", "UTC"),
    "ended_at": pl.Datetime("us", "UTC"),
}


def trials_of_runs(source: WandbRunResults, runs: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``raw.trials``, one a run that names a model and a task.

    Args:
        source: Which keys say what.
        runs: ``raw.runs``.
    """
    names = pl.concat_str("entity", pl.lit("/"), "project")
    chosen = runs.filter(~pl.col("is_deleted")).sort("created_at", "run_path")
    if source.project is not None:
        is_mine = (names == source.project) | (pl.col("project") == source.project)
        chosen = chosen.filter(is_mine)
    told = (_trial(source, run) for run in chosen.iter_rows(named=True))
    rows = [{**row, "row_id": at} for at, row in enumerate(filter(None, told))]
    if source.trial_key is None:
        _number(rows)
    query = Query(source.name or source.kind, TRIALS, "")
    return Completed(query)(pl.DataFrame(rows, schema=_SCHEMA))


def _number(rows: list[dict[str, Any]]) -> None:
    """Number the trials of a cell in the order of their creation."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        cell = (row["sweep_id"], row["model"], row["task"])
        row["trial"] = counts[cell]
        counts[cell] += 1


def _trial(source: WandbRunResults, run: dict[str, Any]) -> dict[str, Any] | None:
    config, summary = (json.loads(run[name] or "{}") for name in _DOCUMENTS)
    model, task = value_at(config, source.model_key), value_at(config, source.task_key)
    if model is None or task is None:
        return None
    state = run["run_state"]
    has_ended = state != "running"
    return {
        "sweep_id": _text(value_at(config, source.sweep_key)),
        "model": _text(model),
        "task": _text(task),
        "trial": _integer(value_at(config, source.trial_key)),
        "version": run["run_path"],
        "reward": _double(value_at(summary, source.reward_key)),
        "has_succeeded": _truth(value_at(summary, source.success_key)),
        "total_tokens": _integer(value_at(summary, source.tokens_key)),
        "cost": _double(value_at(summary, source.cost_key)),
        "duration_seconds": run["runtime_seconds"],
        "trial_status": _STATUS.get(state, "unknown"),
        "error_class": state if _STATUS.get(state) == "failed_final" else None,
        "started_at": run["created_at"],
        "ended_at": run["heartbeat_at"] if has_ended else None,
    }


_DOCUMENTS = ("config_json", "summary_json")


def value_at(document: Any, key: str | None) -> Any:
    """The value of a key; nested keys are joined with a dot.

    >>> value_at({"agent": {"name": "a"}, "x.y": 1}, "agent.name")
    'a'
    >>> value_at({"agent": {"name": "a"}, "x.y": 1}, "x.y")
    1
    """
    if key is None or not isinstance(document, dict):
        return None
    if key in document:
        return document[key]
    first, _, rest = key.partition(".")
    return value_at(document.get(first), rest) if rest else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _double(value: Any) -> float | None:
    try:
        return float(value)  # W&B writes NaN as a text
    except (TypeError, ValueError):
        return None


def _integer(value: Any) -> int | None:
    number = _double(value)
    return int(number) if number is not None and math.isfinite(number) else None


def _truth(value: Any) -> bool | None:
    number = _double(value)
    return None if number is None or math.isnan(number) else number != 0
