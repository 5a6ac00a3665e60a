"""Runs whose configs differ in few keys, and in which."""

import json

import polars as pl

DIFFERENCES = pl.List(
    pl.Struct({"key": pl.String(), "here": pl.String(), "there": pl.String()})
)


def similar_runs(
    config: pl.DataFrame, configs: pl.DataFrame, most: int
) -> pl.DataFrame:
    """The runs that differ from one run in at most so many config keys.

    A key that only one of both has is a difference, too.

    Args:
        config: Columns key and value_json of the run.
        configs: Columns run_path, key and value_json of the others; a run without
            config has one row with a null key.
        most: Keys that may differ.

    Returns:
        Columns run_path, n_differences and differences (key, here, there as JSON
        texts), the nearest first.
    """
    here = _spelled(config).select("key", here="value_json")
    runs = configs.select("run_path").unique()
    theirs = (
        _spelled(configs)
        .filter(pl.col("key").is_not_null())
        .select("run_path", "key", there="value_json")
    )
    both = runs.join(here, how="cross").join(
        theirs, on=["run_path", "key"], how="full", coalesce=True
    )
    differing = both.filter(pl.col("here").ne_missing(pl.col("there")))
    counted = (
        differing.sort("run_path", "key")
        .group_by("run_path", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("n_differences"),
            pl.struct("key", "here", "there").alias("differences"),
        )
        .filter(pl.col("n_differences") <= most)
    )
    same = runs.join(differing, on="run_path", how="anti").select(
        "run_path",
        pl.lit(0, pl.Int64).alias("n_differences"),
        pl.lit([], DIFFERENCES).alias("differences"),
    )
    return pl.concat([same, counted.cast({"differences": DIFFERENCES})]).sort(
        "n_differences", "run_path"
    )


def _spelled(configs: pl.DataFrame) -> pl.DataFrame:
    """JSON has one spelling: ``1e-05`` and ``0.00001`` are no difference."""
    texts = configs["value_json"].drop_nulls().unique().to_list()
    better = [_canonical(one) for one in texts]
    return configs.with_columns(
        pl.col("value_json").replace_strict(texts, better, default=None)
        if texts
        else pl.col("value_json")
    )


def _canonical(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
