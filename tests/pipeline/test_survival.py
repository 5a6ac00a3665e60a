"""kill -9 at any instant, two at once, an analyst in the way: nothing is lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from shutil import disk_usage

import duckdb
import pytest

from run_assets.errors import UsageError
from run_assets.lab import Lab
from tests.support.labs import (
    ANALYSIS,
    START,
    make_lab,
    tables,
    write_run,
)

REFRESH = (sys.executable, "-m", "run_assets.cli", "--config")
KILLS = 2  # benchmarks/kills.py does it more often


def refresh_process(lab: Lab, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*REFRESH, str(lab.config.root), "--quiet", "refresh", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def bare_lab(folder: Path, runs: int) -> Lab:
    """A lab without analyses, for what happens to its runs."""
    return make_lab(folder, runs, analyses=[], derived_metrics={})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = bare_lab(tmp_path_factory.mktemp("undisturbed"), runs=6)
    lab.refresh()
    return lab


@pytest.mark.timeout(240)
def test_killed_refreshes_followed_by_a_normal_one_give_the_same_tables(
    undisturbed: Lab, tmp_path: Path
) -> None:
    lab = bare_lab(tmp_path / "lab", runs=0)
    shutil.copytree(undisturbed.config.root / "wandb", lab.config.root / "wandb")
    rng = random.Random(7)
    begin = time.monotonic()
    with refresh_process(bare_lab(tmp_path / "timed", runs=6)) as whole:
        assert whole.wait() == 0
    seconds = time.monotonic() - begin
    for _ in range(KILLS):
        with refresh_process(lab) as process:
            time.sleep(rng.uniform(0.25, 0.95) * seconds)
            process.send_signal(signal.SIGKILL)
    lab.refresh()
    mine, theirs = tables(lab), tables(undisturbed)
    for name, frame in theirs.items():
        drop = [c for c in ("source_location", "modified_ns") if c in frame]
        assert mine[name].drop(drop).equals(frame.drop(drop)), name
    leftovers = [
        file for file in lab.config.data_path.rglob("*.tmp*") if file.is_file()
    ]
    assert not leftovers
    with duckdb.connect(str(lab.warehouse), read_only=True) as connection:
        rows = connection.execute("select count(*) from raw.history").fetchall()
    assert rows == [(theirs["raw.history"].height,)]


def test_two_at_once_the_second_stops_with_a_clear_message(tmp_path: Path) -> None:
    from run_assets.store.lock import lake_lock

    lab = bare_lab(tmp_path, runs=1)
    with lake_lock(lab.config.data_path), refresh_process(lab) as second:
        _, told = second.communicate()
    assert second.returncode == 75
    assert f"pid {os.getpid()}" in told
    assert "Traceback" not in told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize("room", [50_000, 1_500_000])
def test_a_full_disk_leaves_the_tables_and_a_clear_error(
    small_disk: Path, room: int
) -> None:
    lab = make_lab(small_disk / "lab", runs=2)
    lab.refresh()
    before = tables(lab)
    write_run(lab.config.root, "more", steps=3000)
    fill = small_disk / "fill"
    with fill.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk_usage(small_disk).free - room)
    with refresh_process(lab) as process:
        _, told = process.communicate()
    assert process.returncode == 1
    assert "make room and refresh again" in told.lower()
    assert "defect" not in told
    assert lab.sql("select count(*) as n from marts.runs").item() == 2
    readable = tables(lab)
    assert (
        readable["raw.history"]
        .filter(run_path="lab/maze/r0")
        .equals(before["raw.history"].filter(run_path="lab/maze/r0"))
    )
    fill.unlink()
    lab.refresh()
    assert lab.sql("select count(*) as n from marts.runs").item() == 3


@pytest.mark.usefixtures("tables_only")
def test_an_analysts_open_connection_blocks_nothing_and_goes_on_answering(
    tmp_path: Path,
) -> None:
    lab = bare_lab(tmp_path, runs=2)
    lab.refresh()
    code = (
        "import duckdb, sys\n"
        f"c = duckdb.connect({str(lab.warehouse)!r}, read_only=True)\n"
        "for line in sys.stdin:\n"
        "    rows = c.execute('select (select count(*) from marts.runs), "
        "(select count(distinct run_path) from raw.history)').fetchall()\n"
        "    print(rows[0], flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as analyst:
        assert analyst.stdin is not None
        assert analyst.stdout is not None

        def ask() -> str:
            analyst.stdin.write("\n")  # type: ignore[union-attr]  # asserted above
            analyst.stdin.flush()  # type: ignore[union-attr]  # asserted above
            return analyst.stdout.readline().strip()  # type: ignore[union-attr]

        assert ask() == "(2, 2)"
        write_run(tmp_path, "r7", started_at=START + timedelta(days=9))
        lab.refresh()
        # its tables as they were, its bulk views over the current lake
        assert ask() == "(2, 3)"
        analyst.stdin.close()
    assert lab.sql("select count(*) as n from marts.runs").item() == 3


def test_an_analysis_before_its_first_run_and_without_a_curve_is_no_error(
    tmp_path: Path,
) -> None:
    derived = {**ANALYSIS, "name": "gap", "score": {"metric": "efficiency"}}
    lab = make_lab(tmp_path, runs=0, analyses=[derived])
    (tmp_path / "wandb").mkdir()
    lab.refresh()
    assert tables(lab)["stats.scores"].is_empty()
    write_run(tmp_path, "r0")
    write_run(tmp_path, "r1")
    lab.refresh()
    assert tables(lab)["stats.scores"]["score"].null_count() == 0
    assert (lab.reports / "latest" / "report.html").is_file()


def test_an_analysis_of_what_nobody_logged_fails_with_what_there_is(
    tmp_path: Path,
) -> None:
    unknown = {**ANALYSIS, "name": "later", "score": {"metric": "not/logged"}}
    lab = make_lab(tmp_path, runs=2, analyses=[unknown])
    with pytest.raises(UsageError, match="there are: efficiency, loss, reward"):
        lab.refresh()


def test_a_report_that_was_removed_is_written_again(tmp_path: Path) -> None:
    lab = bare_lab(tmp_path, runs=2)
    lab.refresh()
    (lab.reports / "latest" / "report.md").unlink()
    assert not lab.refresh().is_unchanged
    assert (lab.reports / "latest" / "report.md").is_file()
    assert lab.refresh().is_unchanged
