import io
import json
import sys
from pathlib import Path

import polars as pl
import pytest

from run_assets.contracts.tables import TABLES
from run_assets.lab import Lab
from tests.support.labs import make_lab

from .conftest import Call

COUNT = "select count(*) as runs from marts.runs where project = 'maze'"


def from_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_query_is_answered(ask: Call) -> None:
    answer = ask("sql", COUNT, "--output-format", "csv")
    assert (answer.code, answer.err) == (0, "")
    assert int(answer.out.splitlines()[1]) >= 4


@pytest.mark.parametrize("words", [("sql",), ("sql", "-")])
def test_a_query_may_come_from_stdin(
    ask: Call, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    from_stdin(monkeypatch, b"select 42 as answer")
    assert ask(*words).out == "answer\n------\n    42\n"


def test_a_query_that_is_no_text_is_refused(
    ask: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_stdin(monkeypatch, b"select '\xff'")
    answer = ask("sql")
    assert (answer.code, answer.err[:22]) == (2, "error: stdin must be U")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("selec 1", "syntax error"),
        ("select * from marts.run", "marts.runs"),
        ("select no_column from marts.runs", "no_column"),
        ("drop table marts.runs", "read-only"),
        ("select * from read_csv('/etc/passwd')", "not allowed"),
        ("select 1; select 2", "one statement"),
        ("select 1 as a, 2 as a", "tell them apart"),
        ("", "one statement"),
    ],
)
def test_a_wrong_query_is_a_usage_error(ask: Call, query: str, said: str) -> None:
    answer = ask("sql", query)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_sql_refuses_the_project_instead_of_ignoring_it(ask: Call) -> None:
    answer = ask("sql", COUNT, "--project", "other")
    assert answer.code == 2
    assert "where project =" in answer.err


def test_sql_before_the_first_refresh_is_not_found(call: Call, tmp_path: Path) -> None:
    make_lab(tmp_path, runs=0)
    answer = call("sql", COUNT, folder=tmp_path)
    assert answer.code == 5
    assert "run-assets refresh" in answer.err


def test_every_table_is_listed_with_its_rows(ask: Call) -> None:
    document = json.loads(ask("tables", "--output-format", "json").out)
    found = {row["table"]: row for row in document["rows"]}
    assert set(found) == set(TABLES)
    assert found["marts.runs"]["rows"] >= 7
    assert found["staging.runs"]["rows"] is None


def test_columns_are_described(ask: Call) -> None:
    document = json.loads(
        ask("tables", "marts.runs", "--columns", "--output-format", "json").out
    )
    assert [row["column"] for row in document["rows"]] == list(
        TABLES["marts.runs"].columns
    )
    everything = ask("tables", "--columns", "--output-format", "csv").out
    assert len(everything.splitlines()) > sum(
        len(contract.columns) for contract in TABLES.values()
    )


def test_the_first_rows_are_shown_and_the_rest_is_noted(ask: Call) -> None:
    answer = ask("tables", "raw.history", "--limit", "3", "--output-format", "csv")
    assert len(answer.out.splitlines()) == 4
    assert "the first 3 rows" in answer.err


def test_a_view_is_shown_too(ask: Call) -> None:
    answer = ask("tables", "staging.runs", "--output-format", "json")
    assert len(json.loads(answer.out)["rows"]) >= 7


@pytest.mark.parametrize("name", ["marts.runs", "raw.history"])
def test_a_table_of_one_project(ask: Call, name: str) -> None:
    words = ("tables", name, "--limit", "999", "--project", "other")
    document = json.loads(ask(*words, "--output-format", "json").out)
    assert {row["run_path"].split("/")[1] for row in document["rows"]} == {"other"}


def test_a_table_without_projects_refuses_the_option(ask: Call) -> None:
    answer = ask("tables", "stats.interval_estimates", "--project", "maze")
    assert answer.code == 2
    assert "does not say which project" in answer.err


def test_an_unknown_table_gets_a_suggestion(ask: Call) -> None:
    answer = ask("tables", "marts.run")
    assert answer.code == 5
    assert "did you mean 'marts.runs'" in answer.err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["raw.runs", "core.metric_points", "staging.history"])
def test_an_export_holds_the_whole_table(
    ask: Call, refreshed: Lab, tmp_path: Path, name: str, ending: str
) -> None:
    target = tmp_path / f"out.{ending}"
    answer = ask("tables", name, "--export", str(target))
    assert (answer.code, answer.out) == (0, "")
    assert str(target) in answer.err
    read = pl.read_csv if ending == "csv" else pl.read_parquet
    wanted = refreshed.table(name).collect()
    assert read(target).height == wanted.height
    if ending == "parquet":
        assert read(target).equals(wanted)


def test_an_export_without_a_table_is_a_usage_error(ask: Call) -> None:
    assert ask("tables", "--export", "x.csv").code == 2


def test_a_table_not_built_yet_says_so(call: Call, tmp_path: Path) -> None:
    make_lab(tmp_path, runs=0)
    answer = call("tables", "marts.runs", folder=tmp_path)
    assert (answer.code, answer.err) == (
        0,
        "marts.runs is not built yet; `run-assets refresh` builds it\n",
    )
    assert "(no rows)" in answer.out


def test_a_damaged_lake_is_named_without_a_traceback(
    call: Call, tmp_path: Path
) -> None:
    lab = make_lab(tmp_path, runs=0)
    broken = lab.lake.root / "marts" / "runs" / "part-0.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PAR1 no parquet at all PAR1")
    answer = call("tables", "marts.runs", folder=tmp_path)
    assert answer.code == 1
    assert "`run-assets refresh` repairs it" in answer.err
    assert "defect" not in answer.err


def test_the_report_is_printed_and_located(ask: Call, refreshed: Lab) -> None:
    answer = ask("report")
    assert answer.code == 0
    assert answer.out.startswith("# ")
    page = refreshed.reports / "latest" / "report.html"
    assert ask("report", "--path").out == f"{page}\n"
    assert str(page) in answer.err


def test_no_report_is_not_found(call: Call, tmp_path: Path) -> None:
    make_lab(tmp_path, runs=0)
    assert call("report", folder=tmp_path).code == 5
