"""Runs of a lab's lake, as ``reading`` takes them."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from run_assets.reading.run import ARTIFACTS, HISTORY, STATISTICS, Run, parsed
from run_assets.store.lake import collected

if TYPE_CHECKING:
    from run_assets.lab import Lab

_TABLES = (
    "raw.runs",
    "raw.metric_definitions",
    "raw.artifacts",
    "marts.run_summaries",
)


def stored_runs(lab: "Lab", run_paths: Sequence[str]) -> list[Run]:
    """Runs of the lake, in this order; their histories are read when asked for.

    Args:
        lab: The lab.
        run_paths: Runs of ``marts.runs``.

    Raises:
        SourceError: A file of the lake is damaged.
    """
    tables = {name: _by_run(lab, name, set(run_paths)) for name in _TABLES}
    nothing = {name: frame.clear() for name, (frame, _) in tables.items()}
    return [
        _run(
            lab,
            path,
            {
                name: found.get((path,), nothing[name])
                for name, (_, found) in tables.items()
            },
        )
        for path in run_paths
    ]


def stored_points(
    lab: "Lab", run_paths: Collection[str], metrics: Collection[str]
) -> pl.DataFrame:
    """Numbers of some metrics of many runs, at the cost of one look.

    Returns:
        Columns run_path, metric, step, logged_at and value.
    """
    points = lab.table("core.metric_points").filter(
        pl.col("metric").is_in(list(metrics)), pl.col("run_path").is_in(list(run_paths))
    )
    return collected(points.select("run_path", "metric", "step", "logged_at", "value"))


def _run(lab: "Lab", run_path: str, tables: dict[str, pl.DataFrame]) -> Run:
    columns: dict[str, Any] = tables["raw.runs"].to_dicts()[0]
    config, summary = columns.pop("config_json"), columns.pop("summary_json")
    goals = tables["raw.metric_definitions"].drop_nulls("goal")
    statistics = tables["marts.run_summaries"].sort("metric")
    artifacts = tables["raw.artifacts"].sort(
        "direction", "artifact_type", "artifact_name", "sequence"
    )
    return Run(
        columns=columns,
        config=parsed(config),
        summary=parsed(summary),
        statistics=statistics.select(list(STATISTICS)),
        history=_history(lab, run_path),
        artifacts=artifacts.select(list(ARTIFACTS)),
        goals=dict(goals.select("pattern", "goal").sort("pattern").rows()),
    )


def _history(lab: "Lab", run_path: str) -> pl.LazyFrame:
    """Every logged value of a run, with the declared x of those that are numbers."""
    is_mine = pl.col("run_path") == run_path
    history = lab.table("raw.history").filter(is_mine)
    places = lab.table("core.metric_points").filter(is_mine)
    joined = history.join(
        places.select("metric", "step", "x_metric", "x"),
        on=["metric", "step"],
        how="left",
    )
    return joined.select(list(HISTORY))


def _by_run(
    lab: "Lab", name: str, run_paths: set[str]
) -> tuple[pl.DataFrame, dict[tuple[Any, ...], pl.DataFrame]]:
    mine = pl.col("run_path").is_in(list(run_paths))
    frame = collected(lab.table(name).filter(mine))
    return frame, frame.partition_by("run_path", as_dict=True)
