import json
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from run_assets.config import Score
from run_assets.errors import ContractError
from run_assets.reports.content import Changes, changes_since
from run_assets.reports.twin import render_json
from tests.support.report_content import METRIC, NIGHT, navigation, night, question


def test_the_first_report_has_nothing_to_compare() -> None:
    content = night()
    assert changes_since(None, content.runs, content.analyses) == Changes()


def test_a_report_made_twice_has_no_changes() -> None:
    content = night()
    again = changes_since(render_json(content), content.runs, content.analyses)
    assert again.since == NIGHT
    for paths in (again.new, again.grown, again.finished, again.deleted):
        assert paths == ()
    assert again.previous["navigation"] == tuple(content.analyses[0].estimates)


def test_runs_that_are_new_grown_finished_stopped_or_gone_are_named() -> None:
    yesterday = night()
    path = pl.col("run_path")
    today = yesterday.runs.filter(path != "local/hearts/r000").with_columns(
        run_path=path.replace("local/hearts/r001", "local/hearts/r100"),
        last_step=pl.when(path == "local/hearts/r062")
        .then(99_999)
        .otherwise("last_step"),
        run_state=pl.when(path == "local/hearts/r062")
        .then(pl.lit("finished"))
        .when(path == "local/hearts/r002")
        .then(pl.lit("crashed"))
        .otherwise("run_state"),
    )
    changes = changes_since(render_json(yesterday), today)
    assert changes.new == ("local/hearts/r100",)
    assert changes.grown == ("local/hearts/r062",)
    assert changes.finished == ("local/hearts/r062",)
    assert changes.stopped == ("local/hearts/r002",)
    assert changes.deleted == ("local/hearts/r000", "local/hearts/r001")


def test_an_analysis_with_another_question_is_not_compared() -> None:
    content = night()
    other = navigation(question(score=Score(metric=METRIC, aggregate="max")))
    changes = changes_since(render_json(content), content.runs, [other])
    assert changes.redefined == ("navigation",)
    assert not changes.previous


def test_another_seed_or_test_is_still_the_same_question() -> None:
    content = night()
    same = question(interval={"seed": 3}, comparison={"test": "welch"})
    changes = changes_since(render_json(content), content.runs, [navigation(same)])
    assert changes.redefined == ()
    assert "navigation" in changes.previous


def test_a_report_of_another_schema_version_counts_as_no_report() -> None:
    content = night()
    old = {**json.loads(render_json(content)), "schema_version": 0}
    assert changes_since(json.dumps(old), content.runs) == Changes()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_broken_report_is_an_error_that_says_what_to_do(text: str) -> None:
    with pytest.raises(ContractError, match="delete it to start anew"):
        changes_since(text, night().runs)


def test_a_frame_without_a_column_is_refused_by_name() -> None:
    analysis = navigation()
    with pytest.raises(ContractError, match=r"stats\.comparisons.*p_adjusted"):
        replace(analysis, comparisons=analysis.comparisons.drop("p_adjusted"))
    with pytest.raises(ContractError, match=r"marts\.runs.*run_state"):
        replace(night(), runs=night().runs.drop("run_state"))


def test_the_previous_report_may_be_made_in_another_time_zone() -> None:
    content = night()
    report = json.loads(render_json(content))
    report["generated_at"] = "2026-11-20T03:00:00+01:00"
    changes = changes_since(json.dumps(report), content.runs)
    assert changes.since == NIGHT
    assert changes.since.utcoffset() == timedelta(0)
