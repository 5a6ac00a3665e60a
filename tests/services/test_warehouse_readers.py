"""Analysts in processes of their own, while the published file is replaced."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from run_assets.contracts.tables import table
from run_assets.errors import TryAgainError
from run_assets.store.lake import Lake, Part, schema_of
from run_assets.store.query import query
from run_assets.store.warehouse import build_warehouse, stored_digest, warehouse_path

HISTORY = Part("raw.history", 0, "lab--maze", "2026-01-02")

# Answers each line of input, a statement, with the rows it gives.
ANALYST = """
import sys
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("open", flush=True)
for line in sys.stdin:
    print(connection.execute(line).fetchall(), flush=True)
connection.close()
"""


class Analyst:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def asks(self, sql: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(sql + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def leaves(self) -> int:
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(timeout=60)


@contextmanager
def analyst(path: Path, how: str) -> Iterator[Analyst]:
    with subprocess.Popen(
        [sys.executable, "-c", ANALYST, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "open\n"
            yield Analyst(process)
        finally:
            process.kill()


def write(lake: Lake, values: list[float], score: float) -> None:
    points = [
        {"run_path": "lab/maze/a", "metric": "loss", "step": step, "value": value}
        for step, value in enumerate(values)
    ]
    frame = pl.DataFrame(points, schema=schema_of(table("raw.history")))
    lake.write(HISTORY, frame, digest=f"history {values}")
    scores = pl.DataFrame(
        [{"analysis": "nav", "run_path": "lab/maze/a", "score": score}],
        schema=schema_of(table("stats.scores")),
    )
    lake.write(Part("stats.scores"), scores, digest=f"scores {score}")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    write(lake, [1.0], 1.0)
    assert build(lake)
    return lake


def build(lake: Lake) -> bool:
    return build_warehouse(lake, warehouse_path(lake), code_version="1")


def test_an_open_reading_connection_goes_on_answering(lake: Lake) -> None:
    with analyst(warehouse_path(lake), "read") as reader:
        assert reader.asks("select score from stats.scores") == "[(1.0,)]"
        for number in range(2, 5):
            write(lake, [1.0] * number, float(number))
            assert build(lake)
            # its tables as they were, its bulky views over the current lake
            assert reader.asks("select score from stats.scores") == "[(1.0,)]"
            answer = reader.asks("select count(*) from raw.history")
            assert answer == f"[({number},)]"
        assert query(lake, "select score from stats.scores").item() == 4.0
        assert reader.leaves() == 0


def test_a_reader_between_two_builds_sees_the_new_file(lake: Lake) -> None:
    write(lake, [1.0, 2.0], 2.0)
    assert build(lake)
    with analyst(warehouse_path(lake), "read") as reader:
        assert reader.asks("select score from stats.scores") == "[(2.0,)]"


def test_an_open_writing_connection_does_not_stop_a_build(lake: Lake) -> None:
    with analyst(warehouse_path(lake), "write") as writer:
        with pytest.raises(TryAgainError, match="open for writing elsewhere"):
            query(lake, "from stats.scores")
        write(lake, [1.0, 2.0], 2.0)

        assert build(lake)

        assert query(lake, "select score from stats.scores").item() == 2.0
        assert writer.asks("select score from stats.scores") == "[(1.0,)]"
        assert not build(lake)
        assert writer.leaves() == 0
    assert query(lake, "select score from stats.scores").item() == 2.0


def test_tables_of_an_analyst_never_reach_the_new_file(lake: Lake) -> None:
    target = warehouse_path(lake)
    with analyst(target, "write") as writer:
        writer.asks("create table mine as select 1 as a")
        write(lake, [1.0, 2.0], 2.0)

        assert build(lake)

        assert query(lake, "select score from stats.scores").item() == 2.0
        writer.asks("insert into mine values (2)")
        assert writer.asks("select count(*) from mine") == "[(2,)]"
        assert query(lake, "select score from stats.scores").item() == 2.0
        assert writer.leaves() == 0
    assert query(lake, "select score from stats.scores").item() == 2.0
    assert sorted(one.name for one in target.parent.iterdir()) == [
        "lake",
        "warehouse.duckdb",
    ]


def test_a_log_that_a_killed_analyst_left_is_healed_by_the_next_build(
    lake: Lake,
) -> None:
    target = warehouse_path(lake)
    with analyst(target, "write") as writer:
        write(lake, [1.0, 2.0], 2.0)
        assert build(lake)
        # the first write after the swap puts a log beside a file it does not belong to
        writer.asks("create table mine as select 1 as a")
    assert target.with_name("warehouse.duckdb.wal").exists()
    assert stored_digest(target) is None

    assert build(lake)

    assert query(lake, "select score from stats.scores").item() == 2.0
    assert not build(lake)
