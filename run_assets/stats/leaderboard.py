"""Who is first, and how surely: ranks of models by success and by reward."""

import polars as pl

from run_assets.stats.model_comparisons import MEASURES
from run_assets.stats.ranks import rank_stability
from run_assets.stats.trials import STOPPED, stopped_tasks

SCHEMA = {
    "measure": pl.String,
    "model": pl.String,
    "rank": pl.Float64,
    "rank_low": pl.Float64,
    "rank_high": pl.Float64,
    "probability_best": pl.Float64,
    "mean_rank": pl.Float64,
    "estimate": pl.Float64,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_models": pl.Int64,
    "n_trials": pl.Int64,
    "n_tasks": pl.Int64,
    "min_trials": pl.Int64,
    "max_trials": pl.Int64,
    "resamples": pl.Int64,
    "seed": pl.Int64,
    "is_stopped_early": pl.Boolean,
    "notes": pl.String,
}
_RENAMED = {
    "group_name": "model",
    "n_groups": "n_models",
    "n_runs": "n_trials",
    "min_runs_per_task": "min_trials",
    "max_runs_per_task": "max_trials",
}


def leaderboard(
    trials: pl.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Rank of each model by each measure, by itself: rates and rewards do not add up.

    The score of a model is the mean over the tasks that all models have; trials are
    resampled within tasks and models ranked anew each time. A model whose trials were
    stopped at the first success has no rank.

    Args:
        trials: Rows of ``core.trials`` with an outcome each.
        confidence: Nominal coverage of the interval of the rank, in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: The same seed gives the same bytes.

    Returns:
        One row per measure and model with the columns of ``SCHEMA``, the best first.
    """
    stopped = stopped_tasks(trials)
    frames = [pl.DataFrame(schema=SCHEMA)]
    for measure, column in MEASURES.items():
        usable = trials.select(
            "model",
            "task",
            pl.when(~pl.col("model").is_in(list(stopped)))
            .then(pl.col(column).cast(pl.Float64))
            .alias("score"),
        )
        found = rank_stability(
            usable,
            group="model",
            replicate=None,
            statistic="mean",
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )
        is_stopped = pl.col("group_name").is_in(list(stopped))
        worded = pl.col("notes").str.replace_all("run", "trial", literal=True)
        frames.append(
            found.with_columns(
                measure=pl.lit(measure),
                is_stopped_early=is_stopped,
                notes=pl.when(is_stopped)
                .then(pl.lit(f"no rank: trials were {STOPPED}"))
                .otherwise(worded),
            )
            .rename(_RENAMED)
            .select(list(SCHEMA))
        )
    return pl.concat(frames).sort(
        "measure", "rank", "model", descending=[True, False, False], nulls_last=True
    )
