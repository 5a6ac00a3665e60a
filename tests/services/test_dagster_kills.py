"""One writer at a time, and no run that a kill left open for ever."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import dagster as dg
import pytest

from run_assets.records import dagster_instance
from run_assets.store.lock import lake_lock
from tests.support.dagster_home import (
    end_group,
    eventually,
    run_cli,
    signal_group,
    start_cli,
)
from tests.support.labs import make_lab


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_lab(tmp_path / "lab", runs=1, lock_timeout=2, analyses=[])
    return tmp_path / "lab"


def is_started(home: Path) -> bool:
    return dg.DagsterRunStatus.STARTED in statuses(home).values()


def statuses(home: Path) -> dict[str, dg.DagsterRunStatus]:
    """Status of each run, the newest first."""
    with dagster_instance(home) as instance:
        return {run.run_id: run.status for run in instance.get_runs()}


@contextmanager
def stopped_when(
    home: Path, has_come: Callable[[Path], object] = is_started
) -> Iterator[int]:
    """The pid of a refresh that sleeps with the lock and an unfinished run."""
    process = start_cli(home, "refresh")
    try:
        eventually(lambda: has_come(home), "the start of a run", every=0.05)
        signal_group(process.pid, signal.SIGSTOP)
        yield process.pid
    finally:
        end_group(process, patience=0)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def events(instance: dg.DagsterInstance, run_id: str) -> list[dg.EventLogEntry]:
    return [one for one in instance.all_logs(run_id) if one.is_dagster_event]


def test_a_second_refresh_stops_at_once_and_names_the_first(home: Path) -> None:
    with stopped_when(home) as pid:
        second = run_cli(home, "refresh")
        assert second.returncode == 75
        found = re.search(r"\(pid (\d+), since (\S+)\); try again", second.stderr)
        assert found, second.stderr
        assert int(found[1]) == pid
        assert found[2] == json.loads((home / "data/.lock").read_text())["started_at"]
        assert len(statuses(home)) == 1


@pytest.mark.parametrize("moment", [statuses, is_started])
def test_a_killed_refresh_is_marked_failed_by_the_next(
    home: Path, moment: Callable[[Path], object]
) -> None:
    with stopped_when(home, moment) as pid:
        signal_group(pid, signal.SIGKILL)
    (left,) = statuses(home).values()
    assert left in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED)
    after = run_cli(home, "refresh")
    assert after.returncode == 0, after.stderr
    assert list(statuses(home).values()) == [
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
    ]
    with dagster_instance(home) as instance:
        killed = list(statuses(home))[-1]
        said = [entry.get_dagster_event().message for entry in events(instance, killed)]
    assert f"process {pid} was killed" in said


def test_a_dagster_run_waits_for_the_lock_and_then_says_who_holds_it(
    home: Path,
) -> None:
    with lake_lock(home / "data"):
        done = run_cli(home, "dagster", "job", "execute", *REFRESH)
    assert done.returncode != 0
    assert f"(pid {os.getpid()}, since 20" in done.stderr
    assert "try again when it has ended" in done.stderr
    assert list(statuses(home).values()) == [dg.DagsterRunStatus.FAILURE]


STEP_START = dg.DagsterEventType.STEP_START
REFRESH = ("-m", "run_assets.definitions", "-j", "refresh")


def test_a_dagster_run_goes_on_when_the_lock_is_free(tmp_path: Path) -> None:
    home = tmp_path / "lab"
    make_lab(home, runs=1, lock_timeout=120, analyses=[])
    with lake_lock(home / "data"):
        process = start_cli(home, "dagster", "job", "execute", *REFRESH)
        eventually(lambda: is_started(home), "the start of a run")
        sleep(1)
        (run_id,) = statuses(home)
        with dagster_instance(home) as instance:
            assert not instance.all_logs(run_id, of_type=STEP_START)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert list(statuses(home).values()) == [dg.DagsterRunStatus.SUCCESS]


OPEN = """
import sys
from pathlib import Path
from run_assets.records import dagster_instance
print("ready", flush=True)
sys.stdin.readline()
for home in sorted(Path(sys.argv[1]).iterdir()):
    with dagster_instance(home):
        pass
"""


def test_several_may_make_the_records_of_a_lab_at_once(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"lab{number}").mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
