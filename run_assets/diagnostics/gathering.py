"""From the rows of tables to runs with their series; nothing is copied twice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.diagnostics.model import Run, Series
from run_assets.diagnostics.roles import Direction, Parts
from run_assets.reading.run import Run as ReadRun
from run_assets.reading.run import flat

_GOALS: Mapping[str, Direction] = {"maximize": "higher", "minimize": "lower"}


@dataclass(frozen=True)
class RunTables:
    """The rows of some runs, unchanged.

    Attributes:
        runs: ``raw.runs``; runs that are not here are left out.
        points: ``core.metric_points``: run_path, metric, step, logged_at, value.
        summaries: ``marts.run_summaries``: run_path, metric, summary_value.
        configs: ``core.run_configs``.
        definitions: ``raw.metric_definitions``.
        system: ``raw.system_metrics``.
        artifacts: ``raw.artifacts``.
    """

    runs: pl.DataFrame
    points: pl.DataFrame
    summaries: pl.DataFrame
    configs: pl.DataFrame
    definitions: pl.DataFrame
    system: pl.DataFrame
    artifacts: pl.DataFrame


def runs_of(tables: RunTables, parts: Parts) -> Iterator[Run]:
    """The runs, in the order of the table."""
    series = series_by_run(tables.points, "step")
    system = series_by_run(tables.system.with_columns(step=None), "logged_at")
    configs = _mapping(tables.configs, "key", "value_text")
    summaries = _mapping(tables.summaries, "metric", "summary_value")
    artifacts = _lists(
        tables.artifacts.filter(direction="logged"), "artifact_type", "artifact_name"
    )
    goals = _lists(tables.definitions, "pattern", "goal")
    for row in tables.runs.iter_rows(named=True):
        path = row["run_path"]
        mine = series.get(path, {})
        yield Run(
            path=path,
            state=row["run_state"] or "unknown",
            series=mine,
            parts=parts,
            last_step=row["last_step"],
            history_rows=row["history_rows"] or 0,
            runtime_seconds=row["runtime_seconds"],
            system=system.get(path, {}),
            config=configs.get(path, {}),
            summary=summaries.get(path, {}),
            artifacts=tuple(artifacts.get(path, ())),
            goals=_goals(goals.get(path, []), mine),
        )


def run_read(read: ReadRun, parts: Parts) -> Run:
    """A run that was read by itself, such as an export; it has no system metrics."""
    points = read.points(*read.metrics).with_columns(run_path=pl.lit(read.path))
    numbers = {
        row["metric"]: row["summary_value"]
        for row in read.statistics.iter_rows(named=True)
        if row["summary_value"] is not None
    }
    logged = read.artifacts.filter(direction="logged")
    return Run(
        path=read.path,
        state=str(read.columns.get("run_state") or "unknown"),
        series=series_by_run(points, "step").get(read.path, {}),
        parts=parts,
        last_step=read.columns.get("last_step"),
        history_rows=read.columns.get("history_rows") or 0,
        runtime_seconds=read.columns.get("runtime_seconds"),
        config={key: text.strip('"') for key, text in flat(read.config).items()},
        summary=numbers,
        artifacts=tuple(logged.select("artifact_type", "artifact_name").rows()),
        goals={
            metric: _GOALS[goal]
            for metric, goal in read.goals.items()
            if goal in _GOALS
        },
    )


def series_by_run(points: pl.DataFrame, order: str) -> dict[str, dict[str, Series]]:
    """The series of each run by metric.

    Args:
        points: run_path, metric, step, logged_at, value; a step of null counts samples.
        order: Column by which a series ascends.
    """
    # Files are sorted by metric, run and step; several files of a long run are not.
    ordered = (
        points if _is_grouped(points) else points.sort("metric", "run_path", order)
    )
    if ordered.is_empty():
        return {}
    starts = _starts(ordered)
    ends = np.append(starts[1:], ordered.height)
    values = ordered["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    seconds = _seconds(ordered["logged_at"])
    steps = _steps(ordered["step"], starts)
    names = ordered.select("run_path", "metric")[starts.tolist()].rows()
    found: dict[str, dict[str, Series]] = {}
    for (path, metric), a, b in zip(names, starts, ends, strict=True):
        one = Series(metric, steps[a:b], values[a:b], seconds[a:b])
        found.setdefault(path, {})[metric] = one
    return found


def _is_grouped(points: pl.DataFrame) -> bool:
    """Every series stands in one stretch, in the order of its steps."""
    if points.is_empty() or points["step"].dtype == pl.Null:
        return False
    pairs = points.select("run_path", "metric").n_unique()
    starts = _starts(points)
    falls = np.flatnonzero(np.diff(points["step"].to_numpy()) <= 0) + 1
    return starts.size == pairs and bool(np.isin(falls, starts).all())


def _starts(points: pl.DataFrame) -> NDArray[np.int64]:
    is_new = points.select(
        (pl.col("metric") != pl.col("metric").shift(1)).fill_null(value=True)
        | (pl.col("run_path") != pl.col("run_path").shift(1))
    ).to_series()
    return np.flatnonzero(is_new.to_numpy())


def _seconds(times: pl.Series) -> NDArray[np.float64]:
    micros = times.dt.epoch("us").cast(pl.Float64) / 1e6
    return micros.fill_null(float("nan")).to_numpy()


def _steps(steps: pl.Series, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Steps as logged, or the number of the sample in its series."""
    if steps.dtype != pl.Null:
        return steps.cast(pl.Int64).to_numpy()
    counts = np.arange(steps.len(), dtype=np.int64)
    lengths = np.diff(np.append(starts, steps.len()))
    return np.asarray(counts - np.repeat(starts, lengths))


def _mapping(frame: pl.DataFrame, key: str, value: str) -> dict[str, dict[str, Any]]:
    """The values of each run by key; what is null is not there."""
    found: dict[str, dict[str, Any]] = {}
    rows = frame.filter(pl.col(value).is_not_null()).select("run_path", key, value)
    for path, name, one in rows.iter_rows():
        found.setdefault(path, {})[name] = one
    return found


def _lists(frame: pl.DataFrame, *columns: str) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    rows = frame.select("run_path", *(pl.col(one).fill_null("") for one in columns))
    for path, first, second in rows.iter_rows():
        found.setdefault(path, []).append((first, second))
    return found


def _goals(
    declared: list[tuple[str, str]], series: Mapping[str, Series]
) -> dict[str, Direction]:
    """The good direction of each metric that the run declared one for."""
    found: dict[str, Direction] = {}
    for pattern, goal in declared:
        direction = _GOALS.get(goal)
        prefix = pattern.removesuffix("*")
        for metric in series if direction else ():
            is_meant = metric == pattern or (
                prefix != pattern and metric.startswith(prefix)
            )
            if direction and is_meant:
                found[metric] = direction
    return found
