"""Runs of a lab's lake, as ``reading`` takes them."""

from typing import TYPE_CHECKING, Any

import polars as pl

from run_assets.reading.run import ARTIFACTS, HISTORY, STATISTICS, Run, parsed
from run_assets.store.lake import collected

if TYPE_CHECKING:
    from run_assets.lab import Lab


def stored_run(lab: "Lab", run_path: str) -> Run:
    """A run of the lake; its history is read when it is asked for.

    Args:
        lab: The lab.
        run_path: A run of ``marts.runs``.

    Raises:
        SourceError: A file of the lake is damaged.
    """
    columns: dict[str, Any] = _mine(lab, "raw.runs", run_path).to_dicts()[0]
    config, summary = columns.pop("config_json"), columns.pop("summary_json")
    definitions = _mine(lab, "raw.metric_definitions", run_path)
    goals = definitions.drop_nulls("goal").select("pattern", "goal").sort("pattern")
    return Run(
        columns=columns,
        config=parsed(config),
        summary=parsed(summary),
        statistics=_mine(lab, "marts.run_summaries", run_path)
        .sort("metric")
        .select(list(STATISTICS)),
        history=stored_history(lab, run_path),
        artifacts=_mine(lab, "raw.artifacts", run_path)
        .sort("direction", "artifact_type", "artifact_name", "sequence")
        .select(list(ARTIFACTS)),
        goals=dict(goals.rows()),
    )


def stored_history(lab: "Lab", run_path: str) -> pl.LazyFrame:
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


def _mine(lab: "Lab", name: str, run_path: str) -> pl.DataFrame:
    return collected(lab.table(name).filter(pl.col("run_path") == run_path))
