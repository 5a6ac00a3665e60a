"""The schedule, ticked by a real daemon, does what the command line does."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from run_assets.contracts.tables import TABLES
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.scaffold import ensure_dagster_files
from tests.support.dagster_home import Dagster, dagster_on, eventually, run_cli
from tests.support.labs import START, lake_files, write_config, write_run

EVERY_MINUTE = {"cron": "* * * * *", "timezone": "UTC"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run files that two labs read where they are."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(4):
        write_run(
            folder,
            f"r{number}",
            started_at=START + timedelta(days=number % 2),
            config={"algorithm": "ab"[number % 2], "env": "easy"},
        )
    return folder / "wandb"


def lab_of(folder: Path, source: Path) -> Path:
    """One of two labs that differ in nothing but their folder."""
    write_config(
        folder,
        sources=[{"kind": "wandb_files", "path": str(source)}],
        schedule=EVERY_MINUTE,
        analyses=[],
    )
    ensure_dagster_files(folder)
    return folder


@pytest.fixture(scope="module")
def by_hand(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = lab_of(tmp_path_factory.mktemp("by_hand"), source)
    done = run_cli(folder, "refresh")
    assert done.returncode == 0, done.stderr
    return open_lab(folder)


@pytest.fixture(scope="module")
def dagster(
    source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dagster]:
    with dagster_on(lab_of(tmp_path_factory.mktemp("by_clock"), source)) as server:
        yield server


def first_tick(dagster: Dagster) -> dict[str, Any]:
    """What the daemon did at the first full minute."""

    def find() -> dict[str, Any] | None:
        return next((t for t in dagster.ticks() if t["status"] != "STARTED"), None)

    return eventually(find, "a tick")


def warehouse(lab: Lab) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the published file but when it was read."""
    with duckdb.connect(str(lab.warehouse), read_only=True) as connection:
        return {name: _rows(connection, name) for name in sorted(_queryable())}


def _queryable() -> list[str]:
    return [name for name, one in TABLES.items() if one.layout != "none"]


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[Any, ...]]:
    told = TABLES[name].columns
    columns = ", ".join(f'"{one}"' for one in told if one != "fetched_at")
    return connection.sql(f"select {columns} from {name} order by all").fetchall()


def contents(lab: Lab) -> dict[str, bytes]:
    """Bytes of every lake file that does not say when it was read."""
    return {
        name: about[2]
        for name, about in lake_files(lab).items()
        if "fetched_at" not in TABLES[".".join(name.split("/")[:2])].columns
    }


def test_a_tick_makes_what_the_command_line_makes_and_the_next_one_nothing(
    dagster: Dagster, by_hand: Lab
) -> None:
    dagster.switch_schedule(on=True)
    tick = first_tick(dagster)
    dagster.switch_schedule(on=False)
    assert tick["status"] == "SUCCESS", tick
    run = dagster.ended_run(tick["runIds"][0])
    assert run.status == "SUCCESS"
    by_clock = open_lab(dagster.home)

    assert contents(by_clock).keys() == contents(by_hand).keys()
    assert contents(by_clock) == contents(by_hand)
    assert lake_files(by_clock).keys() == lake_files(by_hand).keys()
    assert warehouse(by_clock) == warehouse(by_hand)

    stamp = by_clock.config.data_path / "last_refresh.json"
    before, stamped = everything(by_clock), stamp.read_bytes()
    again = dagster.tick_by_hand()
    assert again["error"] is None
    assert again["skipReason"].startswith("Nothing has changed since 20")
    assert not again["runRequests"]
    assert everything(by_clock) == before
    assert json.loads(stamp.read_bytes()) != json.loads(stamped)


def everything(lab: Lab) -> dict[str, tuple[int, int]]:
    """Inode and time of change of each file, Dagster's own and the stamp left out."""
    left_out = {lab.config.data_path / "dagster"}
    files = [
        file
        for file in lab.config.data_path.rglob("*")
        if file.is_file()
        and not left_out & set(file.parents)
        and file.name not in ("last_refresh.json", ".lock")
    ]
    return {str(f): (f.stat().st_ino, f.stat().st_mtime_ns) for f in files}


def test_the_schedule_is_off_until_somebody_switches_it_on(by_hand: Lab) -> None:
    from run_assets.definitions import build_definitions

    (schedule,) = build_definitions(by_hand).schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == EVERY_MINUTE["cron"]
