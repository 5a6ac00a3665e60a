"""Parts are written whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from run_assets.errors import ContractError, SourceError
from run_assets.store.lake import Lake, Part, empty, publish_file

PART = Part("derived.run_metrics", 0, "lab--maze", "2026-01-02")


def rows(*values: float | None) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"run_path": [f"lab/maze/{i}" for i in range(len(values))], "value": values},
        schema_overrides={"value": pl.Float64},
    )
    return frame.with_columns(
        pl.lit("gap").alias("metric"), pl.lit(None, pl.String).alias("null_reason")
    ).select("run_path", "metric", "value", "null_reason")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_what_is_written_is_read_back_with_its_header(lake: Lake) -> None:
    lake.write(PART, rows(2.0, float("nan"), None), digest="d", code="c")
    assert lake.parts("derived.run_metrics") == [PART]
    assert lake.read("derived.run_metrics").equals(rows(2.0, float("nan"), None))
    header = lake.header(PART)
    assert header is not None
    assert (header.digest, header.rows, header.code) == ("d", 3, "c")
    assert header.first_part == 0


def test_the_same_rows_give_the_same_bytes(lake: Lake) -> None:
    lake.write(PART, rows(1.0, 2.0), digest="d")
    before = lake.path(PART).read_bytes()
    lake.write(PART, rows(1.0, 2.0).reverse(), digest="d")
    assert lake.path(PART).read_bytes() == before


def test_partition_keys_are_in_the_path_and_not_in_the_file(lake: Lake) -> None:
    lake.write(PART, rows(1.0), digest="d")
    assert "project_slug=lab--maze/day=2026-01-02/part-0.parquet" in str(
        lake.path(PART)
    )
    assert "day" not in pl.read_parquet_schema(lake.path(PART))


def test_a_table_without_files_has_no_rows_but_all_columns(lake: Lake) -> None:
    assert lake.read("raw.history").equals(empty("raw.history"))


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (rows(1.0).drop("value"), "missing: ['value']"),
        (rows(1.0).with_columns(extra=1), "unknown: ['extra']"),
        (pl.concat([rows(1.0), rows(2.0)]), "unique"),
        (rows(1.0).with_columns(run_path=pl.lit(None, pl.String)), "not be null"),
        (rows(1.0).with_columns(value=pl.lit("one")), "do not fit"),
    ],
)
def test_a_broken_promise_is_refused_and_the_old_file_stays(
    lake: Lake, frame: pl.DataFrame, complaint: str
) -> None:
    lake.write(PART, rows(1.0), digest="d")
    with pytest.raises(ContractError) as caught:
        lake.write(PART, frame, digest="new")
    assert complaint in str(caught.value)
    assert lake.read("derived.run_metrics").equals(rows(1.0))


def test_a_damaged_file_has_no_header_and_is_named_when_read(lake: Lake) -> None:
    lake.write(PART, rows(1.0), digest="d")
    lake.path(PART).write_bytes(b"PAR1 this is not parquet")
    assert lake.header(PART) is None
    with pytest.raises(SourceError, match=r"part-0\.parquet cannot be read"):
        lake.read("derived.run_metrics")


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path,
) -> None:
    target = tmp_path / "folder" / "file.txt"
    publish_file(target, lambda path: _write(path, "old"))

    def fail(path: Path) -> None:
        _write(path, "half")
        raise OSError(28, "No space left on device")

    with pytest.raises(SourceError, match="No space left"):
        publish_file(target, fail)
    assert target.read_text() == "old"
    assert [file.name for file in target.parent.iterdir()] == ["file.txt"]


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def test_a_file_system_that_refuses_to_grow_a_file_loses_nothing(lake: Lake) -> None:
    lake.write(PART, rows(1.0), digest="d")
    code = f"""
import resource, signal, sys, json
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
import polars as pl
from pathlib import Path
from run_assets.errors import SourceError
from run_assets.store.lake import Lake, Part
import random
n = 50_000
frame = pl.DataFrame({{
    "run_path": [f"r{{i}}" for i in range(n)],
    "metric": "gap",
    "value": [random.random() for _ in range(n)],
    "null_reason": pl.Series([None] * n, dtype=pl.String),
}})
try:
    Lake(Path({str(lake.root)!r})).write(Part(*{tuple(PART)!r}), frame, digest="new")
except SourceError as error:
    print(json.dumps(str(error)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "the previous file is untouched" in json.loads(done.stdout)
    assert lake.read("derived.run_metrics").equals(rows(1.0))
    assert [entry.name for entry in lake.files()] == ["part-0.parquet"]


def test_what_a_killed_writer_left_is_removed(lake: Lake) -> None:
    lake.write(PART, rows(1.0), digest="d")
    left = lake.path(PART).with_name(".part-0.parquet.tmp")
    left.write_bytes(b"half")
    assert [entry.name for entry in lake.files()] == ["part-0.parquet"]
    assert left.exists()  # another process may be writing it
    lake.sweep()
    assert not left.exists()
