from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from run_assets.config import RunFilter
from run_assets.reports.content import ReportContent
from run_assets.reports.report_views import report_view, why_left_out
from tests.support.report_content import navigation, question

RUN: dict[str, Any] = {
    "entity": "local",
    "project": "hearts",
    "run_state": "finished",
    "tags": ["v1"],
    "run_group": "sweep-3",
    "last_step": 500,
    "group_name": None,
    "raw_score": None,
    "score": None,
}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (RunFilter(state=("failed", "killed")), "only failed and killed runs count"),
        (RunFilter(tags=("v1", "v2")), "lacks a tag of v1 and v2"),
        (RunFilter(group="sweep-1"), "belongs to another run group"),
        (RunFilter(min_steps=1_000), "fewer than 1,000 steps"),
        (RunFilter(), "no value of what makes the groups"),
    ],
)
def test_a_run_without_a_score_has_a_reason(wanted: RunFilter, reason: str) -> None:
    found = why_left_out(RUN, question(runs=wanted))
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    ("raw_score", "reason"),
    [
        (None, "no value of the score"),
        (float("nan"), "the score is NaN"),
        (0.5, "the score cannot be normalized"),
    ],
)
def test_a_run_with_a_group_may_lack_its_score(
    raw_score: float | None, reason: str
) -> None:
    run = {**RUN, "group_name": "a", "raw_score": raw_score}
    assert why_left_out(run, question()) == reason


def test_runs_of_the_analysis_without_a_score_are_listed_and_not_counted(
    night: ReportContent,
) -> None:
    one = night.analyses[0]
    lacks = pl.col("run_path").is_in(["local/hearts/r000", "local/hearts/r001"])
    gone = pl.when(lacks).then(None)
    scores = one.scores.with_columns(
        raw_score=gone.otherwise("raw_score"), score=gone.otherwise("score")
    )
    content = replace(night, analyses=(replace(one, scores=scores),))
    view = report_view(content, 10)
    assert view.left_out is not None
    assert view.left_out.n_rows == 5
    assert view.left_out.rows[0][3].text == "no value of the score"
    assert view.coverage[-1] == ("58 runs with a score in ", "navigation", ".")


@pytest.mark.parametrize("project", ["local/other", "other"])
def test_a_run_of_another_project_is_not_missed(project: str) -> None:
    assert why_left_out(RUN, question(project=project)) is None


@pytest.mark.parametrize("project", ["local/hearts", "hearts", None])
def test_a_project_may_be_named_with_or_without_its_entity(project: str | None) -> None:
    assert why_left_out(RUN, question(project=project)) is not None


def test_the_worst_files_come_first(night: ReportContent) -> None:
    damaged = report_view(night, 10).damaged
    assert damaged is not None
    assert [row[1].text for row in damaged.rows] == ["damaged", "damaged", "incomplete"]
    assert [row[2].text for row in damaged.rows] == ["32.8 kB", "0 bytes", "811 bytes"]


def test_the_strip_counts_what_the_frames_hold(night: ReportContent) -> None:
    facts = {one.label: (one.value, one.detail) for one in report_view(night, 5).facts}
    assert facts["Runs"] == ("63", "60 finished")
    assert facts["Failed or stopped"] == ("2", "1 running")
    assert facts["Damaged files"] == ("2", "33.6 kB skipped")
    assert facts["Data as of"] == ("2026-11-20", "01:37 UTC")


def test_changes_name_runs_and_estimates(night: ReportContent) -> None:
    changes = dict(report_view(night, 5).changes)
    assert changes["2 runs finished"] == (
        "local/hearts/r058",
        ", ",
        "local/hearts/r059",
    )
    assert changes["IQM moved"][:2] == ("expected-sarsa", " 0.780 → 0.791")


def test_a_redefined_analysis_says_so(night: ReportContent) -> None:
    changes = replace(night.changes, redefined=("navigation",), previous={})
    (view,) = report_view(replace(night, changes=changes), 5).analyses
    said = [words for _, words in view.remarks]
    assert ("The question has changed since the previous report.",) in said


def test_a_pair_without_a_test_is_not_testable(night: ReportContent) -> None:
    one = night.analyses[0]
    untested = one.comparisons.with_columns(p_adjusted=None, ci_low=None, ci_high=None)
    content = replace(night, analyses=(replace(one, comparisons=untested),))
    (view,) = report_view(content, 5).analyses
    relation, words = view.remarks[0]
    assert relation == "unclear"
    assert words == ("against ", "q-learning", ": mean score +0.059, not testable.")


def test_a_quote_in_a_name_does_not_end_the_sql_string(night: ReportContent) -> None:
    named = navigation(question(name="it's; drop table x --"))
    query = report_view(replace(night, analyses=(named,)), 5).query
    assert query.endswith("where analysis = 'it''s; drop table x --'")


def test_frames_without_rows_make_a_report(night: ReportContent) -> None:
    empty = replace(night, runs=night.runs.clear(), sync_state=night.sync_state.clear())
    view = report_view(empty, 5)
    assert view.damaged is None
    assert view.files_note == "No file or project has been read."


def test_a_null_size_is_no_damage(night: ReportContent) -> None:
    unknown = night.sync_state.with_columns(
        skipped_bytes=pl.lit(None, pl.Int64), is_damaged=pl.lit(None, pl.Boolean)
    )
    damaged = report_view(replace(night, sync_state=unknown), 5).damaged
    assert damaged is not None
    assert damaged.n_rows == 1
