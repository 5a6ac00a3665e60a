"""What a reward analysis says: a summary of each run, and the values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from run_assets.config import Rewards
from run_assets.reading.run import Run
from run_assets.rewards.components import Part
from run_assets.rewards.ledger import ledger_of

_OWN = ("run_path", "step", "logged_at")


@dataclass(frozen=True)
class AnalysedRun:
    """A run, its part in the analysis and its rows.

    Attributes:
        run: The run.
        role: ``orchestrator``, ``trainer`` or ``run``.
        parts: The part of each of its metrics that plays one.
        points: Columns metric, step, logged_at and value of these.
        rows: Columns of ``REWARD_COMPONENTS``.
    """

    run: Run
    role: str
    parts: Mapping[str, Part]
    points: pl.DataFrame
    rows: pl.DataFrame


def run_summaries(
    analysed: Sequence[AnalysedRun], settings: Rewards
) -> list[dict[str, Any]]:
    """Everything found, one entry a run."""
    return [_run_summary(one, settings) for one in analysed]


def _run_summary(one: AnalysedRun, settings: Rewards) -> dict[str, Any]:
    names = ("run_path", "run_id", "run_name", "run_state", "url", "last_step")
    components = [name for name, part in one.parts.items() if part.kind == "component"]
    by_part = {
        kind: one.rows.filter(part=kind).drop("run_path").to_dicts()
        for kind in ("component", "total", "success_rate", "training")
    }
    groups: dict[str, list[str]] = {}
    for name in sorted(components):
        groups.setdefault(one.parts[name].prefix, []).append(name)
    return {
        **{name: one.run.columns.get(name) for name in names},
        "role": one.role,
        "component_groups": groups,
        "components": by_part["component"],
        "total": by_part["total"],
        "success_rates": by_part["success_rate"],
        "training": by_part["training"],
        "ledger": _ledger(one.points, settings),
    }


def _ledger(points: pl.DataFrame, settings: Rewards) -> dict[str, Any] | None:
    if not settings.weights:
        return None
    return asdict(ledger_of(points, settings.weights, settings.total))


def reward_values(analysed: Sequence[AnalysedRun]) -> pl.DataFrame:
    """Every value of every component and success rate, one row per run and step.

    What was not logged at a step is null; NaN stays NaN.

    Returns:
        Columns run_path, step, logged_at and one for each metric; a metric that is
        called like one of the three is marked.
    """
    frames = [
        one.points.filter(pl.col("metric").is_in(_rewards(one))).select(
            pl.lit(one.run.path).alias("run_path"),
            *("step", "logged_at", "metric", "value"),
        )
        for one in analysed
    ]
    own = pl.col("metric").is_in(list(_OWN))
    marked = pl.when(own).then(pl.col("metric") + " (metric)").otherwise("metric")
    long = pl.concat(frames).with_columns(metric=marked)
    times = long.group_by("run_path", "step").agg(pl.col("logged_at").min())
    names = long["metric"].unique().sort()
    wide = long.pivot(
        "metric", on_columns=names, index=["run_path", "step"], values="value"
    )
    joined = wide.join(times, on=["run_path", "step"], how="left")
    return joined.select(*_OWN, *names).sort("run_path", "step")


def _rewards(one: AnalysedRun) -> list[str]:
    return [name for name, part in one.parts.items() if part.kind != "training"]
