"""The road from history to run summaries gives the same table by SQL and by polars."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from run_assets.contracts.tables import table
from run_assets.store.lake import conform, schema_of
from run_assets.store.models import run_model

Step = int
Points = dict[tuple[str, str, Step], float]

RUNS = ("a/p/1", "a/p/2")
METRICS = ("loss", "epoch", "eval.'x\"")
# Sums that overflow a double are a case of their own in tests/sql: polars has no mean.
FINITE = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
VALUES = FINITE | st.sampled_from([math.nan, math.inf, -math.inf])
POINTS = st.dictionaries(
    st.tuples(st.sampled_from(RUNS), st.sampled_from(METRICS), st.integers(0, 60)),
    VALUES,
    max_size=80,
)
ROWS = st.fixed_dictionaries({run: st.none() | st.integers(0, 90) for run in RUNS})
STATISTICS = ["mean", "std", "min", "p25", "median", "p75", "max", "mean_last_10pct"]


def history_of(points: Points) -> pl.DataFrame:
    rows = [(*key, None, None, value, None) for key, value in points.items()]
    return pl.DataFrame(rows, schema=schema_of(table("raw.history")), orient="row")


def runs_of(history_rows: dict[str, int | None]) -> pl.DataFrame:
    schema = schema_of(table("raw.runs"))
    known = {
        "run_path": list(history_rows),
        "history_rows": list(history_rows.values()),
    }
    nothing: list[None] = [None] * len(history_rows)
    return pl.DataFrame(
        {name: known.get(name, nothing) for name in schema}, schema=schema
    )


def definitions_of(runs: tuple[str, ...]) -> pl.DataFrame:
    """The first run declares epoch as the axis of everything, the second none."""
    rows = [(runs[0], "*", "epoch", None, None)]
    return pl.DataFrame(
        rows, schema=schema_of(table("raw.metric_definitions")), orient="row"
    )


def by_sql(history: pl.DataFrame, runs: pl.DataFrame, *, threads: int) -> pl.DataFrame:
    with TemporaryDirectory() as folder:
        lake = {
            "raw.history": history,
            "raw.metric_definitions": definitions_of(RUNS),
            "raw.runs": runs,
        }
        files = {name: [Path(folder) / f"{name}.parquet"] for name in lake}
        for name, frame in lake.items():
            frame.write_parquet(files[name][0])
        with duckdb.connect(config={"threads": str(threads)}) as connection:
            connection.execute("set timezone = 'UTC'")
            name = "core.metric_points"
            files[name] = [Path(folder) / f"{name}.parquet"]
            found = conform(run_model(connection, name, files), table(name))
            found.write_parquet(files[name][0])
            name = "marts.run_summaries"
            found = conform(run_model(connection, name, files), table(name))
    return found.sort(table(name).key)


def with_axis(history: pl.DataFrame) -> pl.DataFrame:
    """The declared axis and its last value at or before each step."""
    is_declared = (pl.col("run_path") == RUNS[0]) & (pl.col("metric") != "epoch")
    epochs = (
        history.filter(pl.col("metric") == "epoch")
        .select("run_path", "step", epoch="value")
        .sort("step")
    )
    return (
        history.sort("step")
        .join_asof(epochs, on="step", by="run_path", check_sortedness=False)
        .with_columns(
            x_metric=pl.when(is_declared)
            .then(pl.lit("epoch"))
            .otherwise(pl.lit("_step")),
            x=pl.when(is_declared).then("epoch").otherwise(pl.col("step").cast(float)),
        )
    )


def by_polars(history: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    value = pl.col("value")
    finite = value.filter(value.is_finite())
    tail = value.tail((pl.len() / 10).ceil().cast(int))
    x = pl.col("x").filter(value.is_finite() & pl.col("x").is_finite())
    counted = (
        with_axis(history)
        .sort("run_path", "metric", "step")
        .group_by("run_path", "metric")
        .agg(
            n_points=pl.len().cast(pl.Int64),
            n_nonfinite=(~value.is_finite()).sum().cast(pl.Int64),
            mean=finite.mean(),
            std=finite.std(),
            min=finite.min(),
            p25=finite.quantile(0.25, "linear"),
            median=finite.quantile(0.5, "linear"),
            p75=finite.quantile(0.75, "linear"),
            max=finite.max(),
            first=value.first(),
            last=value.last(),
            mean_last_10pct=tail.filter(tail.is_finite()).mean(),
            first_step=pl.col("step").min(),
            last_step=pl.col("step").max(),
            first_x=x.min(),
            last_x=x.max(),
            x_metric=pl.col("x_metric").first(),
        )
    )
    rows = pl.when(pl.col("history_rows") > 0).then("history_rows")
    return (
        counted.join(runs.select("run_path", "history_rows"), on="run_path")
        .with_columns(
            missing_rate=(1 - pl.col("n_points") / rows).clip(lower_bound=0),
        )
        .drop("history_rows")
        .sort("run_path", "metric")
    )


@settings(max_examples=40, deadline=None)
@given(points=POINTS, history_rows=ROWS)
def test_sql_and_polars_give_the_same_summaries(
    points: Points, history_rows: dict[str, int | None]
) -> None:
    history, runs = history_of(points), runs_of(history_rows)
    found = by_sql(history, runs, threads=1)
    expected = by_polars(history, runs)
    exact = [name for name in expected.columns if name not in STATISTICS]
    assert_frame_equal(found.select(exact), expected.select(exact), check_exact=True)
    # A mean of values that cancel keeps the rounding of the largest, 1e6.
    assert_frame_equal(
        found.select(STATISTICS),
        expected.select(STATISTICS),
        rel_tol=1e-9,
        abs_tol=1e-8,
    )


@settings(max_examples=20, deadline=None)
@given(points=POINTS, history_rows=ROWS)
def test_the_order_of_the_rows_and_the_threads_change_no_byte(
    points: Points, history_rows: dict[str, int | None]
) -> None:
    history, runs = history_of(points), runs_of(history_rows)
    expected = by_sql(history, runs, threads=1)
    found = by_sql(history.reverse(), runs.reverse(), threads=2)
    assert_frame_equal(found, expected, check_exact=True)


@settings(max_examples=20, deadline=None)
@given(points=POINTS)
def test_summaries_keep_their_order_and_their_ranges(points: Points) -> None:
    runs = runs_of(dict.fromkeys(RUNS, 61))
    found = by_sql(history_of(points), runs, threads=1)
    ordered = found.filter(pl.col("mean").is_not_null())
    for low, high in (
        ("min", "p25"),
        ("p25", "median"),
        ("median", "p75"),
        ("p75", "max"),
    ):
        assert (ordered[low] <= ordered[high]).all()
    assert found["missing_rate"].is_between(0, 1).all()
    assert (found["n_nonfinite"] <= found["n_points"]).all()
    assert found["n_points"].sum() == len(points)
