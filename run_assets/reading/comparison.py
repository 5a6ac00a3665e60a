"""Runs side by side: what they reached, when, and what sets them apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl

from run_assets.reading.run import Run, flat
from run_assets.stats.significance import Samples, mean_difference

Direction = Literal["higher", "lower", "none"]
SEEDS = ("seed", "*.seed", "*_seed", "*/seed")
"""Config keys in which replicates may differ."""

COMPARED = pl.Schema(
    {
        "metric": pl.String(),
        "run_path": pl.String(),
        "run_name": pl.String(),
        "last": pl.Float64(),
        "best": pl.Float64(),
        "best_step": pl.Int64(),
        "direction": pl.String(),
        "mean": pl.Float64(),
        "std": pl.Float64(),
        "n_points": pl.Int64(),
        "n_nonfinite": pl.Int64(),
        "last_step": pl.Int64(),
        "runtime_seconds": pl.Float64(),
        "level": pl.Float64(),
        "steps_to_level": pl.Int64(),
        "seconds_to_level": pl.Float64(),
    }
)
DIFFERENCES = pl.Schema(
    {
        "metric": pl.String(),
        "group_x": pl.String(),
        "group_y": pl.String(),
        "n_x": pl.Int64(),
        "n_y": pl.Int64(),
        "mean_x": pl.Float64(),
        "mean_y": pl.Float64(),
        "mean_difference": pl.Float64(),
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "confidence": pl.Float64(),
        "notes": pl.String(),
    }
)


@dataclass(frozen=True)
class Aim:
    """What is good of a metric.

    Attributes:
        direction: Declared, never guessed; ``none`` where nobody did.
        level: A value to be reached, where one is asked for.
    """

    direction: Direction = "none"
    level: float | None = None


def direction_of(goal: str | None, declared: Direction) -> Direction:
    """The good direction of a metric: ``define_metric``'s goal, else the config's.

    >>> direction_of(None, "lower"), direction_of("maximize", "lower")
    ('lower', 'higher')
    """
    if goal is None:
        return declared
    return "lower" if goal == "minimize" else "higher"


def compared(runs: Sequence[Run], aims: Mapping[str, Aim]) -> pl.DataFrame:
    """One row per metric and run that logged it, in the order given.

    ``best`` is the largest or smallest finite value and its first step, where a
    direction is declared; a noisy metric's best is biased towards luck, which is why
    mean and standard deviation stand beside it. The level counts as reached at the
    first finite value that is as good.

    Args:
        runs: The runs.
        aims: The metrics, and what is good of each.

    Returns:
        Columns of ``COMPARED``.
    """
    rows = [
        _row(run, metric, aim)
        for metric, aim in aims.items()
        for run in runs
        if metric in run.metrics
    ]
    return pl.DataFrame(rows, schema=COMPARED)


def _row(run: Run, metric: str, aim: Aim) -> dict[str, Any]:
    [about] = run.statistics.filter(metric=metric).to_dicts()
    points = run.points(metric).filter(pl.col("value").is_finite())
    return {
        "metric": metric,
        "run_path": run.path,
        "run_name": run.name,
        "direction": None if aim.direction == "none" else aim.direction,
        **{
            name: about[name]
            for name in ("last", "mean", "std", "n_points", "n_nonfinite", "last_step")
        },
        "runtime_seconds": run.columns.get("runtime_seconds"),
        **_best(points, aim),
        **_reached(points, aim),
    }


def _best(points: pl.DataFrame, aim: Aim) -> dict[str, Any]:
    if aim.direction == "none" or points.is_empty():
        return {"best": None, "best_step": None}
    values = points["value"]
    at = values.arg_max() if aim.direction == "higher" else values.arg_min()
    best = values[at or 0]
    first = points.filter(pl.col("value") == best)["step"][0]
    return {"best": best, "best_step": first}


def _reached(points: pl.DataFrame, aim: Aim) -> dict[str, Any]:
    if aim.level is None or aim.direction == "none":
        return {"level": aim.level, "steps_to_level": None, "seconds_to_level": None}
    value = pl.col("value")
    is_there = value >= aim.level if aim.direction == "higher" else value <= aim.level
    found = points.filter(is_there).select("step", "runtime_seconds").head(1).rows()
    step, seconds = found[0] if found else (None, None)
    return {
        "level": aim.level,
        "steps_to_level": step,
        "seconds_to_level": seconds,
    }


def config_differences(runs: Sequence[Run]) -> pl.DataFrame:
    """The config keys in which the runs differ.

    Returns:
        Columns key, run_path and value_json (null where a run lacks the key), by key
        and in the order of the runs.
    """
    configs = [flat(run.config) for run in runs]
    keys = sorted(set().union(*configs))
    rows = [
        (key, run.path, config.get(key))
        for key in keys
        if len({config.get(key) for config in configs}) > 1
        for run, config in zip(runs, configs, strict=True)
    ]
    schema = {"key": pl.String, "run_path": pl.String, "value_json": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def replicate_groups(
    runs: Sequence[Run], seeds: Sequence[str] = SEEDS
) -> dict[str, list[Run]]:
    """Runs of the same config but for the seed, by what sets their group apart.

    Args:
        runs: The runs.
        seeds: Config keys that may differ within a group; wildcards are those of
            `fnmatch`.
    """
    configs = [
        {
            key: value
            for key, value in flat(run.config).items()
            if not any(fnmatchcase(key, seed) for seed in seeds)
        }
        for run in runs
    ]
    apart = sorted(
        key
        for key in set().union(*configs)
        if len({config.get(key) for config in configs}) > 1
    )
    groups: dict[str, list[Run]] = {}
    for run, config in zip(runs, configs, strict=True):
        label = ", ".join(f"{key}={config.get(key, '-')}" for key in apart)
        groups.setdefault(label or "all runs", []).append(run)
    return groups


def differences(
    runs: Sequence[Run], metrics: Sequence[str], confidence: float = 0.95
) -> pl.DataFrame:
    """Differences of the groups' mean last values, with Welch's interval.

    Only groups with at least two runs that logged the metric are compared: one run
    says nothing about the next. Runs that ended in NaN or infinity do not enter, and a
    note counts them.

    Args:
        runs: The runs; those that differ only in their seed are replicates.
        metrics: The metrics.
        confidence: Of the intervals, not corrected for their number.

    Returns:
        Columns of ``DIFFERENCES``; none without replicates.
    """
    groups = replicate_groups(runs)
    rows = [row for metric in metrics for row in _pairs(metric, groups, confidence)]
    return pl.DataFrame(rows, schema=DIFFERENCES)


def _pairs(
    metric: str, groups: Mapping[str, Sequence[Run]], confidence: float
) -> Iterator[dict[str, Any]]:
    lasts = {name: _lasts(members, metric) for name, members in groups.items()}
    usable = [name for name, values in lasts.items() if np.isfinite(values).sum() >= 2]
    for one, other in combinations(usable, 2):
        x, y = (lasts[name][np.isfinite(lasts[name])] for name in (one, other))
        found = mean_difference(Samples(x, y, paired=False), equal_variances=False)
        lost = sum(int((~np.isfinite(lasts[name])).sum()) for name in (one, other))
        has_interval = found.standard_error > 0
        low, high = found.interval(confidence) if has_interval else (None, None)
        notes = [f"{lost} runs ended in NaN or infinity"] if lost else []
        if not has_interval:
            notes.append("no interval: the runs of both groups do not scatter")
        yield {
            "metric": metric,
            "group_x": one,
            "group_y": other,
            "n_x": x.size,
            "n_y": y.size,
            "mean_x": float(x.mean()),
            "mean_y": float(y.mean()),
            "mean_difference": found.difference,
            "ci_low": low,
            "ci_high": high,
            "confidence": confidence,
            "notes": "; ".join(notes) or None,
        }


def _lasts(runs: Sequence[Run], metric: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = [
        value
        for run in runs
        for value in run.statistics.filter(metric=metric)["last"].to_list()
    ]
    return np.array(values, dtype=np.float64)
