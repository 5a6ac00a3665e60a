"""Findings in the report: counted, listed, drawn where they happened, escaped."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from run_assets.reports.content import ReportContent
from run_assets.reports.diagnosis_content import (
    MAX_DRAWN,
    Diagnosis,
    drawn_findings,
    thinned,
)
from run_assets.reports.diagnosis_views import diagnosis_view
from run_assets.reports.figures import figures
from run_assets.reports.finding_figure import finding_figures
from run_assets.reports.markdown import render_markdown
from run_assets.reports.render import render_html
from tests.support.report_content import HOSTILE, frame, nothing


def finding(run: str = "lab/maze/r1", **more: Any) -> dict[str, Any]:
    return {
        "run_path": run,
        "rule_code": "RUN001",
        "rule_name": "loss-spike",
        "family": "instability",
        "outcome": "fired",
        "severity": "warning",
        "metric": "loss",
        "first_step": 40,
        "last_step": 41,
        "statistic": 3.0,
        "threshold": 1.2,
        "n_points": 100,
        "effect_size": 3.0,
        "evidence_json": "{}",
        **more,
    }


def diagnosis(*rows: dict[str, Any]) -> Diagnosis:
    findings = frame("diagnostics.findings", rows)
    runs = findings["run_path"].unique(maintain_order=True)
    health = frame(
        "diagnostics.run_health",
        [
            {
                "run_path": run,
                "run_state": "finished",
                "worst_severity": "warning",
                "n_clear": 9,
                "n_not_testable": 2,
                "sentence": "1 warning",
            }
            for run in runs
        ],
    )
    steps = np.arange(100)
    points = [
        pl.DataFrame(
            {
                "run_path": row["run_path"],
                "metric": row["metric"],
                "step": steps,
                "value": 1.0 + (steps == 40),
            }
        )
        for row in rows
    ]
    return Diagnosis(findings, health, pl.concat(points))


@pytest.fixture
def content() -> ReportContent:
    return replace(nothing(), diagnosis=diagnosis(finding()))


def test_a_finding_is_listed_and_drawn(content: ReportContent) -> None:
    page = render_html(content, figures(content))
    assert "1 run with warnings" in page
    assert "RUN001 loss-spike" in page
    assert "Marked: steps 40 to 41" in page
    assert 'aria-label="RUN001 warning: loss of r1"' in page


def test_the_mark_stands_where_it_happened(content: ReportContent) -> None:
    (figure,) = finding_figures(content.diagnosis)
    moved = diagnosis(finding(first_step=80, last_step=81))
    (other,) = finding_figures(moved)
    assert figure.svg != other.svg
    assert figure.svg == finding_figures(content.diagnosis)[0].svg


def test_only_the_worst_are_drawn_and_the_rest_is_counted() -> None:
    rows = [finding(f"lab/maze/r{i}") for i in range(MAX_DRAWN + 3)]
    rows.append(finding("lab/maze/worst", severity="error", rule_code="RUN004"))
    told = diagnosis(*rows)
    assert drawn_findings(told.findings)["run_path"][0] == "lab/maze/worst"
    assert len(finding_figures(told)) == MAX_DRAWN
    assert (
        f"{MAX_DRAWN} of {MAX_DRAWN + 4} findings"
        in diagnosis_view(told, 99).plots_note
    )


def test_a_long_table_is_cut_and_says_so() -> None:
    told = diagnosis(*[finding(f"lab/maze/r{i}") for i in range(9)])
    table = diagnosis_view(told, 4).findings
    assert table is not None
    assert (len(table.rows), table.n_rows) == (4, 9)
    assert "diagnostics.findings" in table.cut_note


def test_information_is_counted_by_rule_and_not_drawn() -> None:
    told = diagnosis(finding(severity="info"), finding("lab/maze/r2", severity="info"))
    view = diagnosis_view(told, 9)
    assert view.findings is None
    assert view.notes is not None
    assert [cell.text for cell in view.notes.rows[0]][::2] == ["RUN001 loss-spike", "2"]
    assert finding_figures(told) == []


def test_without_runs_it_says_so() -> None:
    assert diagnosis_view(Diagnosis(), 9).headline == (
        "No run has been diagnosed yet.",
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_strangers_stay_text(name: str) -> None:
    told = diagnosis(finding(f"lab/maze/{name}", metric=name))
    content = replace(nothing(), diagnosis=told)
    page = render_html(content, figures(content))
    assert "<img src=x" not in page
    assert "javascript:alert" not in page.replace("(javascript:alert(1))", "")
    text = render_markdown(content)
    assert "<img" not in text
    assert "[d](javascript" not in text.replace("`", "\n`").split("\n")[0]


def test_a_spike_of_one_step_survives_thinning() -> None:
    steps = np.arange(100_000)
    points = pl.DataFrame(
        {
            "run_path": "a/b/c",
            "metric": "loss",
            "step": steps,
            "value": np.where(steps == 54_321, 99.0, np.nan_to_num(np.sin(steps))),
        }
    )
    kept = thinned(points)
    assert kept.height <= 2_000
    assert kept.filter(pl.col("value") == 99)["step"].to_list() == [54_321]
    assert thinned(points.with_columns(value=pl.lit(float("nan")))).is_empty()
