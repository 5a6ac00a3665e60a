"""What a report says, before it has a form: frames, facts and what changed.

Verdicts are in ``verdicts``, plots in ``figures``, text in ``render``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import polars as pl

from run_assets.config import Analysis
from run_assets.contracts.tables import table
from run_assets.errors import ContractError
from run_assets.reports.curve_content import CurveContent
from run_assets.reports.diagnosis_content import Diagnosis
from run_assets.reports.evaluation_content import EvaluationContent

SCHEMA_VERSION = 1
Direction = Literal["maximize", "minimize"]

CURVE_COLUMNS: Mapping[str, pl.DataType] = {
    "metric": pl.String(),
    "group_name": pl.String(),
    "task": pl.String(),
    "run_path": pl.String(),
    "x_metric": pl.String(),
    "grid_x": pl.Float64(),
    "value": pl.Float64(),
}
"""Columns of ``AnalysisContent.curves``: one row per metric, run and grid point."""

ANALYSIS_TABLES = (
    "stats.scores",
    "stats.interval_estimates",
    "stats.comparisons",
    "stats.performance_profiles",
    "stats.probability_of_improvement",
    "stats.sample_efficiency",
    "stats.rank_stability",
    "stats.optimality_gaps",
)
"""What is known of an analysis; each table is the attribute of its name."""

# A change in one of these makes yesterday's estimate an answer to another question.
_QUESTION = ("project", "runs", "score", "group", "task", "replicate", "normalize")
_ENDED_BADLY = ("failed", "crashed", "killed")


class Estimate(NamedTuple):
    """One row of ``stats.interval_estimates`` as a reader needs it.

    Attributes:
        group: Name of the group.
        statistic: Such as ``iqm``.
        value: Point estimate, in the unit of the score.
        low: Lower end of the interval; ``None`` where there is none.
        high: Upper end of the interval; ``None`` where there is none.
        n_runs: Runs it was computed from.
    """

    group: str
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    n_runs: int


def _no_rows(name: str) -> pl.DataFrame:
    return pl.DataFrame({column: [] for column in table(name).columns})


@dataclass(frozen=True)
class AnalysisContent:
    """One analysis: its question and the frames that answer it.

    Attributes:
        config: The question, as configured.
        scores: Rows of ``stats.scores`` of this analysis.
        interval_estimates: Its rows of ``stats.interval_estimates``.
        comparisons: Its rows of ``stats.comparisons``.
        performance_profiles: Its rows of ``stats.performance_profiles``.
        probability_of_improvement: Its rows of that table.
        sample_efficiency: Its rows of ``stats.sample_efficiency``.
        rank_stability: Its rows of ``stats.rank_stability``.
        optimality_gaps: Its rows of ``stats.optimality_gaps``.
        curves: Metric curves of its runs, ``CURVE_COLUMNS``; task null without tasks.
        direction: Which scores are good.

    Raises:
        ContractError: A frame lacks a column.
    """

    config: Analysis
    scores: pl.DataFrame
    interval_estimates: pl.DataFrame
    comparisons: pl.DataFrame
    performance_profiles: pl.DataFrame
    probability_of_improvement: pl.DataFrame = field(
        default_factory=lambda: _no_rows("stats.probability_of_improvement")
    )
    sample_efficiency: pl.DataFrame = field(
        default_factory=lambda: _no_rows("stats.sample_efficiency")
    )
    rank_stability: pl.DataFrame = field(
        default_factory=lambda: _no_rows("stats.rank_stability")
    )
    optimality_gaps: pl.DataFrame = field(
        default_factory=lambda: _no_rows("stats.optimality_gaps")
    )
    curves: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame({}, CURVE_COLUMNS)
    )
    direction: Direction = "maximize"

    def __post_init__(self) -> None:
        for name in ANALYSIS_TABLES:
            frame = getattr(self, name.partition(".")[2])
            _require(frame, table(name).columns, f"{name} of {self.name!r}")
        _require(self.curves, CURVE_COLUMNS, f"curves of {self.name!r}")

    @property
    def name(self) -> str:
        """Name of the analysis in ``run_assets.yaml``."""
        return self.config.name

    @property
    def primary(self) -> str:
        """The statistic that the verdict rests on: the first one configured."""
        return self.config.statistics[0] if self.config.statistics else "iqm"

    @property
    def estimates(self) -> list[Estimate]:
        """All point estimates with their intervals, in the order of the table."""
        columns = ["group_name", "statistic", "estimate", "ci_low", "ci_high", "n_runs"]
        rows = self.interval_estimates.select(columns).iter_rows()
        return [Estimate(*row) for row in rows]


@dataclass(frozen=True)
class Provenance:
    """What the report was made from, and with what.

    Attributes:
        code_version: Version of run_assets.
        config_digest: Digest of ``run_assets.yaml`` as it was read.
        input_digest: Digest of every table the report was made from.
        data_as_of: Last sign of life in the data; ``None`` without runs.
        warehouse: Where the tables can be queried, as told to the reader.
    """

    code_version: str
    config_digest: str
    input_digest: str
    data_as_of: datetime | None
    warehouse: str = "warehouse.duckdb"


@dataclass(frozen=True)
class Changes:
    """What is different from the previous report.

    Attributes:
        since: When the previous report was made; ``None`` where there is none.
        new: Paths of runs that were not there.
        grown: Paths of runs that have logged more.
        finished: Paths of runs that have finished since.
        stopped: Paths of runs that have failed, crashed or been killed since.
        deleted: Paths of runs that are gone.
        previous: Earlier estimates, by analysis.
        redefined: Analyses whose question has changed: nothing to compare.
    """

    since: datetime | None = None
    new: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    previous: Mapping[str, tuple[Estimate, ...]] = field(default_factory=dict)
    redefined: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportContent:
    """Everything a report is made from; the same content gives the same bytes.

    Attributes:
        analyses: In the order of the configuration.
        runs: ``marts.runs``.
        sync_state: ``raw.sync_state``.
        changes: See ``changes_since``.
        provenance: What it was made from.
        generated_at: When; it appears in the header and nowhere else.
        evaluations: Trials of models on tasks, the newest sweep first; often none.
        diagnosis: Findings and health of the runs.
        curves: Predicted training curves; ``None`` where none are configured.

    Raises:
        ContractError: A frame lacks a column.
    """

    analyses: tuple[AnalysisContent, ...]
    runs: pl.DataFrame
    sync_state: pl.DataFrame
    changes: Changes
    provenance: Provenance
    generated_at: datetime
    evaluations: tuple[EvaluationContent, ...] = ()
    diagnosis: Diagnosis = field(default_factory=Diagnosis)
    curves: CurveContent | None = None

    def __post_init__(self) -> None:
        _require(self.runs, table("marts.runs").columns, "marts.runs")
        _require(self.sync_state, table("raw.sync_state").columns, "raw.sync_state")


def _require(
    frame: pl.DataFrame, columns: Sequence[str] | Mapping[str, Any], what: str
) -> None:
    if missing := [name for name in columns if name not in frame.columns]:
        msg = (
            f"the report needs every column of {what}, got a frame without "
            f"{', '.join(missing)}; pass the rows of the table unchanged"
        )
        raise ContractError(msg)


def question(config: Analysis) -> dict[str, Any]:
    """The part of an analysis that decides what its numbers mean, as JSON values."""
    return config.model_dump(mode="json", include=set(_QUESTION))


def changes_since(
    previous_json: str | None,
    runs: pl.DataFrame,
    analyses: Sequence[AnalysisContent] = (),
) -> Changes:
    """What is different from the previous ``report.json``.

    Args:
        previous_json: Its text; ``None`` where there is no earlier report.
        runs: ``marts.runs`` of today.
        analyses: Those of today; a question that has changed is not compared.

    Returns:
        The changes; without an earlier report of the same schema version an empty
        one whose ``since`` is ``None``.

    Raises:
        ContractError: The text is no report.
    """
    previous = _parsed(previous_json)
    if previous is None:
        return Changes()
    asked = {one["name"]: one for one in previous["analyses"]}
    both = [one for one in analyses if one.name in asked]
    same = [one for one in both if asked[one.name]["question"] == question(one.config)]
    return Changes(
        since=datetime.fromisoformat(previous["generated_at"]).astimezone(UTC),
        previous={
            one.name: tuple(_estimate(row) for row in asked[one.name]["estimates"])
            for one in same
        },
        redefined=tuple(one.name for one in both if one not in same),
        **_changed_runs(previous["runs"], runs),
    )


def _parsed(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        report = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"the previous report.json is not JSON: {error}; delete it to start anew"
        raise ContractError(msg) from None
    if not isinstance(report, dict) or "schema_version" not in report:
        msg = (
            "the previous report.json has no schema_version, "
            f"got {text[:80]!r}; delete it to start anew"
        )
        raise ContractError(msg)
    return report if report["schema_version"] == SCHEMA_VERSION else None


def _estimate(row: Mapping[str, Any]) -> Estimate:
    return Estimate(
        row["group_name"],
        row["statistic"],
        row["estimate"],
        row["ci_low"],
        row["ci_high"],
        row["n_runs"],
    )


def _changed_runs(
    previous: Sequence[Mapping[str, Any]], runs: pl.DataFrame
) -> dict[str, tuple[str, ...]]:
    before = {row["run_path"]: row for row in previous}
    facts = runs.select("run_path", "run_state", "last_step", "history_rows")
    now = {row["run_path"]: row for row in facts.sort("run_path").to_dicts()}
    known = [path for path in now if path in before]
    turned = [path for path in known if _differs("run_state", before[path], now[path])]
    return {
        "new": tuple(path for path in now if path not in before),
        "grown": tuple(path for path in known if _has_grown(before[path], now[path])),
        "finished": tuple(p for p in turned if now[p]["run_state"] == "finished"),
        "stopped": tuple(p for p in turned if now[p]["run_state"] in _ENDED_BADLY),
        "deleted": tuple(sorted(set(before) - set(now))),
    }


def _differs(column: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return bool(before[column] != now[column])


def _has_grown(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    columns = ("last_step", "history_rows")
    return any((now[name] or 0) > (before[name] or 0) for name in columns)
