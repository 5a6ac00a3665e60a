"""The machine twin of the report: all rows, exact names, valid JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from run_assets.reports.bands import curve_bands
from run_assets.reports.content import (
    SCHEMA_VERSION,
    AnalysisContent,
    ReportContent,
    question,
)
from run_assets.reports.curve_content import CurveContent
from run_assets.reports.evaluation_content import EVALUATION_TABLES, EvaluationContent
from run_assets.reports.verdicts import verdict


def render_json(content: ReportContent) -> str:
    """The machine twin: all rows, exact names, sorted keys, valid JSON.

    A number that is not finite is null; ``non_finite`` says where and which.
    """
    report = _twin(content)
    non_finite = {path: repr(value) for path, value in _non_finite(report, "")}
    report["has_non_finite"] = bool(non_finite)
    report["non_finite"] = non_finite
    return plain_json(report)


def plain_json(document: Any) -> str:
    """Valid JSON with sorted keys; what is not finite is null."""
    return (
        json.dumps(
            _plain(document),
            sort_keys=True,
            indent=1,
            ensure_ascii=True,
            allow_nan=False,
        )
        + "\n"
    )


def _twin(content: ReportContent) -> dict[str, Any]:
    curves = content.curves
    told = {"curves": _curve_twin(curves)} if curves is not None else {}
    return {**_known(content), **told}


def _curve_twin(curves: CurveContent) -> dict[str, Any]:
    return {
        "metric": curves.settings.metric,
        "left_out": dict(curves.left_out),
        "tables": {name: rows.to_dicts() for name, rows in curves.tables.items()},
    }


def _known(content: ReportContent) -> dict[str, Any]:
    runs = ["run_path", "run_name", "run_state", "last_step", "history_rows"]
    changes = content.changes
    source = content.provenance
    files = content.sync_state.select(
        "run_path",
        "source",
        "source_location",
        "skipped",
        "skipped_bytes",
        "is_damaged",
        "problem",
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": content.generated_at,
        "analyses": [_analysis_twin(one, content) for one in content.analyses],
        "evaluations": [_evaluation_twin(one) for one in content.evaluations],
        "changes": {
            "since": changes.since,
            "new": changes.new,
            "grown": changes.grown,
            "finished": changes.finished,
            "stopped": changes.stopped,
            "deleted": changes.deleted,
        },
        "runs": content.runs.select(*runs, "heartbeat_at").sort("run_path").to_dicts(),
        "diagnosis": {
            "findings": content.diagnosis.fired.to_dicts(),
            "run_health": content.diagnosis.health.to_dicts(),
        },
        "incomplete_files": files.filter(
            pl.col("is_damaged")
            | (pl.col("skipped_bytes") > 0)
            | pl.col("problem").is_not_null()
        ).to_dicts(),
        "provenance": {
            "code_version": source.code_version,
            "config_digest": source.config_digest,
            "input_digest": source.input_digest,
            "data_as_of": source.data_as_of,
            "warehouse": source.warehouse,
        },
    }


def _analysis_twin(analysis: AnalysisContent, content: ReportContent) -> dict[str, Any]:
    answer = verdict(analysis, content.changes)
    moved = answer.movement
    return {
        "name": analysis.name,
        "question": question(analysis.config),
        "config": analysis.config.model_dump(mode="json"),
        "direction": analysis.direction,
        "verdict": {
            "outcome": answer.outcome,
            "best": answer.best.group if answer.best else None,
            "against": [one._asdict() for one in answer.against],
            "previous": moved.before._asdict() if moved else None,
            "since_previous": moved.relation if moved else None,
        },
        "estimates": analysis.interval_estimates.to_dicts(),
        "comparisons": analysis.comparisons.to_dicts(),
        "performance_profiles": analysis.performance_profiles.to_dicts(),
        "probability_of_improvement": analysis.probability_of_improvement.to_dicts(),
        "sample_efficiency": analysis.sample_efficiency.to_dicts(),
        "rank_stability": analysis.rank_stability.to_dicts(),
        "optimality_gaps": analysis.optimality_gaps.to_dicts(),
        "scores": analysis.scores.to_dicts(),
        "learning_curves": _curve_twins(analysis),
    }


def _evaluation_twin(content: EvaluationContent) -> dict[str, Any]:
    """Every table but the trials themselves, which are in the warehouse."""
    names = [name.partition(".")[2] for name in EVALUATION_TABLES]
    return {
        "sweep_id": content.sweep_id,
        **{
            name: getattr(content, name).to_dicts()
            for name in names
            if name != "trials"
        },
    }


def _curve_twins(analysis: AnalysisContent) -> list[dict[str, Any]]:
    """One object per line, with columns as lists: a sixth of the size of rows."""
    keys = ["metric", "x_metric", "task", "group_name"]
    lines = curve_bands(analysis.curves).group_by(keys, maintain_order=True)
    return [
        {
            **dict(zip(keys, key, strict=True)),
            **line.drop(keys).to_dict(as_series=False),
        }
        for key, line in lines
    ]


def _non_finite(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _non_finite(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _non_finite(inner, f"{path}[{at}]")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
