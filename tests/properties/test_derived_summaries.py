"""The same summaries by SQL (`marts.run_summaries`) and by polars."""

import math
from pathlib import Path

import duckdb
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from run_assets.derived.processing import AGGREGATES, aggregate_by_run

FAST = settings(max_examples=15, deadline=None)  # timings vary on shared machines
MODEL = Path(__file__).parents[2] / "sql/marts/run_summaries.sql"
SETUP = """
create schema core;
create schema staging;
create table core.metric_points as
select
    run_path, metric, step, value, cast(step as double) as x, '_step' as x_metric,
    make_timestamptz(0) as logged_at
from points;
create table staging.runs as
select distinct
    run_path, 'p' as project, 100 as history_rows, cast(null as json) as summary_json
from points;
"""


@st.composite
def points(draw: st.DrawFn) -> pl.DataFrame:
    keys = st.tuples(
        st.sampled_from("ab"), st.sampled_from(["m", "n"]), st.integers(-5, 50)
    )
    values = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf])
    rows = draw(st.dictionaries(keys, values, min_size=1, max_size=60))
    return pl.DataFrame(
        [(*key, value) for key, value in rows.items()],
        schema=["run_path", "metric", "step", "value"],
        orient="row",
    )


def by_sql(rows: pl.DataFrame) -> pl.DataFrame:
    with duckdb.connect() as connection:
        connection.register("points", rows)
        connection.execute(SETUP)
        table = pl.DataFrame(connection.sql(MODEL.read_text()).to_arrow_table())
    return table.rename({"n_points": "count"})


@FAST
@given(points())
def test_sql_and_polars_summarise_alike(rows: pl.DataFrame) -> None:
    wanted = dict.fromkeys(rows["metric"].unique(), tuple(AGGREGATES))
    ours = aggregate_by_run(rows, wanted).pivot(
        "aggregate", index=["run_path", "metric"], values="value"
    )
    assert_frame_equal(
        by_sql(rows).select(ours.columns).sort("run_path", "metric"),
        ours.sort("run_path", "metric"),
        check_dtypes=False,
        rel_tol=1e-9,
        abs_tol=1e-6,  # values reach 1e6; variance by different formulas
    )
