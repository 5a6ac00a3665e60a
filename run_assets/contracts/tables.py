"""Grain, key and columns of every table; a table's name is its address.

What a column means is in ``columns``. A contract feeds the parquet schema, the check
before a file is published, the comments in ``warehouse.duckdb`` and ``docs/tables``.
"""

from run_assets.contracts.columns import Column
from run_assets.contracts.curves import CURVE_TABLES
from run_assets.contracts.diagnostics import DIAGNOSTICS_TABLES
from run_assets.contracts.evaluations import EVALUATION_TABLES
from run_assets.contracts.table import Table
from run_assets.contracts.table import declared as _table
from run_assets.errors import NotFoundError, did_you_mean

__all__ = ["SCHEMAS", "TABLES", "Table", "table"]

SCHEMAS: dict[str, str] = {
    "raw": "what the sources say, unchanged",
    "staging": "views over raw: renamed, cast, without duplicates",
    "core": "one entity a table",
    "marts": "what people filter, join and plot: the public contract",
    "derived": "what SQL says badly: derived metrics and curves",
    "stats": "estimates with intervals, and the scores they come from",
    "diagnostics": "what went well or wrong in each run, with evidence",
    "curves": "training curves on the budget's grid, and what a model expects of them",
    "published": "what left the project",
}

_RUN = """
    run_path entity project run_id run_name run_group job_type tags notes run_state
    created_at heartbeat_at runtime_seconds last_step history_rows config_json
    summary_json user_name host_name program git_commit sdk_version sweep_name url
    source source_location is_deleted fetched_at
"""
_NOTES = Column("VARCHAR", "What a reader must know about the number")

