"""Trials that stand apart from the others of their cell."""

import polars as pl

from run_assets.stats.trials import CELL

QUANTITIES = ("reward", "total_tokens", "duration_seconds", "n_steps")
SCHEMA = {
    "source": pl.String,
    "sweep_id": pl.String,
    "model": pl.String,
    "task": pl.String,
    "trial": pl.Int64,
    "quantity": pl.String,
    "value": pl.Float64,
    "fence_low": pl.Float64,
    "fence_high": pl.Float64,
    "robust_z": pl.Float64,
    "is_beyond_fences": pl.Boolean,
    "is_beyond_z": pl.Boolean,
    "n_trials": pl.Int64,
}
FENCE = 1.5
Z_LIMIT = 3.5
MIN_TRIALS = 4
"""Below this many values quartiles are single values, and nothing stands apart."""

# Makes a median absolute deviation estimate the standard deviation of a normal sample.
_CONSISTENT = 1.4826


def trial_outliers(trials: pl.DataFrame) -> pl.DataFrame:
    """Trials beyond the fences of their cell, or with a robust z beyond 3.5.

    Each quantity is looked at by itself, among all trials of a model on a task. Where
    half of the values are equal, their deviations have the median 0 and there is no
    robust z.

    Source: Tukey 1977 for the fences; Iglewicz and Hoaglin 1993 for the robust z.

    Args:
        trials: Rows of ``core.trials`` with an outcome each.

    Returns:
        One row per trial and quantity that stands apart, with the columns of
        ``SCHEMA``; none of cells with fewer than 4 values.
    """
    frames = [_of(trials, one) for one in QUANTITIES]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames]).sort(
        "source", "sweep_id", "model", "task", "trial", "quantity"
    )


def _of(trials: pl.DataFrame, quantity: str) -> pl.DataFrame:
    value = pl.col("value")
    quartiles = [value.quantile(q, "linear").over(CELL) for q in (0.25, 0.75)]
    reach = FENCE * (quartiles[1] - quartiles[0])
    measured = (
        trials.with_columns(pl.col(quantity).cast(pl.Float64).alias("value"))
        .filter(value.is_finite())
        .with_columns(
            pl.lit(quantity).alias("quantity"),
            pl.len().over(CELL).cast(pl.Int64).alias("n_trials"),
            (quartiles[0] - reach).alias("fence_low"),
            (quartiles[1] + reach).alias("fence_high"),
            value.median().over(CELL).alias("center"),
        )
        .with_columns((value - pl.col("center")).alias("distance"))
        .with_columns(pl.col("distance").abs().median().over(CELL).alias("scatter"))
        .with_columns(
            pl.when(pl.col("scatter") > 0)
            .then(pl.col("distance") / (_CONSISTENT * pl.col("scatter")))
            .alias("robust_z")
        )
        .with_columns(
            ((value < pl.col("fence_low")) | (value > pl.col("fence_high"))).alias(
                "is_beyond_fences"
            ),
            (pl.col("robust_z").abs() > Z_LIMIT)
            .fill_null(value=False)
            .alias("is_beyond_z"),
        )
    )
    apart = pl.col("is_beyond_fences") | pl.col("is_beyond_z")
    return measured.filter(apart, pl.col("n_trials") >= MIN_TRIALS).select(list(SCHEMA))
