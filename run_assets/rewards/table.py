"""``diagnostics.reward_components``: one row per run and metric that plays a part."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from run_assets.config import Rewards
from run_assets.rewards.components import Part
from run_assets.rewards.curves import MILESTONES, change, milestones
from run_assets.rewards.ledger import Ledger, ledger_of

_NUMBER = pl.Float64()
REWARD_COMPONENTS = pl.Schema(
    {
        "run_path": pl.String(),
        "metric": pl.String(),
        "part": pl.String(),
        "prefix": pl.String(),
        "task": pl.String(),
        "direction": pl.String(),
        "n_points": pl.Int64(),
        "n_nonfinite": pl.Int64(),
        "mean": _NUMBER,
        "median": _NUMBER,
        "std": _NUMBER,
        "min": _NUMBER,
        "max": _NUMBER,
        "first": _NUMBER,
        "last": _NUMBER,
        "trend_ratio": _NUMBER,
        "trend_change": _NUMBER,
        "ci_low": _NUMBER,
        "ci_high": _NUMBER,
        "confidence": _NUMBER,
        "verdict": pl.String(),
        **{f"step_{percent}": pl.Int64() for percent in MILESTONES},
        "weight": _NUMBER,
        "contribution": _NUMBER,
        "share": _NUMBER,
        "notes": pl.String(),
    }
)


def reward_components(
    points: pl.DataFrame, parts: Mapping[str, Part], settings: Rewards
) -> pl.DataFrame:
    """The table's rows for some runs, by run and metric.

    Args:
        points: Columns run_path, metric, step and value.
        parts: The part of each metric; others are left out.
        settings: The config.

    Returns:
        Columns of ``REWARD_COMPONENTS``.
    """
    mine = points.filter(pl.col("metric").is_in(list(parts)))
    ordered = mine.select("run_path", "metric", "step", "value").sort(
        "run_path", "metric", "step"
    )
    rows = [
        row
        for (run_path,), run in ordered.group_by("run_path", maintain_order=True)
        for row in _run_rows(str(run_path), run, parts, settings)
    ]
    return pl.DataFrame(rows, schema=REWARD_COMPONENTS)


def _run_rows(
    run_path: str, points: pl.DataFrame, parts: Mapping[str, Part], settings: Rewards
) -> Iterator[dict[str, Any]]:
    ledger = ledger_of(points, settings.weights, settings.total)
    for (metric,), curve in points.group_by("metric", maintain_order=True):
        if part := parts.get(str(metric)):
            yield {
                "run_path": run_path,
                "metric": metric,
                **_curve_columns(curve, part, settings.confidence),
                **_ledger_columns(str(metric), ledger, settings),
            }


def _curve_columns(
    curve: pl.DataFrame, part: Part, confidence: float
) -> dict[str, Any]:
    """Statistics, trend and milestones; all of the finite values but ``last``."""
    finite = curve.filter(pl.col("value").is_finite())
    steps, values = finite["step"].to_numpy(), finite["value"].to_numpy()
    moved = change(steps, values, direction=part.direction, confidence=confidence)
    lower = part.direction == "lower"
    reached = milestones(steps, values, is_lower_better=lower)
    if part.direction == "none":
        reached = dict.fromkeys(MILESTONES)
    return {
        "part": part.kind,
        "prefix": part.prefix,
        "task": part.task,
        "direction": part.direction,
        "n_points": curve.height,
        "n_nonfinite": curve.height - finite.height,
        **_statistics(values),
        "first": curve["value"][0],
        "last": curve["value"][-1],
        "trend_ratio": moved.trend_ratio,
        "trend_change": moved.trend_change,
        "ci_low": moved.ci_low,
        "ci_high": moved.ci_high,
        "confidence": confidence,
        "verdict": moved.verdict,
        **{f"step_{percent}": step for percent, step in reached.items()},
        "notes": "; ".join(moved.notes) or None,
    }


def _statistics(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    if not values.size:
        return {}
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "std": float(values.std(ddof=1)) if values.size > 1 else None,
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _ledger_columns(metric: str, ledger: Ledger, settings: Rewards) -> dict[str, Any]:
    return {
        "weight": settings.weights.get(metric),
        "contribution": ledger.contributions.get(metric),
        "share": ledger.shares.get(metric),
    }
