"""Models compared two by two on the tasks that both were tried on."""

import polars as pl

from run_assets.stats.paired import paired_difference
from run_assets.stats.trials import STOPPED, stopped_tasks

MEASURES = {"success": "is_success", "reward": "reward"}
SCHEMA = {
    "measure": pl.String,
    "model_x": pl.String,
    "model_y": pl.String,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "standard_error": pl.Float64,
    "unpaired_standard_error": pl.Float64,
    "correlation": pl.Float64,
    "t_statistic": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "correction": pl.String,
    "n_items": pl.Int64,
    "n_clusters": pl.Int64,
    "notes": pl.String,
}
_RENAMED = {"group_x": "model_x", "group_y": "model_y", "statistic": "t_statistic"}


def model_comparisons(
    trials: pl.DataFrame,
    *,
    paired_by: str = "task",
    correction: str = "holm",
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Difference in success and in reward of every pair of models.

    Models are compared task by task, because a task is hard or easy for both; the mean
    over a model's trials of a task is one item. Where a trial's number means the same
    for every model (a seed, an opponent), trials can be paired: then a trial is an item
    and its task the cluster, whose trials are not independent.

    A model with a task that was stopped at its first success is not compared: leaving
    out such tasks would leave out successes.

    Args:
        trials: Rows of ``core.trials`` with an outcome each.
        paired_by: ``task`` or ``trial``.
        correction: Over the pairs of a measure: ``holm``, ``bonferroni``, ``bh`` or
            ``none``.
        confidence: Nominal coverage in (0, 1).

    Returns:
        One row per measure and pair with the columns of ``SCHEMA``; differences are x
        minus y.
    """
    stopped = stopped_tasks(trials)
    named = trials.with_columns(
        item=pl.concat_str("task", pl.lit("\x1f"), pl.col("trial").cast(pl.String))
        if paired_by == "trial"
        else pl.col("task")
    )
    frames = [pl.DataFrame(schema=SCHEMA)]
    for measure, column in MEASURES.items():
        usable = named.with_columns(
            score=pl.when(~pl.col("model").is_in(list(stopped))).then(
                pl.col(column).cast(pl.Float64)
            )
        )
        found = paired_difference(
            usable,
            item="item",
            cluster="task",
            group="model",
            correction=correction,
            confidence=confidence,
        )
        frames.append(
            found.rename(_RENAMED)
            .with_columns(measure=pl.lit(measure), notes=_notes(found, stopped))
            .select(list(SCHEMA))
        )
    return pl.concat(frames).sort("measure", "model_x", "model_y")


def _notes(found: pl.DataFrame, stopped: dict[str, int]) -> pl.Series:
    texts = [
        f"not compared: tasks of {who} were {STOPPED}"
        if (who := " and ".join(one for one in pair if one in stopped))
        else note
        for *pair, note in found.select("group_x", "group_y", "notes").iter_rows()
    ]
    return pl.Series("notes", texts, pl.String)
