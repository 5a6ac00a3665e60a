"""Which runs an analysis compares, and by which score."""

import polars as pl

from run_assets.config import Analysis, RunFilter
from run_assets.errors import UsageError, did_you_mean

RUN_COLUMNS = ("run_path", "run_id", "run_name", "run_group", "job_type", "project")


def select_scores(
    analysis: Analysis,
    *,
    runs: pl.DataFrame,
    run_summaries: pl.DataFrame,
    run_metrics: pl.DataFrame,
    run_configs: pl.DataFrame,
) -> pl.DataFrame:
    """One row per run of an analysis, its score as logged.

    A run without a group is not part of the analysis; a run without the score stays,
    with null, so that the statistics can say how many are missing.

    Args:
        analysis: The question.
        runs: As ``marts.runs``.
        run_summaries: As ``marts.run_summaries``.
        run_metrics: As ``derived.run_metrics``; they win over logged metrics.
        run_configs: As ``core.run_configs``.

    Returns:
        Columns analysis, group_name, task, run_path, replicate, raw_score.

    Raises:
        UsageError: ``group``, ``task`` or ``replicate`` names something unknown.
    """
    chosen = runs.filter(
        _admitted(analysis.runs, analysis.project), pl.col("run_path").is_not_null()
    )
    scores = _scores(analysis, run_summaries, run_metrics)
    frame = (
        chosen.join(
            _label(analysis.group, chosen, run_configs, "group_name"), "run_path"
        )
        .join(
            _label(analysis.task, chosen, run_configs, "task"), "run_path", how="left"
        )
        .join(
            _label(analysis.replicate, chosen, run_configs, "replicate"),
            "run_path",
            how="left",
        )
        .join(scores, "run_path", how="left")
    )
    return frame.filter(pl.col("group_name").is_not_null()).select(
        pl.lit(analysis.name).alias("analysis"),
        "group_name",
        "task",
        "run_path",
        pl.col("replicate").fill_null(pl.col("run_path")),
        "raw_score",
    )


def _admitted(runs: RunFilter, project: str | None) -> pl.Expr:
    conditions = [pl.lit(value=True)]
    if project is not None:
        full = pl.concat_str("entity", pl.lit("/"), "project")
        conditions.append((full == project) | (pl.col("project") == project))
    if runs.state:
        conditions.append(pl.col("run_state").is_in(list(runs.state)))
    conditions += [pl.col("tags").list.contains(tag) for tag in runs.tags]
    if runs.group is not None:
        conditions.append(pl.col("run_group") == runs.group)
    if runs.min_steps is not None:
        conditions.append(pl.col("last_step") >= runs.min_steps)
    return pl.all_horizontal(conditions)


def _scores(
    analysis: Analysis, run_summaries: pl.DataFrame, run_metrics: pl.DataFrame
) -> pl.DataFrame:
    metric = analysis.score.metric
    derived = run_metrics.filter(metric=metric).select("run_path", raw_score="value")
    if not derived.is_empty():
        return derived
    return run_summaries.filter(metric=metric).select(
        "run_path", raw_score=analysis.score.aggregate
    )


def _label(
    name: str | None, runs: pl.DataFrame, configs: pl.DataFrame, column: str
) -> pl.DataFrame:
    """Run path and label: a config key, a column of the run, or a tag's rest."""
    if name is None:
        return runs.select("run_path", pl.lit(None, pl.String).alias(column))
    if name.startswith("config."):
        return configs.filter(key=name.removeprefix("config.")).select(
            "run_path", pl.col("value_text").alias(column)
        )
    if name.startswith("tag:"):
        return _tag_label(name.removeprefix("tag:"), runs, column)
    if name not in RUN_COLUMNS:
        known = [*RUN_COLUMNS, "config.<key>", "tag:<prefix>"]
        msg = f"an analysis cannot group runs by {name!r}{did_you_mean(name, known)}"
        raise UsageError(msg)
    return runs.select("run_path", pl.col(name).alias(column))


def _tag_label(prefix: str, runs: pl.DataFrame, column: str) -> pl.DataFrame:
    """The first tag that starts with the prefix, in alphabetical order."""
    return (
        runs.select("run_path", tag="tags")
        .explode("tag")
        .filter(pl.col("tag").str.starts_with(prefix))
        .group_by("run_path", maintain_order=True)
        .agg(pl.col("tag").min().str.strip_prefix(prefix).alias(column))
    )
