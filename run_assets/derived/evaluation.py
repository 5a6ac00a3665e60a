"""Derived metrics as numbers: per run, and per step with the same expression.

Every value is a finite number or null with a reason; nothing else can come out.
NaN and infinities that runs logged count as no value (``loss is not finite``), and
an operation without a finite result gives none either: ``x / 0``, the logarithm of
zero, an overflow. A null makes everything computed from it null, with the leftmost
reason, except in ``coalesce``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.derived.columns import Column, Reasons, evaluate
from run_assets.derived.expressions import Aggregate
from run_assets.derived.references import (
    RUN_COLUMNS,
    DerivedMetric,
    Reference,
    Vocabulary,
    plan,
)
from run_assets.errors import ContractError

RUN_METRIC_SCHEMA: dict[str, type[pl.DataType]] = {
    "run_path": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "null_reason": pl.String,
}
STEP_METRIC_SCHEMA: dict[str, type[pl.DataType]] = {
    "run_path": pl.String,
    "metric": pl.String,
    "step": pl.Int64,
    "value": pl.Float64,
    "null_reason": pl.String,
}
# The column of `marts.run_summaries` behind each summary.
_SUMMARY_COLUMNS: dict[Aggregate, str] = {
    "last": "last",
    "first": "first",
    "min": "min",
    "max": "max",
    "mean": "mean",
    "median": "median",
    "std": "std",
    "count": "n_points",
    "mean_last_10pct": "mean_last_10pct",
}


@dataclass(frozen=True, slots=True)
class RunInputs:
    """All that expressions read of runs.

    Attributes:
        summaries: Rows of ``marts.run_summaries``: run_path, metric and the columns
            that the expressions' summaries name (``last``, ``max``, ``n_points`` …).
        runs: One row per run: run_path and the columns of `RUN_COLUMNS`.
        configs: Rows of ``core.run_configs``: run_path, key, value_double.
        constants: Finite numbers from the config file.
    """

    summaries: pl.DataFrame
    runs: pl.DataFrame
    configs: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(
            schema={"run_path": pl.String, "key": pl.String, "value_double": pl.Float64}
        )
    )
    constants: Mapping[str, float] = field(default_factory=dict)

    def vocabulary(self) -> Vocabulary:
        """The names that these frames give a meaning to."""
        return Vocabulary(
            metrics=frozenset(self.summaries["metric"].unique()),
            config_keys=frozenset(self.configs["key"].unique()),
            constants=frozenset(self.constants),
        )


def evaluate_per_run(
    expressions: Mapping[str, str],
    inputs: RunInputs,
    vocabulary: Vocabulary | None = None,
) -> pl.DataFrame:
    """Derived metrics of runs, from one number per name and run.

    The name of a logged metric is its last value; ``steps`` is the run's last step.

    Args:
        expressions: Text by name of the derived metric; they may use each other.
        inputs: What is known of the runs.
        vocabulary: The names that count as known, if these runs are only part of
            all; a known name that is absent here gives null. Default: the names in
            ``inputs``. (Without any run, names are not looked up.)

    Returns:
        One row per run and derived metric, sorted: run_path, metric, value,
        null_reason (null where there is a value: ``missing reward``, ``config.lr is
        not a number``, ``division by zero`` …).

    Raises:
        UsageError: See `run_assets.derived.references.plan`.
        ContractError: A run, a summary or a config key of a run occurs twice.
    """
    if inputs.runs.is_empty():
        return pl.DataFrame(schema=RUN_METRIC_SCHEMA)
    metrics = plan(expressions, vocabulary or inputs.vocabulary())
    runs = _run_paths(inputs)
    reasons = Reasons.of(metrics)
    columns = evaluate(metrics, reasons, lambda each: _run_values(each, inputs, runs))
    frames = [
        _result(runs.to_frame(), name, column, reasons)
        for name, column in columns.items()
    ]
    empty = pl.DataFrame(schema=RUN_METRIC_SCHEMA)
    return pl.concat([empty, *frames]).sort("run_path", "metric")


def evaluate_per_step(
    expressions: Mapping[str, str],
    points: pl.DataFrame,
    inputs: RunInputs,
    vocabulary: Vocabulary | None = None,
) -> pl.DataFrame:
    """Derived metrics along runs, at the steps where all they need was logged.

    The bare name of a logged metric is its value at the step, and ``steps`` is that
    step. Summaries (also ``last(reward)``), other run columns, config and constants
    are one number per run, the same at each of its steps. A derived metric means
    its expression, as if that stood there in parentheses.

    Args:
        expressions: As in `evaluate_per_run`.
        points: Rows of ``core.metric_points``: run_path, metric, step, value; one
            per (run_path, metric, step). Those of runs not in ``inputs`` are left
            out.
        inputs: What is known of the runs.
        vocabulary: As in `evaluate_per_run`.

    Returns:
        Rows sorted by metric, run_path, step: run_path, metric, step, value,
        null_reason. A step where the expression lacks something is no row; one where
        it has all but no finite result is a null with its reason. An expression
        without a bare metric has no steps.

    Raises:
        UsageError: See `run_assets.derived.references.plan`.
        ContractError: A run, a summary, a config key or a point occurs twice.
    """
    if inputs.runs.is_empty():
        return pl.DataFrame(schema=STEP_METRIC_SCHEMA)
    metrics = plan(expressions, vocabulary or _vocabulary_with(points, inputs))
    own_metrics = _stepwise_metrics(metrics)
    runs = _run_paths(inputs)
    steps = _StepTable.of(points, runs, frozenset().union(*own_metrics.values()))
    reasons = Reasons.of(metrics)
    columns = evaluate(
        metrics, reasons, lambda each: _step_values(each, inputs, runs, steps)
    )
    frames = [
        _result(steps.keys, name, column, reasons).filter(
            steps.has_any(own_metrics[name]) & ~reasons.is_missing(column)
        )
        for name, column in columns.items()
    ]
    empty = pl.DataFrame(schema=STEP_METRIC_SCHEMA)
    table = pl.concat(
        [empty, *(frame.select(list(STEP_METRIC_SCHEMA)) for frame in frames)]
    )
    return table.sort("metric", "run_path", "step")


def null_counts(values: pl.DataFrame) -> pl.DataFrame:
    """How often a derived metric has no value, and why: metric, null_reason, n_rows.

    Args:
        values: What `evaluate_per_run` or `evaluate_per_step` returned.
    """
    return (
        values.filter(pl.col("null_reason").is_not_null())
        .group_by("metric", "null_reason")
        .agg(pl.len().cast(pl.Int64).alias("n_rows"))
        .sort("metric", "null_reason")
    )


def _result(
    rows: pl.DataFrame, name: str, column: Column, reasons: Reasons
) -> pl.DataFrame:
    """``rows`` with metric, value and null_reason."""
    values = pl.Series(np.broadcast_to(column.values, rows.height))
    codes = pl.Series(np.broadcast_to(column.reasons, rows.height))
    texts = pl.Series([None, *reasons.texts[1:]], dtype=pl.String)
    return rows.with_columns(
        pl.lit(name).alias("metric"),
        values.fill_nan(None).alias("value"),
        texts.gather(codes).alias("null_reason"),
    )


@dataclass(frozen=True, slots=True)
class _StepTable:
    """Points side by side: one row per (run_path, step) at which one was logged."""

    keys: pl.DataFrame  # run_path, step
    run_index: pl.Series  # by row, the run's place among all runs
    values: Mapping[str, pl.Series]  # by metric and row; null where not logged

    @classmethod
    def of(
        cls, points: pl.DataFrame, runs: pl.Series, metrics: frozenset[str]
    ) -> "_StepTable":
        order = runs.to_frame().with_row_index("run_index")
        step = pl.col("step").cast(pl.Int64)
        used = points.select("run_path", "metric", step, "value").filter(
            pl.col("metric").is_in(metrics) & pl.col("value").is_not_null()
        )
        used = used.join(order, on="run_path")
        keys = used.select("run_index", "run_path", "step").unique()
        keys = keys.sort("run_index", "step").with_row_index("row")
        used = used.join(keys, on=["run_index", "step"])
        values = {
            metric: _scattered(
                used.filter(pl.col("metric") == metric), keys.height, metric
            )
            for metric in sorted(metrics)
        }
        return cls(keys.select("run_path", "step"), keys["run_index"], values)

    def has_any(self, metrics: frozenset[str]) -> NDArray[np.bool_]:
        """By row, whether one of the metrics was logged there."""
        found = np.zeros(self.keys.height, dtype=np.bool_)
        for metric in metrics:
            found |= self.values[metric].is_not_null().to_numpy()
        return found


def _scattered(points: pl.DataFrame, height: int, metric: str) -> pl.Series:
    rows = points["row"].to_numpy()
    values = np.zeros(height)
    values[rows] = points["value"].to_numpy()
    is_logged = np.zeros(height, dtype=np.bool_)
    is_logged[rows] = True
    if np.count_nonzero(is_logged) != points.height:
        _refuse_duplicates("(run_path, metric, step)", metric)
    # Not fill_nan: a logged NaN must stay apart from a value that is not there.
    frame = pl.DataFrame({"value": values, "is_logged": is_logged})
    return frame.select(pl.when("is_logged").then("value"))["value"]


def _step_values(
    reference: Reference, inputs: RunInputs, runs: pl.Series, steps: _StepTable
) -> pl.Series:
    match reference:
        case Reference("metric", metric, None):
            return steps.values[metric]
        case Reference("run_column", "steps"):
            return steps.keys["step"]
    return _run_values(reference, inputs, runs).gather(steps.run_index)


def _run_values(reference: Reference, inputs: RunInputs, runs: pl.Series) -> pl.Series:
    """One value per run, in the order of ``runs``."""
    if reference.kind == "constant":
        return pl.repeat(inputs.constants[reference.name], len(runs), eager=True)
    source = _run_rows(reference, inputs)
    if source["run_path"].is_duplicated().any():
        _refuse_duplicates("run_path", reference.label)
    joined = runs.to_frame().join(
        source, on="run_path", how="left", maintain_order="left"
    )
    return joined["value"]


def _run_rows(reference: Reference, inputs: RunInputs) -> pl.DataFrame:
    """run_path and value of the runs that have one."""
    name = reference.name
    match reference.kind:
        case "run_column":
            return inputs.runs.select("run_path", value=pl.col(RUN_COLUMNS[name]))
        case "config":
            rows = inputs.configs.filter(pl.col("key") == name)
            return rows.select(
                "run_path", value=pl.col("value_double").fill_null(np.nan)
            )
        case "metric":
            rows = inputs.summaries.filter(pl.col("metric") == name)
            column = _SUMMARY_COLUMNS[reference.aggregate or "last"]
            return rows.select("run_path", value=pl.col(column))
    message = f"{reference.label} is not a value that a run brings along"
    raise AssertionError(message)  # constants and derived metrics are never asked for


def _run_paths(inputs: RunInputs) -> pl.Series:
    runs = inputs.runs["run_path"].sort()
    if runs.is_duplicated().any():
        _refuse_duplicates("run_path", "runs")
    return runs


def _vocabulary_with(points: pl.DataFrame, inputs: RunInputs) -> Vocabulary:
    known = inputs.vocabulary()
    return replace(known, metrics={*known.metrics, *points["metric"].unique()})


def _stepwise_metrics(
    metrics: Sequence[DerivedMetric],
) -> dict[str, frozenset[str]]:
    """By derived metric, the metrics it reads at each step, also through others."""
    found: dict[str, frozenset[str]] = {}
    for metric in metrics:
        references = metric.references.values()
        own = {
            each.name
            for each in references
            if each.kind == "metric" and each.aggregate is None
        }
        inherited = (found[each.name] for each in references if each.kind == "derived")
        found[metric.name] = frozenset(own).union(*inherited)
    return found


def _refuse_duplicates(key: str, what: str) -> NoReturn:
    message = (
        f"{key} is not unique in the rows for {what!r}; keep one row for each before "
        "derived metrics are computed"
    )
    raise ContractError(message)
