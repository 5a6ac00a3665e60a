import json

import polars as pl
import pytest

from .conftest import HOSTILE, Call

NAMED3 = "lab/other/named3"


def rows(text: str) -> list[dict[str, object]]:
    document = json.loads(text)
    assert document["schema_version"] == 1
    found: list[dict[str, object]] = document["rows"]
    return found


def values(row: dict[str, object]) -> list[dict[str, object]]:
    found = row["values"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("", {"r0", "r1", "r2", "r3", "named1", "named2", "named3", "damaged"}),
        ("--project maze", {"r0", "r1", "r2", "r3", "damaged"}),
        ("--project lab/other", {"named1", "named2", "named3"}),
        ("--tag a", {"named1", "named2"}),
        ("--tag a --tag b", {"named1"}),
        ("--group sweep --state failed", {"named1", "named2", "named3"}),
        ("--state failed --state running --tag b", {"named1"}),
        ("--state running", set()),
        ("--tag '", set()),
    ],
)
def test_runs_are_filtered(ask: Call, words: str, ids: set[str]) -> None:
    answer = ask("runs", "list", *words.split(), "--output-format", "json")
    assert answer.code == 0
    found = {str(row["run_path"]).rpartition("/")[2] for row in rows(answer.out)}
    assert found == ids


def test_the_youngest_runs_come_first_and_the_rest_is_noted(ask: Call) -> None:
    answer = ask("runs", "list", "--limit", "2", "--output-format", "json")
    assert [row["run_path"] for row in rows(answer.out)] == [
        "lab/other/named1",
        "lab/other/named2",
    ]
    assert answer.err == "only the youngest 2; --limit shows more\n"
    assert ask("runs", "list", "--limit", "2", "-q").err == ""


def test_an_unknown_project_is_not_found(ask: Call) -> None:
    answer = ask("runs", "list", "--project", "mase")
    assert answer.code == 5
    assert "did you mean 'maze'" in answer.err


def test_an_unknown_state_lists_the_known_ones(ask: Call) -> None:
    answer = ask("runs", "list", "--state", "finish")
    assert answer.code == 2
    assert "'finished'" in answer.err


def test_a_name_from_a_stranger_is_shown_harmlessly(ask: Call) -> None:
    table = ask("runs", "list").out
    assert "\x1b" not in table
    assert "\u202e" not in table
    csv = ask("runs", "list", "--output-format", "csv").out
    assert "'=HYPERLINK(1)" in csv
    exact = rows(ask("runs", "get", NAMED3, "--output-format", "json").out)
    assert exact[0]["run_name"] == HOSTILE


def test_a_run_is_shown_with_config_and_summary(ask: Call) -> None:
    (run,) = rows(ask("runs", "get", "named1", "--output-format", "json").out)
    assert run["config"] == {"env": {"size": 3}, "lr": 0.1}
    assert run["tags"] == ["a", "b"]
    table = ask("runs", "get", "named1").out
    assert "config.env.size  3" in table
    assert "run_state" in table


def test_a_run_as_csv_is_its_raw_row(ask: Call) -> None:
    csv = ask("runs", "get", "named1", "--output-format", "csv").out
    assert pl.read_csv(csv.encode())["run_path"].to_list() == ["lab/other/named1"]


@pytest.mark.parametrize("command", ["get", "metrics"])
def test_an_unknown_run_is_not_found(ask: Call, command: str) -> None:
    answer = ask("runs", command, "named9")
    assert (answer.code, answer.out) == (5, "")
    assert "did you mean" in answer.err


@pytest.mark.parametrize("command", ["get", "metrics"])
def test_an_ambiguous_run_lists_its_candidates(ask: Call, command: str) -> None:
    answer = ask("runs", command, "twin")
    assert (answer.code, answer.out) == (2, "")
    assert "lab/other/named1" in answer.err
    assert "lab/other/named2" in answer.err


def test_every_metric_has_its_statistics(ask: Call) -> None:
    answer = ask("runs", "metrics", "named1", "--output-format", "json")
    found = {row["metric"]: row for row in rows(answer.out)}
    assert set(found) == {"epoch", "eval/loss", "eval/score"}
    score = found["eval/score"]
    assert (score["n_points"], score["n_nonfinite"]) == (4, 1)
    assert (score["first"], score["last"], score["max"]) == (0.0, 3.0, 3.0)


def test_metrics_are_named_by_wildcard_and_group(ask: Call) -> None:
    answer = ask(
        *("runs", "metrics", "named1", "-m", "*/loss", "-m", "@training_core"),
        *("--output-format", "json"),
    )
    assert [row["metric"] for row in rows(answer.out)] == ["eval/loss"]


def test_an_unknown_metric_gets_a_suggestion(ask: Call) -> None:
    answer = ask("runs", "metrics", "named1", "-m", "eval/los")
    assert (answer.code, answer.out) == (2, "")
    assert "did you mean 'eval/loss'" in answer.err


def test_values_keep_nan_apart_from_missing(ask: Call) -> None:
    words = ("runs", "metrics", "named1", "-m", "eval/score", "--values")
    document = json.loads(ask(*words, "--output-format", "json").out)
    (row,) = document["rows"]
    assert [one["value"] for one in row["values"]] == [0.0, None, 2.0, 3.0]
    assert document["n_nonfinite"] == 1
    assert "nan" in ask(*words).out


def test_the_last_values_of_each_metric(ask: Call) -> None:
    answer = ask(
        *("runs", "metrics", "named1", "-m", "eval/*", "--last-n-steps", "2"),
        *("--output-format", "json"),
    )
    steps = {
        row["metric"]: [one["step"] for one in values(row)] for row in rows(answer.out)
    }
    assert steps == {"eval/loss": [2, 3], "eval/score": [2, 3]}


@pytest.mark.parametrize(
    ("axis", "wanted"),
    [
        ("step", [0, 1, 2, 3]),
        ("_step", [0, 1, 2, 3]),
        ("_runtime", [0.0, 1.0, 2.0, 3.0]),
        ("eval/loss", [1 / 4, 1 / 3, 1 / 2, 1.0]),
        ("epoch", [0.0, 1.0, None, None]),
    ],
)
def test_values_over_any_axis(ask: Call, axis: str, wanted: list[object]) -> None:
    answer = ask(
        *("runs", "metrics", "named1", "-m", "eval/score", "--x-axis", axis),
        *("--output-format", "json"),
    )
    (row,) = rows(answer.out)
    assert [one["x"] for one in values(row)] == wanted
    assert row["x_axis"] == axis
    assert row["n_points"] == 4
    assert ("2 values have no epoch" in answer.err) == (axis == "epoch")


def test_the_time_axis_is_a_time(ask: Call) -> None:
    answer = ask(
        *("runs", "metrics", "named1", "-m", "eval/loss", "--x-axis", "_timestamp"),
        *("--output-format", "json"),
    )
    (row,) = rows(answer.out)
    assert values(row)[0]["x"] == "2026-01-04T03:04:05+00:00"


def test_an_unknown_axis_gets_a_suggestion(ask: Call) -> None:
    answer = ask("runs", "metrics", "named1", "--x-axis", "_timestmp")
    assert answer.code == 2
    assert "did you mean '_timestamp'" in answer.err