_ALL = (
    _table("raw.runs", "run, in its latest known state", "run_path", _RUN, "runs"),
    _table(
        "raw.history",
        "run, metric and step",
        "run_path metric step",
        "run_path metric step logged_at runtime_seconds value value_json",
        "points",
        sort=("metric", "run_path", "step"),
        is_bulk=True,
    ),
    _table(
        "raw.system_metrics",
        "run, system metric and sample",
        "run_path metric logged_at",
        "run_path metric logged_at runtime_seconds value",
        "runs",
        sort=("metric", "run_path", "logged_at"),
        is_bulk=True,
    ),
    _table(
        "raw.artifacts",
        "run, artifact version and direction",
        "run_path direction artifact_type artifact_name sequence",
        "run_path direction artifact_type artifact_name version aliases files "
        "size_bytes digest created_at sequence",
        "runs",
        own_columns={
            "sequence": Column("BIGINT", "Order among the run's artifacts, from 0")
        },
    ),
    _table(
        "raw.metric_definitions",
        "run and define_metric pattern",
        "run_path pattern",
        "run_path pattern step_metric summary goal",
        "runs",
    ),
    _table(
        "raw.sync_state",
        "run, source and location: what was last read from where",
        "run_path source source_location",
        """
        run_path source source_location run_state heartbeat_at last_step history_rows
        history_values server_rows export_rows size_bytes modified_ns listing_digest
        project_slug day parts
        content_digest progress_json skipped skipped_bytes is_damaged problem fetched_at
        """,
        "single",
    ),
    _table(
        "staging.runs",
        "run that was not deleted",
        "run_path",
        _RUN.replace("is_deleted", "ended_at is_complete"),
        "view",
    ),
    _table(
        "staging.history",
        "run, metric and step with a number",
        "run_path metric step",
        "run_path metric step logged_at runtime_seconds value",
        "view",
    ),
    _table(
        "staging.metric_definitions",
        "run and define_metric pattern",
        "run_path pattern",
        "run_path pattern prefix is_prefix step_metric",
        "view",
        own_columns={
            "prefix": Column("VARCHAR", "The pattern without its final *"),
            "is_prefix": Column("BOOLEAN", "The pattern ended with *"),
        },
    ),
    _table(
        "core.run_configs",
        "run and config key",
        "run_path key",
        "run_path key value_json value_double value_text",
        "runs",
        own_columns={"value_json": Column("VARCHAR", "JSON text of the value")},
    ),
    _table(
        "core.metric_points",
        "run, metric and step with a number",
        "run_path metric step",
        "run_path metric step logged_at runtime_seconds value x_metric x",
        "points",
        sort=("metric", "run_path", "step"),
        is_bulk=True,
    ),
    _table(
        "marts.runs",
        "run that was not deleted",
        "run_path",
        """
        run_path entity project run_id run_name run_group job_type tags notes run_state
        is_complete created_at ended_at heartbeat_at runtime_seconds last_step
        history_rows n_metrics user_name host_name program git_commit sdk_version
        sweep_name url source config_json
        """,
        "single",
        own_columns={"n_metrics": Column("BIGINT", "Metrics with a number")},
    ),
    _table(
        "marts.run_summaries",
        "run and metric",
        "run_path metric",
        """
        run_path project metric n_points n_nonfinite missing_rate mean std min p25
        median p75 max first last mean_last_10pct first_step last_step first_x last_x
        x_metric last_logged_at summary_value
        """,
        "runs",
    ),
    _table(
        "derived.run_metrics",
        "run and derived metric",
        "run_path metric",
        "run_path metric value null_reason",
        "runs",
    ),
    _table(
        "derived.step_metrics",
        "run, derived metric and step",
        "run_path metric step",
        "run_path metric step value null_reason",
        "runs",
        is_bulk=True,
    ),
    _table(
        "derived.curve_grids",
        "project and metric",
        "entity project metric",
        "entity project metric x_metric bin_width",
        "single",
    ),
    _table(
        "derived.metric_curves",
        "run, metric and grid point",
        "run_path metric grid_x",
        "run_path metric grid_x value n_points is_observed",
        "runs",
        own_columns={
            "n_points": Column("BIGINT", "Finite values in the bin"),
            "value": Column("DOUBLE", "Mean of the bin, or interpolated"),
        },
    ),
    _table(
        "stats.scores",
        "analysis and run: exactly what the statistics were computed from",
        "analysis run_path",
        "analysis group_name task run_path replicate created_at raw_score score",
        "single",
    ),
    _table(
        "stats.interval_estimates",
        "analysis, group and statistic",
        "analysis group_name statistic",
        """
        analysis group_name statistic estimate ci_low ci_high confidence method n_runs
        n_tasks min_runs_per_task max_runs_per_task resamples seed notes
        """,
        "single",
        own_columns={"notes": _NOTES},
    ),
    _table(
        "stats.performance_profiles",
        "analysis, group and threshold",
        "analysis group_name threshold",
        """
        analysis group_name threshold fraction ci_low ci_high kind band confidence
        method n_runs n_tasks resamples seed notes
        """,
        "single",
        own_columns={"notes": _NOTES},
    ),
    _table(
        "stats.comparisons",
        "analysis and unordered pair of groups",
        "analysis group_x group_y",
        """
        analysis group_x group_y test alternative statistic p_value p_adjusted
        correction mean_difference ci_low ci_high confidence effect effect_size n_x n_y
        notes
        """,
        "single",
        own_columns={
            "statistic": Column("DOUBLE", "Value of the test statistic"),
            "notes": _NOTES,
        },
    ),
    _table(
        "stats.probability_of_improvement",
        "analysis and ordered pair of groups",
        "analysis group_x group_y",
        """
        analysis group_x group_y estimate ci_low ci_high confidence method n_x n_y
        n_tasks min_runs_per_task max_runs_per_task resamples seed notes
        """,
        "single",
        own_columns={
            "estimate": Column("DOUBLE", "Chance that a run of x is above one of y"),
            "notes": _NOTES,
        },
    ),
    _table(
        "stats.sample_efficiency",
        "analysis, group, statistic and point of the curves",
        "analysis group_name statistic grid_x",
        """
        analysis group_name statistic grid_x level estimate ci_low ci_high confidence
        method n_runs n_tasks min_runs_per_task max_runs_per_task resamples seed notes
        """,
        "single",
        own_columns={
            "statistic": Column(
                "VARCHAR", "At a point: iqm, mean, median; of a curve: area, first_step"
            ),
            "grid_x": Column(
                "DOUBLE", "Point of the curves; for area and first_step the last one"
            ),
            "notes": _NOTES,
        },
    ),
    _table(
        "stats.rank_stability",
        "analysis and group",
        "analysis group_name",
        """
        analysis group_name statistic estimate rank rank_low rank_high mean_rank
        probability_best confidence method n_groups n_runs n_tasks min_runs_per_task
        max_runs_per_task resamples seed notes
        """,
        "single",
        own_columns={"notes": _NOTES},
    ),
    _table(
        "stats.optimality_gaps",
        "analysis, group and task, and one for all tasks",
        "analysis group_name task",
        """
        analysis group_name task gap ci_low ci_high gap_rate rate_ci_low rate_ci_high
        optimum confidence method n_runs n_tasks min_runs_per_task max_runs_per_task
        resamples seed notes
        """,
        "single",
        own_columns={
            "task": Column("VARCHAR", "Stratum of the runs; * is the mean over all"),
            "ci_low": Column("DOUBLE", "Lower end of the interval of the gap"),
            "ci_high": Column("DOUBLE", "Upper end of the interval of the gap"),
            "notes": _NOTES,
        },
    ),
    _table(
        "published.warehouse",
        "build of this DuckDB file",
        "input_digest",
        "input_digest code_version",
        "none",
    ),
)

_PLACES = {name: place for place, name in enumerate(SCHEMAS)}
TABLES: dict[str, Table] = {
    table.name: table
    for table in sorted(
        (*_ALL, *EVALUATION_TABLES, *DIAGNOSTICS_TABLES, *CURVE_TABLES),
        key=lambda one: _PLACES[one.schema],
    )
}


def table(name: str) -> Table:
    """The contract of a table.

    Raises:
        NotFoundError: No table has this name.

    >>> table("marts.runs").key
    ('run_path',)
    """
    if found := TABLES.get(name):
        return found
    msg = f"no table {name!r}{did_you_mean(name, TABLES)}"
    raise NotFoundError(msg)
