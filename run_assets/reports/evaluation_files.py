"""An evaluation as files: tables for a spreadsheet, a summary, pictures."""

from typing import Any

import polars as pl

from run_assets.contracts.evaluations import ALL_TASKS
from run_assets.errors import NotFoundError
from run_assets.reports.drawing import png
from run_assets.reports.evaluation_content import EvaluationContent
from run_assets.reports.evaluation_figures import evaluation_figures
from run_assets.reports.twin import plain_json

# A cell that a spreadsheet would run as a formula begins with one of these.
_FORMULA = r"^[=+\-@\t\r]"
_SUMMARIES = (
    *("version", "instance", "sweep_id", "model", "task", "trial", "trial_status"),
    *("is_success", "reward", "first_reward", "final_reward", "max_reward"),
    *("production_score", "n_steps", "n_error_steps", "total_tokens"),
    *("completion_tokens", "cost", "started_at", "ended_at", "duration_seconds"),
)


def evaluation_files(content: EvaluationContent) -> dict[str, str | bytes]:
    """Names and contents of all files.

    Raises:
        NotFoundError: No trial has an outcome.
    """
    if content.totals.is_empty():
        msg = "no report: none of these trials has an outcome; look at `evals recent`"
        raise NotFoundError(msg)
    tables = {
        "leaderboard": _leaderboard(content),
        "model_comparison": content.models.drop("sweep_id"),
        "model_pairs": content.model_comparisons.drop("sweep_id"),
        "pass_at_k": content.pass_at_k.drop("sweep_id"),
        "efficiency": content.efficiency.drop("sweep_id"),
        "task_difficulty": content.task_difficulty.drop("sweep_id"),
        "trajectory_summaries": content.trials.select(_SUMMARIES),
        "version_infos": _version_infos(content),
        "outliers": content.trial_outliers,
    }
    files: dict[str, str | bytes] = {
        f"{name}.csv": _csv(frame) for name, frame in tables.items()
    }
    files["analysis_summary.json"] = plain_json(_summary(content))
    for figure in evaluation_figures(content).values():
        files[f"analysis_{figure.kind}.svg"] = figure.svg
        files[f"analysis_{figure.kind}.png"] = png(figure.svg)
    return files


def _leaderboard(content: EvaluationContent) -> pl.DataFrame:
    return content.leaderboard.drop("sweep_id").sort(
        "measure", "rank", "model", descending=[True, False, False], nulls_last=True
    )


def _version_infos(content: EvaluationContent) -> pl.DataFrame:
    """One row a trial, by the names that the Factorio environment's scripts read."""
    return content.trials.select(
        "version",
        "model",
        "task",
        pl.col("trial").alias("trial_number"),
        "max_reward",
        pl.col("production_score").alias("max_production_score"),
        pl.col("trial_status").alias("completion_status"),
        pl.col("is_success").alias("task_success"),
    ).sort("model", "task", "trial_number", "version")


def _summary(content: EvaluationContent) -> dict[str, Any]:
    rates = content.success_rates.filter(task=ALL_TASKS).drop("sweep_id", "task")
    known = ("model", "statistic", "k", "estimate", "ci_low", "ci_high", "notes")
    passed = content.pass_at_k.filter(task=ALL_TASKS).select(known)
    return {
        "n_trials": content.trials.height,
        "n_models": rates.height,
        "n_tasks": content.task_difficulty.height,
        "success_rates": rates.to_dicts(),
        "pass_rates": passed.to_dicts(),
        "hardest_tasks": content.task_names[:5],
        "rules": content.trials.select("task", "reward_kind", "success_threshold")
        .unique()
        .sort("task")
        .to_dicts(),
    }


def _csv(frame: pl.DataFrame) -> str:
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    safe = frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA))
        .then(pl.concat_str(pl.lit("'"), pl.col(name)))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )
    return safe.write_csv()
