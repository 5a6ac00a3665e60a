"""Which runs an analysis compares, and by which score."""

from collections.abc import Iterable
from difflib import get_close_matches

import polars as pl

from run_assets.config import Analysis, RunFilter
from run_assets.errors import UsageError, did_you_mean

_LISTED = 20
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
        Columns analysis, group_name, task, run_path, replicate, created_at, raw_score.

    Raises:
        UsageError: No run of the project has the score's metric, ``group``, ``task`` or
            ``replicate``, or there is no run of the project; the message names the
            nearest or the known ones. Where nothing was read yet, all is empty.
    """
    known = runs.filter(_of_project(analysis.project), pl.col("run_path").is_not_null())
    _check_project(analysis, runs, known)
    _check_metric(analysis, known, run_summaries, run_metrics)
    parts = {"group_name": analysis.group, "task": analysis.task}
    parts["replicate"] = analysis.replicate
    labels = {
        column: _label(name, known, run_configs, column)
        for column, name in parts.items()
    }
    for column, name in parts.items():
        _check_label(analysis, name, known, run_configs, labels[column])
    frame = (
        known.filter(_admitted(analysis.runs))
        .join(labels["group_name"], "run_path")
        .join(labels["task"], "run_path", how="left")
        .join(labels["replicate"], "run_path", how="left")
        .join(_scores(analysis, run_summaries, run_metrics), "run_path", how="left")
    )
    return frame.filter(pl.col("group_name").is_not_null()).select(
        pl.lit(analysis.name).alias("analysis"),
        "group_name",
        "task",
        "run_path",
        pl.col("replicate").fill_null(pl.col("run_path")),
        "created_at",
        "raw_score",
    )


def summaries_of_last_steps(
    points: pl.LazyFrame, metric: str, last_n_steps: int
) -> pl.DataFrame:
    """What ``marts.run_summaries`` says, of the last steps of each run alone.

    Like there, only finite values count, but for ``last``, which is the last value.

    Args:
        points: As ``core.metric_points``.
        metric: The metric.
        last_n_steps: Steps before and with the metric's last one.

    Returns:
        Columns run_path, metric and one for each aggregate of a score.
    """
    value, step = pl.col("value"), pl.col("step")
    finite = value.filter(value.is_finite())
    tenth = value.tail((pl.len() + 9) // 10)
    return (
        points.filter(pl.col("metric") == metric)
        .filter(step > step.max().over("run_path") - last_n_steps)
        .sort("run_path", "step")
        .group_by("run_path", "metric", maintain_order=True)
        .agg(
            value.last().alias("last"),
            finite.mean().alias("mean"),
            finite.max().alias("max"),
            finite.min().alias("min"),
            finite.median().alias("median"),
            tenth.filter(tenth.is_finite()).mean().alias("mean_last_10pct"),
        )
        .collect()
    )


def _of_project(project: str | None) -> pl.Expr:
    if project is None:
        return pl.lit(value=True)
    full = pl.concat_str("entity", pl.lit("/"), "project")
    return (full == project) | (pl.col("project") == project)


def _check_project(analysis: Analysis, runs: pl.DataFrame, known: pl.DataFrame) -> None:
    """Refuse a project without runs, where there are runs at all."""
    if analysis.project is None or runs.is_empty() or not known.is_empty():
        return
    names = runs.select(pl.concat_str("entity", pl.lit("/"), "project")).to_series()
    _refuse(analysis, "project", analysis.project, names.unique().drop_nulls())


def _check_metric(
    analysis: Analysis,
    known: pl.DataFrame,
    run_summaries: pl.DataFrame,
    run_metrics: pl.DataFrame,
) -> None:
    """Refuse a score that no run has logged, where runs have logged anything."""
    paths = known["run_path"].implode()
    metrics = {
        name
        for frame in (run_summaries, run_metrics)
        for name in frame.filter(pl.col("run_path").is_in(paths))["metric"].unique()
    }
    if metrics and analysis.score.metric not in metrics:
        _refuse(analysis, "score.metric", analysis.score.metric, metrics)


def _check_label(
    analysis: Analysis,
    name: str | None,
    known: pl.DataFrame,
    configs: pl.DataFrame,
    labels: pl.DataFrame,
) -> None:
    """Refuse a group, task or replicate of which no run has a value."""
    if name is None or known.is_empty():
        return
    column = labels.columns[-1]
    mine = labels.join(known.select("run_path"), "run_path", how="semi")
    if mine[column].null_count() < mine.height:
        return
    option = "group" if column == "group_name" else column
    if name.startswith("config."):
        keys = configs.join(known.select("run_path"), "run_path", how="semi")["key"]
        candidates = {f"config.{key}" for key in keys.unique()}
    else:
        tags = known["tags"].explode().drop_nulls().unique()
        has_value = [
            one for one in RUN_COLUMNS if known[one].null_count() < known.height
        ]
        candidates = {f"tag:{one}" for one in tags} | set(has_value)
    _refuse(analysis, option, name, candidates)


def _refuse(analysis: Analysis, option: str, got: str, known: Iterable[str]) -> None:
    names = sorted(known)
    close = get_close_matches(got, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(names[:_LISTED]) or "none"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    message = (
        f"analysis {analysis.name!r}: no run has {option} {got!r}{hint} "
        f"(there are: {listed}{more})"
    )
    raise UsageError(message)


def _admitted(runs: RunFilter) -> pl.Expr:
    conditions = [pl.lit(value=True)]
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
        if analysis.score.last_n_steps:
            msg = (
                f"analysis {analysis.name!r}: last_n_steps needs a logged metric, "
                f"got the derived metric {metric!r}, which has one value a run"
            )
            raise UsageError(msg)
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
