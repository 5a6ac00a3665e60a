"""The findings of all runs as a sentence and two tables."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from run_assets.diagnostics.model import WHOLE_RUN
from run_assets.diagnostics.registry import rules
from run_assets.reports.diagnosis_content import MAX_DRAWN, Diagnosis, drawn_findings
from run_assets.reports.text import NOTHING, count, interval, number
from run_assets.reports.views import Cell, Sentence, TableView, name


@dataclass(frozen=True)
class DiagnosisView:
    """The section on findings.

    Attributes:
        headline: How many runs have something.
        findings: Errors and warnings, the worst first; ``None`` without any.
        notes: What else is worth knowing, by rule.
        plots_note: How many findings are drawn, and where the others are.
    """

    headline: Sentence
    findings: TableView | None
    notes: TableView | None
    plots_note: str


def diagnosis_view(diagnosis: Diagnosis, max_rows: int) -> DiagnosisView:
    """What the report says of the findings.

    Args:
        diagnosis: Findings and health.
        max_rows: Rows shown of a table.
    """
    fired = diagnosis.fired
    bad = fired.filter(pl.col("severity") != "info")
    return DiagnosisView(
        headline=(_headline(diagnosis),),
        findings=_bad_table(bad, max_rows) if not bad.is_empty() else None,
        notes=_notes_table(fired.filter(severity="info")),
        plots_note=_plots_note(bad, diagnosis),
    )


def _headline(diagnosis: Diagnosis) -> str:
    health = diagnosis.health
    if health.is_empty():
        return "No run has been diagnosed yet."
    errors = health.filter(worst_severity="error").height
    warnings = health.filter(worst_severity="warning").height
    clean = health.height - errors - warnings
    tests = int(health["n_clear"].sum())
    blind = int(health["n_not_testable"].sum())
    return (
        f"{count(errors, 'run')} with errors, {count(warnings, 'run')} with warnings, "
        f"{count(clean, 'run')} with neither. {tests:,} tests were clear; {blind:,} "
        "could not be made, mostly of metrics that were not logged; the table says why."
    )


def _bad_table(bad: pl.DataFrame, max_rows: int) -> TableView:
    return TableView(
        title="Errors and warnings",
        columns=(
            ("Run", "name"),
            ("Severity", "state"),
            ("Finding", "text"),
            ("Metric", "name"),
            ("Steps", "number"),
            ("Statistic", "number"),
            ("Effect", "number"),
        ),
        rows=tuple(_bad_row(row) for row in bad.head(max_rows).to_dicts()),
        n_rows=bad.height,
        address="diagnostics.findings",
        note="run-assets explain CODE says how each was tested and what to do.",
    )


def _bad_row(row: dict[str, Any]) -> tuple[Cell, ...]:
    whole = row["metric"] == WHOLE_RUN
    limit, low, high = row["threshold"], row["ci_low"], row["ci_high"]
    told = "" if limit is None else f"threshold {number(limit)}"
    ends = "" if low is None or high is None else interval(low, high)
    return (
        Cell(name(row["run_path"], 64)),
        Cell(row["severity"]),
        Cell(f"{row['rule_code']} {row['rule_name']}"),
        Cell(NOTHING if whole else name(row["metric"], 48)),
        Cell(_steps(row)),
        Cell(number(row["statistic"]), detail=told),
        Cell(number(row["effect_size"]), detail=ends),
    )


def _steps(row: dict[str, Any]) -> str:
    first, last = row["first_step"], row["last_step"]
    if first is None:
        return NOTHING
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def _notes_table(notes: pl.DataFrame) -> TableView | None:
    if notes.is_empty():
        return None
    by_rule = notes.group_by("rule_code", "rule_name").agg(
        runs=pl.col("run_path").n_unique()
    )
    rows = by_rule.sort("rule_code").rows()
    return TableView(
        title="Worth knowing",
        columns=(("Rule", "text"), ("What it found", "text"), ("Runs", "number")),
        rows=tuple(
            (
                Cell(f"{code} {title}"),
                Cell(rules()[code].summary),
                Cell(f"{runs:,}"),
            )
            for code, title, runs in rows
        ),
        n_rows=len(rows),
        address="diagnostics.findings",
    )


def _plots_note(bad: pl.DataFrame, diagnosis: Diagnosis) -> str:
    drawn = drawn_findings(diagnosis.findings).height
    if bad.height <= drawn:
        return ""
    return (
        f"{drawn:,} of {count(bad.height, 'finding')} are drawn: the worst of each "
        f"metric of a run, where it names a step, at most {MAX_DRAWN}."
    )
