"""``diagnose``, ``explain`` and ``analyze`` on a refreshed lab."""

import json
from pathlib import Path

import pytest

from run_assets.diagnostics.explain import explained
from run_assets.diagnostics.registry import rules
from run_assets.lab import Lab
from tests.unit.cli.conftest import HOSTILE, Answer, Call


def rows(answer: Answer) -> list[dict[str, object]]:
    found = json.loads(answer.out)
    assert found["schema_version"] == 1
    return list(found["rows"])


def test_it_exits_with_3_only_where_something_is_as_bad(ask: Call) -> None:
    assert ask("diagnose", "r0", "--fail-on", "warning").code == 0
    failed = ask("diagnose", "named1", "--fail-on", "error")
    assert failed.code == 3
    assert "RUN094" in failed.out
    assert ask("diagnose", "named1").code == 0
    assert (
        ask("diagnose", "named1", "--ignore", "RUN09", "--fail-on", "error").code == 0
    )
    assert ask("diagnose", "r0", "--fail-on", "info").code == 3  # a run of ten rows


def test_every_rule_says_something_of_every_run(ask: Call) -> None:
    found = rows(ask("diagnose", "r0", "--outcome", "all", "--output-format", "json"))
    assert {one["rule_code"] for one in found} == set(rules())
    assert all(one["reason"] for one in found if one["outcome"] == "not_testable")
    assert all(one["hypothesis"] for one in found if one["outcome"] == "fired")


def test_without_a_run_it_looks_at_all_of_them_or_at_a_project(ask: Call) -> None:
    form = ("--outcome", "all", "--select", "RUN094", "--output-format", "json")
    assert len(rows(ask("diagnose", *form))) == 8
    assert len(rows(ask("diagnose", "--project", "other", *form))) == 3
    assert ask("diagnose", "--project", "nothing").code == 5


def test_the_table_and_the_command_say_the_same(ask: Call, refreshed: Lab) -> None:
    stored = refreshed.lake.read("diagnostics.findings").filter(run_path="lab/maze/r1")
    found = rows(ask("diagnose", "r1", "--outcome", "all", "--output-format", "json"))
    key = ("rule_code", "metric", "outcome", "evidence_json", "statistic", "reason")
    told = sorted(str([one[name] for name in key]) for one in found)
    assert told == sorted(str(list(row)) for row in stored.select(key).iter_rows())


def test_health_has_a_sentence_on_every_run(refreshed: Lab) -> None:
    health = refreshed.lake.read("diagnostics.run_health")
    assert set(health["run_path"]) == set(refreshed.lake.read("raw.runs")["run_path"])
    worst = dict(health.select("run_path", "worst_severity").rows())
    assert worst["lab/other/named1"] == "error"
    assert health["sentence"].null_count() == 0


@pytest.mark.parametrize("word", ["RUN004", "run004", "diverging"])
def test_a_rule_is_explained_as_in_the_documentation(ask: Call, word: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "diagnosis.md"
    told = ask("explain", word).out.strip()
    assert told.startswith("RUN004 diverging")
    assert told in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "RUN999"),
        ("diagnose", "--select", "RUNX"),
        ("diagnose", "--ignore", "instabilty"),
    ],
)
def test_an_unknown_rule_is_named_with_a_suggestion(
    ask: Call, words: tuple[str, ...]
) -> None:
    answer = ask(*words)
    assert answer.code == 2
    assert "did you mean" in answer.err or "known:" in answer.err
    assert "Traceback" not in answer.err


def test_the_page_on_diagnosis_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "diagnosis.md"
    text = page.read_text(encoding="utf-8")
    assert all(explained(one) in text for one in rules().values())


def test_a_run_is_read_in_twelve_sections_in_order(ask: Call) -> None:
    lines = ask("analyze", "r0").out.splitlines()
    heads = [line for line in lines if line.startswith("## ") and line[3].isdigit()]
    assert [int(one.split()[1].rstrip(".")) for one in heads] == list(range(1, 13))
    assert lines[0] == "# `lab/maze/r0`"


def test_the_reading_as_json_has_every_section_and_command(ask: Call) -> None:
    (found,) = rows(ask("analyze", "named1", "--output-format", "json"))
    assert [one["number"] for one in found["sections"]] == list(range(1, 13))  # type: ignore[attr-defined]
    assert found["severity"] == "error"
    first = found["hypotheses"][0]  # type: ignore[index]
    assert first["evidence"][0]["code"] == "RUN094"
    assert first["command"].startswith("run-assets ")
    assert found["facts"]["run_state"] == "failed"  # type: ignore[index]


def test_a_baseline_is_a_run_or_a_tag(ask: Call) -> None:
    answer = ask("analyze", "r0", "--baseline", "r1", "--output-format", "json")
    (found,) = rows(answer)
    assert found["baseline"] == ["lab/maze/r1"]
    differing = {one["key"] for one in found["settings_that_differ"]}  # type: ignore[attr-defined]
    assert differing == {"algorithm"}
    (tagged,) = rows(
        ask("analyze", "r0", "--baseline", "tag:a", "--output-format", "json")
    )
    assert tagged["baseline"] == ["lab/other/named1", "lab/other/named2"]
    assert ask("analyze", "r0", "--baseline", "tag:none").code == 5


def test_names_of_strangers_stay_text(ask: Call) -> None:
    answer = ask("analyze", HOSTILE)
    assert answer.code == 0
    assert "\x1b" not in answer.out
    assert "\u202e" not in answer.out


def test_an_ambiguous_or_unknown_run_is_an_error(ask: Call) -> None:
    assert ask("analyze", "twin").code == 2
    assert ask("diagnose", "nobody").code == 5
