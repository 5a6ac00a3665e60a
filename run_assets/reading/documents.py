"""A run as one JSON document, and back: an export can stand wherever a run can.

The document is valid JSON. JSON has no NaN and no infinities: they are the texts that
W&B uses, ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, so that nothing is lost on the
way back.
"""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from run_assets.errors import SourceError
from run_assets.reading.run import ARTIFACTS, HISTORY, STATISTICS, Run

SCHEMA_VERSION = 1
KIND = "run_assets.run"
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TIMES = ("created_at", "heartbeat_at", "fetched_at")


def document(
    run: Run, *, has_history: bool = True, has_artifacts: bool = True
) -> dict[str, Any]:
    """Everything known of a run as values of JSON.

    Args:
        run: The run.
        has_history: With every logged value, by column.
        has_artifacts: With what it logged and used.
    """
    found: dict[str, Any] = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "run": dict(run.columns),
        "config": run.config,
        "summary": run.summary,
        "goals": dict(run.goals),
        "statistics": run.statistics.to_dicts(),
    }
    if has_artifacts:
        found["artifacts"] = run.artifacts.to_dicts()
    if has_history:
        found["history"] = run.rows().to_dict(as_series=False)
    return {key: _encoded(value) for key, value in found.items()}


def document_text(content: Mapping[str, Any]) -> str:
    """The document as text, the same for the same run."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def read_document(text: str, where: str, history: pl.LazyFrame | None = None) -> Run:
    """The run of a document.

    Args:
        text: As ``document_text`` wrote it.
        where: Named in errors.
        history: The history, where it lies in a file of its own.

    Raises:
        SourceError: It is no export, of another version, or damaged.
    """
    content = _loaded(text, where)
    try:
        return Run(
            columns=_with_times(content["run"]),
            config=dict(content["config"]),
            summary=dict(content["summary"]),
            statistics=_frame(content["statistics"], STATISTICS),
            history=_history(content) if history is None else history,
            artifacts=_frame(content.get("artifacts", []), ARTIFACTS),
            goals=content["goals"],
            is_export=True,
        )
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        pl.exceptions.PolarsError,
    ) as error:
        msg = f"{where} is a damaged export: {error!r}; export the run again"
        raise SourceError(msg) from error


def _loaded(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{where} is not valid JSON: {error}; `run-assets runs export` writes it"
        raise SourceError(msg) from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        msg = f"{where} is no export of a run; `run-assets runs export` writes one"
        raise SourceError(msg)
    if content.get("schema_version") != SCHEMA_VERSION:
        msg = (
            f"{where} has schema_version {content.get('schema_version')!r}, this "
            f"version reads {SCHEMA_VERSION}; export the run again"
        )
        raise SourceError(msg)
    return content


def _history(content: Mapping[str, Any]) -> pl.LazyFrame:
    columns = content.get("history") or {}
    return _columns_frame({name: columns.get(name, []) for name in HISTORY}).lazy()


def _columns_frame(columns: Mapping[str, list[Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        [_series(name, columns[name], kind) for name, kind in HISTORY.items()]
    )


def _frame(rows: list[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(
        [
            _series(name, [row[name] for row in rows], kind)
            for name, kind in schema.items()
        ]
    )


def _series(name: str, values: list[Any], kind: pl.DataType) -> pl.Series:
    if kind == pl.Float64:
        values = [_NONFINITE[one] if isinstance(one, str) else one for one in values]
    elif isinstance(kind, pl.Datetime):
        values = [
            None if one is None else datetime.fromisoformat(one) for one in values
        ]
    return pl.Series(name, values, kind)


def _with_times(columns: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(columns)
    for name in _TIMES:
        if isinstance(found.get(name), str):
            found[name] = datetime.fromisoformat(found[name])
    return {**found, "run_path": found["run_path"], "run_id": found["run_id"]}


def _encoded(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        case Mapping():
            return {str(name): _encoded(one) for name, one in value.items()}
        case list() | tuple():
            return [_encoded(one) for one in value]
        case date():
            return value.isoformat()
    return value
