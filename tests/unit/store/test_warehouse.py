import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from run_assets.contracts.tables import SCHEMAS, TABLES, table
from run_assets.errors import SourceError
from run_assets.store import warehouse
from run_assets.store.lake import Lake, Part, schema_of
from run_assets.store.warehouse import (
    build_warehouse,
    stored_digest,
    warehouse_digest,
    warehouse_path,
)

DAY = ("lab--maze", "2026-01-02")
RUNS = Part("raw.runs", 0, *DAY)
HISTORY = Part("raw.history", 0, *DAY)
SCORES = Part("stats.scores")


def frame(name: str, *rows: Mapping[str, Any]) -> pl.DataFrame:
    contract = table(name)
    blank = dict.fromkeys(contract.columns)
    return pl.DataFrame([{**blank, **row} for row in rows], schema=schema_of(contract))


def run(run_id: str) -> dict[str, Any]:
    return {
        "run_path": f"lab/maze/{run_id}",
        "run_id": run_id,
        "run_state": "finished",
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
        "tags": ["a", "b"],
        "is_deleted": False,
    }


def point(run_id: str, step: int, value: float | None) -> dict[str, Any]:
    path = f"lab/maze/{run_id}"
    return {"run_path": path, "metric": "loss", "step": step, "value": value}


def score(run_path: str, value: float) -> dict[str, Any]:
    return {"analysis": "nav", "run_path": run_path, "score": value}


def fill(lake: Lake) -> None:
    lake.write(RUNS, frame("raw.runs", run("b"), run("a")), digest="runs-1")
    points = [point("a", 0, 1.0), point("a", 1, float("nan")), point("b", 0, None)]
    lake.write(HISTORY, frame("raw.history", *points), digest="history-1")
    scores = frame("stats.scores", score("lab/maze/b", 2.0), score("lab/maze/a", 1.0))
    lake.write(SCORES, scores, digest="scores-1")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "data" / "lake")
    fill(lake)
    return lake


@contextmanager
def opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def content(path: Path) -> dict[str, list[Any]]:
    with opened(path) as connection:
        return {
            name: connection.execute(f"from {name}").fetchall()
            for name in TABLES
            if name != "published.warehouse"
        }


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def build(lake: Lake, *, code_version: str = "1") -> bool:
    return build_warehouse(lake, warehouse_path(lake), code_version=code_version)


def test_it_holds_every_table_of_the_contracts_with_their_columns_and_types(
    lake: Lake,
) -> None:
    assert build(lake)

    with opened(warehouse_path(lake)) as connection:
        stored: dict[str, dict[str, str]] = {}
        for name, column, kind in connection.execute(
            "select schema_name || '.' || table_name, column_name, data_type "
            "from duckdb_columns() where not internal order by column_index"
        ).fetchall():
            stored.setdefault(name, {})[column] = kind.replace('"', "")
        schemas = connection.execute(
            "select schema_name from duckdb_schemas() where not internal"
        ).fetchall()

    spelled = {
        name: {
            column: kind.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")
            for column, kind in contract.types.items()
        }
        for name, contract in TABLES.items()
    }
    assert stored == spelled
    assert set(SCHEMAS) <= {name for (name,) in schemas}


def test_bulky_tables_and_staging_models_are_views_and_the_rest_are_tables(
    lake: Lake,
) -> None:
    build(lake)

    with opened(warehouse_path(lake)) as connection:
        views = connection.execute(
            "select schema_name || '.' || view_name from duckdb_views() "
            "where not internal"
        ).fetchall()

    staging = {name for name, one in TABLES.items() if one.layout == "view"}
    assert {name for (name,) in views} == {"raw.history", *staging}


def test_a_table_beyond_the_row_limit_is_a_view(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "BULK_ROWS", 1)
    build(lake)

    with opened(warehouse_path(lake)) as connection:
        views = connection.execute(
            "select view_name from duckdb_views() where schema_name = 'stats'"
        ).fetchall()
    assert views == [("scores",)]
    assert [row[1] for row in content(warehouse_path(lake))["stats.scores"]]


def test_every_table_view_and_column_says_what_it_means(lake: Lake) -> None:
    build(lake)

    with opened(warehouse_path(lake)) as connection:
        columns = connection.execute(
            "select schema_name || '.' || table_name, column_name, comment "
            "from duckdb_columns() where not internal"
        ).fetchall()
        relations = connection.execute(
            "select schema_name || '.' || table_name, comment from duckdb_tables() "
            "union all select schema_name || '.' || view_name, comment "
            "from duckdb_views() where not internal"
        ).fetchall()

    assert {(name, column): text for name, column, text in columns} == {
        (name, column): contract.column(column).meaning
        for name, contract in TABLES.items()
        for column in contract.columns
    }
    assert dict(relations) == {
        name: f"One row per {contract.grain}" for name, contract in TABLES.items()
    }


def test_rows_stand_in_the_order_of_the_contract(lake: Lake) -> None:
    build(lake)

    stored = content(warehouse_path(lake))

    assert [row[0] for row in stored["raw.runs"]] == ["lab/maze/a", "lab/maze/b"]
    assert [row[3] for row in stored["stats.scores"]] == ["lab/maze/a", "lab/maze/b"]


def test_staging_views_read_the_other_views(lake: Lake) -> None:
    build(lake)

    stored = content(warehouse_path(lake))

    assert [row[:3] for row in stored["staging.history"]] == [
        ("lab/maze/a", "loss", 0),
        ("lab/maze/a", "loss", 1),
    ]
    assert len(stored["raw.history"]) == 3


