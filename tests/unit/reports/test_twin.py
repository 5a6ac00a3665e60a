import json
from dataclasses import replace
from typing import Any

import polars as pl

from run_assets.reports.content import ReportContent
from run_assets.reports.twin import render_json
from tests.support.report_content import HOSTILE, METRIC, nothing


def _refused(constant: str) -> Any:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


def _parsed(content: ReportContent) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(render_json(content), parse_constant=_refused)
    return report


def test_every_row_is_there_with_its_exact_name(hostile: ReportContent) -> None:
    report = _parsed(hostile)
    (analysis,) = report["analyses"]
    assert analysis["name"] == HOSTILE[0]
    assert {one["group_name"] for one in analysis["scores"]} == set(HOSTILE)
    assert len(analysis["scores"]) == 80
    assert report["changes"]["deleted"] == list(HOSTILE)


def test_a_number_that_is_not_finite_is_null_and_flagged(night: ReportContent) -> None:
    one = night.analyses[0]
    scores = one.scores.with_columns(
        raw_score=pl.when(pl.col("run_path") == "local/hearts/r000")
        .then(float("nan"))
        .when(pl.col("run_path") == "local/hearts/r001")
        .then(float("-inf"))
        .otherwise("raw_score")
    )
    report = _parsed(replace(night, analyses=(replace(one, scores=scores),)))
    assert report["has_non_finite"] is True
    assert report["analyses"][0]["scores"][0]["raw_score"] is None
    assert report["non_finite"] == {
        "analyses[0].scores[0].raw_score": "nan",
        "analyses[0].scores[1].raw_score": "-inf",
    }


def test_finite_content_has_no_flag(night: ReportContent) -> None:
    report = _parsed(night)
    assert report["has_non_finite"] is False
    assert report["non_finite"] == {}


def test_keys_are_sorted_and_bytes_are_stable(night: ReportContent) -> None:
    text = render_json(night)
    assert text == render_json(night)
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert text.endswith("}\n")


def test_curves_are_the_bands_that_are_drawn(night: ReportContent) -> None:
    curves = _parsed(night)["analyses"][0]["learning_curves"]
    assert len(curves) == 12
    first = curves[0]
    assert (first["metric"], first["x_metric"]) == (METRIC, "_step")
    assert {len(first[key]) for key in ("grid_x", "center", "low", "high")} == {100}


def test_files_that_were_not_read_as_a_whole_are_listed(night: ReportContent) -> None:
    files = _parsed(night)["incomplete_files"]
    assert [one["skipped_bytes"] for one in files] == [811, 32_768, 0]
    assert files[2]["problem"] == "wrong header"


def test_an_empty_lab_is_valid_json_too() -> None:
    report = _parsed(nothing())
    assert report["analyses"] == []
    assert report["provenance"]["data_as_of"] is None
