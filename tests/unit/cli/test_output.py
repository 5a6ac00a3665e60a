import csv
import io
import json
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from run_assets.cli.output import export, to_json, write
from run_assets.errors import SourceError, UsageError
from run_assets.reading.spreadsheets import spreadsheet_safe

EVERYTHING = pl.DataFrame(
    {
        "text": ["=1+1", None],
        "number": [float("nan"), float("-inf")],
        "list": [[1.0, float("inf")], None],
        "struct": [{"a": "x", "b": None}, {"a": "y", "b": 1}],
        "at": [datetime(2026, 1, 2, tzinfo=UTC), None],
        "day": [date(2026, 1, 2), None],
        "length": [timedelta(seconds=1.5), None],
        "bytes": [b"\x00\xff", None],
        "price": [Decimal("1.50"), None],
        "nothing": [None, None],
        "large": [2**62, None],
    }
)


def test_json_is_valid_and_counts_what_it_cannot_say() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(to_json(EVERYTHING), parse_constant=refuse)
    assert found["schema_version"] == 1
    assert found["n_nonfinite"] == 3
    assert found["rows"][0] == {
        "text": "=1+1",
        "number": None,
        "list": [1.0, None],
        "struct": {"a": "x", "b": None},
        "at": "2026-01-02T00:00:00+00:00",
        "day": "2026-01-02",
        "length": 1.5,
        "bytes": "00ff",
        "price": 1.5,
        "nothing": None,
        "large": 2**62,
    }


def test_csv_holds_every_type() -> None:
    text = spreadsheet_safe(EVERYTHING.lazy()).collect().write_csv()
    first, second = csv.DictReader(io.StringIO(text))
    assert first["text"] == "'=1+1"
    assert json.loads(first["list"]) == [1.0, None]
    assert json.loads(first["struct"]) == {"a": "x", "b": None}
    assert (first["length"], first["bytes"], first["number"]) == ("1.5", "00ff", "NaN")
    assert second["text"] == ""


@pytest.mark.parametrize(
    "text",
    ["=cmd()", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "-"],
)
def test_no_text_runs_as_a_formula(text: str) -> None:
    frame = pl.LazyFrame({text: [text]})
    safe = spreadsheet_safe(frame).collect()
    assert safe.columns == [f"'{text}"]
    assert safe.item() == f"'{text}"


@pytest.mark.parametrize("text", ["-0.5", "+3", "-1e-05", "plain", "a=b", "", "1-2"])
def test_numbers_and_plain_text_stay_as_they_are(text: str) -> None:
    assert spreadsheet_safe(pl.LazyFrame({"a": [text]})).collect().item() == text


@pytest.mark.parametrize(
    "name",
    ["a b.csv", "*.csv", "[x].parquet", "a\nb.csv", "-o.csv", "日本.parquet", "x.CSV"],
)
def test_hostile_file_names_are_just_names(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    export(pl.LazyFrame({"a": [1, 2]}), target)
    assert [one.name for one in tmp_path.iterdir()] == [name]
    read = pl.read_csv if name.lower().endswith("csv") else pl.read_parquet
    assert read(target.read_bytes()).height == 2


def test_an_export_in_a_new_folder_makes_it(tmp_path: Path) -> None:
    export(EVERYTHING.lazy(), tmp_path / "new" / "all.parquet")
    assert pl.read_parquet(tmp_path / "new" / "all.parquet").height == 2


def test_a_failed_export_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    broken = pl.scan_parquet(tmp_path / "missing.parquet", schema={"a": pl.Int64})
    with pytest.raises(SourceError, match=r"a\.csv could not be written"):
        export(broken, target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["a.xlsx", "a", "folder.csv"])
def test_an_export_needs_a_known_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match=r"\.csv or \.parquet, got"):
        export(pl.LazyFrame({"a": [1]}), tmp_path / name)


def test_parquet_is_refused_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="not for a terminal"):
        write(EVERYTHING, "parquet")


def test_parquet_on_stdout_holds_the_exact_values(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    write(EVERYTHING, "parquet")
    assert pl.read_parquet(capsysbinary.readouterr().out).equals(EVERYTHING)
