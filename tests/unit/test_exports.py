"""Exports lose nothing, keep to their folder, and are read back."""

import json
import math
from pathlib import Path

import polars as pl
import pytest

from run_assets.contracts.tables import table
from run_assets.errors import SourceError, UsageError
from run_assets.exports import (
    is_export,
    read_export,
    safe_names,
    write_document,
    write_folder,
)
from run_assets.reading.run import ARTIFACTS, HISTORY, STATISTICS, Run
from run_assets.store.lake import schema_of
from tests.support.points import run_of

HOSTILE = [
    *("=HYPERLINK(1)", "'=1", "''@x", "-5", "'-5", "+1", "a,b", 'q"uote', "new\nline"),
    *("cr\r", "\t tab", "🚀 emoji", "日本", "\uff1dwide", "x" * 300, "NaN", "null", ""),
]
CURVE = {0: 1.0, 3: math.nan, 7: math.inf, 8: -math.inf, 9: 0.1 + 0.2, 10: 5e-324}


def hostile_run(run_id: str = "r1") -> Run:
    return run_of(
        dict.fromkeys(HOSTILE, CURVE),
        run_id=run_id,
        config={"text": "NaN", "rate": 0.1, "=cmd": {"a": [None, True]}},
        goals={"-5": "minimize"},
    )


def assert_same(one: Run, other: Run) -> None:
    assert other.is_export
    assert (other.columns, other.config) == (one.columns, one.config)
    assert other.goals == one.goals
    assert other.statistics.equals(one.statistics)
    assert other.artifacts.equals(one.artifacts)
    assert other.rows().equals(one.rows())


def test_what_is_exported_are_the_tables_of_the_lake() -> None:
    lake = {
        name: schema_of(table(address))
        for name, address in (
            ("history", "raw.history"),
            ("points", "core.metric_points"),
            ("statistics", "marts.run_summaries"),
            ("artifacts", "raw.artifacts"),
        )
    }
    known = {**lake["points"], **lake["history"]}
    assert {name: known[name] for name in HISTORY} == dict(HISTORY)
    rest = set(lake["statistics"]) - {"run_path", "project"}
    assert {name: lake["statistics"][name] for name in rest} == dict(STATISTICS)
    assert dict(ARTIFACTS) == {
        name: kind for name, kind in lake["artifacts"].items() if name != "run_path"
    }


def test_a_document_is_valid_json_and_loses_nothing(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    file, run = tmp_path / "run.json", hostile_run()
    write_document(run, file)
    content = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)
    assert content["schema_version"] == 1
    assert {"NaN", "Infinity", "-Infinity"} <= set(
        map(str, content["history"]["value"])
    )
    assert_same(run, read_export(file))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_folder_loses_nothing(tmp_path: Path, kind: str) -> None:
    run = hostile_run()
    write_folder(run, tmp_path / "out", kind)  # type: ignore[arg-type]
    assert_same(run, read_export(tmp_path / "out"))


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_folder(hostile_run(), tmp_path / name, "csv")
        write_document(hostile_run(), tmp_path / f"{name}.json")
    for ending in ("_summary.json", "_history.csv"):
        one, other = (tmp_path / name / f"r1{ending}" for name in ("a", "b"))
        assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    write_folder(hostile_run(), tmp_path, "csv")
    metrics = pl.read_csv(tmp_path / "r1_history.csv", infer_schema=False)["metric"]
    bad = metrics.str.contains("^[=@\t\r\uff1d]|^[+-][^0-9]")
    assert not bad.any()


def test_history_and_artifacts_can_be_left_out(tmp_path: Path) -> None:
    run = hostile_run()
    write_document(run, tmp_path / "a.json", has_history=False, has_artifacts=False)
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert not {"history", "artifacts"} & set(content)
    found = read_export(tmp_path / "a.json")
    assert found.rows().is_empty()
    assert found.statistics.equals(run.statistics)
    write_folder(run, tmp_path / "f", "csv")
    assert len(write_folder(run, tmp_path / "f", None)) == 1
    assert read_export(tmp_path / "f").rows().is_empty()


@pytest.mark.parametrize(
    "run_id",
    [
        "../../x",
        "/etc/passwd",
        "a/../../b",
        "..",
        "",
        "nul\0",
        "x" * 300,
        "a\nb",
        "🚀",
        "CON ",
    ],
)
def test_no_run_id_leads_out_of_the_folder(tmp_path: Path, run_id: str) -> None:
    out = tmp_path / "deep" / "out"
    files = write_folder(hostile_run(run_id), out, "csv")
    inside = {one.resolve() for one in tmp_path.rglob("*") if one.is_file()}
    assert inside == {one.resolve() for one in files}
    assert {one.resolve().parent for one in files} == {out.resolve()}
    assert_same(hostile_run(run_id), read_export(out))


def test_runs_of_one_id_get_names_of_their_own() -> None:
    runs = [run_of({}, run_id=name) for name in ("a", "A", "b", "../b")]
    other = run_of({}, run_id="b")
    columns = {**other.columns, "run_path": "lab/q/b"}
    runs.append(
        Run(columns, {}, {}, other.statistics, other.history, other.artifacts, {})
    )
    names = [one.casefold() for one in safe_names(runs).values()]
    assert len(set(names)) == 5


def test_another_runs_export_is_not_overwritten(tmp_path: Path) -> None:
    write_folder(hostile_run("one"), tmp_path, "csv")
    with pytest.raises(UsageError, match="another run's export"):
        write_folder(hostile_run("two"), tmp_path, "csv")


def test_an_export_again_replaces_the_one_before(tmp_path: Path) -> None:
    write_folder(hostile_run(), tmp_path, "csv")
    write_folder(hostile_run(), tmp_path, "parquet")
    names = {one.name for one in tmp_path.iterdir()}
    assert names == {"r1_summary.json", "r1_history.parquet"}


@pytest.mark.parametrize(
    "ending", ["_history.csv", "_history.parquet", "_summary.json"]
)
def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "out"
    kind = "parquet" if ending.endswith("parquet") else "csv"
    write_folder(hostile_run(), folder, kind)  # type: ignore[arg-type]
    secret = tmp_path / "secret"
    (folder / f"r1{ending}").rename(secret)
    (folder / f"r1{ending}").symlink_to(secret)
    with pytest.raises(SourceError, match="link out of its folder"):
        read_export(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "no export"),
        ('{"kind": "other"}', "no export"),
        ('{"kind": "run_assets.run", "schema_version": 9}', "this version reads 1"),
        ('{"kind": "run_assets.run", "schema_version": 1}', "damaged export"),
        (
            '{"kind": "run_assets.run", "schema_version": 1, "history": {"step": [1]}}',
            "damaged export",
        ),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=said):
        read_export(tmp_path / "a.json")


def test_an_export_is_known_by_its_looks(tmp_path: Path) -> None:
    assert not is_export(tmp_path)
    assert not is_export(Path("nul\0"))
    assert not is_export(Path("x" * 5000))
    assert not is_export(tmp_path / "missing.json")
    write_folder(hostile_run(), tmp_path, None)
    assert is_export(tmp_path)