def test_an_empty_lake_gives_every_table_without_rows(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    assert build(lake)
    assert not any(content(warehouse_path(lake)).values())


def test_nothing_changed_means_nothing_is_written(lake: Lake) -> None:
    build(lake)
    before = warehouse_path(lake).stat()

    assert not build(lake)

    after = warehouse_path(lake).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_same_lake_gives_the_same_rows_and_digest(lake: Lake) -> None:
    target = warehouse_path(lake)
    build(lake)
    first, digest = content(target), stored_digest(target)
    target.unlink()

    assert build(lake)

    # NaN differs from itself, its text does not
    assert repr(content(target)) == repr(first)
    assert stored_digest(target) == digest == warehouse_digest(lake, code_version="1")


@pytest.mark.parametrize("what", ["input", "new part", "code", "place"])
def test_it_is_built_again_when_what_it_is_made_from_changes(
    lake: Lake, what: str
) -> None:
    build(lake)
    version = "1"
    if what == "input":
        lake.write(SCORES, frame("stats.scores", score("x", 1.0)), digest="scores-2")
    elif what == "new part":
        part = HISTORY._replace(number=1)
        lake.write(part, frame("raw.history", point("c", 0, 1.0)), digest="history-2")
    elif what == "code":
        version = "2"
    else:
        moved = lake.root.parent.rename(lake.root.parents[1] / "moved")
        lake = Lake(moved / "lake")

    assert build(lake, code_version=version)
    assert len(content(warehouse_path(lake))["raw.history"]) in (3, 4)


@pytest.mark.parametrize("what", ["missing", "empty", "text", "foreign", "cut off"])
def test_a_file_that_is_not_ours_has_no_digest_and_is_replaced(
    lake: Lake, what: str
) -> None:
    target = warehouse_path(lake)
    if what == "foreign":
        with duckdb.connect(str(target)) as connection:
            connection.execute("create table runs as select 1 as id")
    elif what == "cut off":
        build(lake)
        os.truncate(target, 9_000)
    elif what != "missing":
        target.write_bytes(b"" if what == "empty" else b"not a database")

    assert stored_digest(target) is None
    assert build(lake)
    assert len(content(target)["raw.runs"]) == 2


def test_what_a_killed_build_left_is_removed(lake: Lake) -> None:
    target = warehouse_path(lake)
    build(lake)
    for name in (".warehouse.duckdb.tmp", ".warehouse.duckdb.tmp.wal"):
        (target.parent / name).write_bytes(b"half")
    spill = target.parent / ".warehouse.duckdb.tmp.spill"
    spill.mkdir()
    (spill / "block").write_bytes(b"half")

    assert not build(lake)

    assert names(target.parent) == ["lake", "warehouse.duckdb"]


def test_a_build_leaves_nothing_but_the_file(lake: Lake) -> None:
    build(lake)
    folder = warehouse_path(lake).parent
    assert names(folder) == ["lake", "warehouse.duckdb"]


def test_a_damaged_lake_file_is_named_and_the_old_warehouse_stays(lake: Lake) -> None:
    target = warehouse_path(lake)
    build(lake)
    lake.path(SCORES).write_bytes(b"PAR1 nonsense PAR1")

    with pytest.raises(SourceError, match=r"stats/scores/part-0\.parquet"):
        build(lake)

    assert len(content(target)["stats.scores"]) == 2


def test_a_lake_file_with_a_rotten_body_leaves_the_old_warehouse(lake: Lake) -> None:
    target = warehouse_path(lake)
    build(lake)
    lake.write(SCORES, frame("stats.scores", score("x", 1.0)), digest="scores-2")
    file = lake.path(SCORES)
    body = file.read_bytes()
    file.write_bytes(b"PAR1" + b"\xff" * 200 + body[204:])

    with pytest.raises(SourceError, match="previous file is untouched"):
        build(lake)

    assert len(content(target)["stats.scores"]) == 2
    assert names(target.parent) == ["lake", "warehouse.duckdb"]


REFUSING_DISK = """
import resource, sys
from pathlib import Path
from run_assets.errors import SourceError
from run_assets.store.lake import Lake
from run_assets.store.warehouse import build_warehouse
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    build_warehouse(Lake(Path(sys.argv[1])), Path(sys.argv[2]), code_version="2")
except SourceError as error:
    print(error)
"""


def test_a_disk_that_refuses_the_new_file_leaves_the_old_one(lake: Lake) -> None:
    target = warehouse_path(lake)
    build(lake)
    before = content(target)
    assert target.stat().st_size > 300_000
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY

    done = subprocess.run(
        [sys.executable, "-c", REFUSING_DISK, str(lake.root), str(target)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "could not be written" in done.stdout
    assert "previous file is untouched" in done.stdout
    assert repr(content(target)) == repr(before)
    assert names(target.parent) == ["lake", "warehouse.duckdb"]


@pytest.mark.parametrize("name", ["it's", "a[1]b*c", "ü ñ", 'say "hi"; --'])
def test_the_lake_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / name / "lake")
    fill(lake)

    assert build(lake)

    stored = content(warehouse_path(lake))
    assert len(stored["raw.history"]) == 3
    assert len(stored["raw.runs"]) == 2


def test_views_go_on_working_from_another_folder_and_under_another_name(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(lake)
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        connection.execute("attach 'data/warehouse.duckdb' as mine (read_only)")
        rows = connection.execute("from mine.staging.history").fetchall()
    assert len(rows) == 2
